"""One contract for every place that holds files: a folder, an object store, and both of them under one name."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpc_recon.core.objects import ASKED_SINGLY, Objects
from hpc_recon.core.places import Bound, Folder

NAMES = ["receipts/fit/a/1.json", "receipts/fit/a/2.json", "receipts/fit/b/1.json", "receipts/fitted/x.json"]


@pytest.fixture(params=["folder", "bound", "objects"])
def place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path)
    if request.param == "bound":
        return Bound(Folder(tmp_path / "here"), Folder(tmp_path / "there"))
    return Objects(f"{request.getfixturevalue('bucket')}/some/prefix")


def test_bytes_come_back_and_are_replaced(place):
    place.write_atomic("x.zarr/c/0", b"one")
    place.write_atomic("x.zarr/c/0", b"three")
    assert place.read_bytes("x.zarr/c/0") == b"three"
    assert place.measure("x.zarr/c/0") == (5, zlib.crc32(b"three"))
    assert place.exists("x.zarr/c/0")
    assert place.read_many(["x.zarr/c/0", "x.zarr/c/1"]) == {"x.zarr/c/0": b"three"}


def test_what_is_absent_is_file_not_found(place):
    for ask in (place.read_bytes, place.measure):
        with pytest.raises(FileNotFoundError):
            ask("x.zarr/c/0")
    assert not place.exists("x.zarr/c/0")
    assert place.listing("receipts") == ([], [])
    assert list(place.walk("receipts/fit")) == []
    assert place.versions("receipts/fit") == frozenset()


def test_listings_end_at_a_slash(place):
    for name in NAMES:
        place.write_atomic(name, b"{}")
    assert sorted(place.walk("receipts/fit")) == NAMES[:3]
    assert place.listing("receipts") == ([], ["fit", "fitted"])
    assert place.listing("receipts/fit/a") == (["1.json", "2.json"], [])


@pytest.mark.parametrize("n", [3, ASKED_SINGLY + 5])
def test_sizes_of_few_and_of_many(place, n):
    names = [f"x.zarr/a/c/{i}/0" for i in range(n)]
    for i, name in enumerate(names):
        place.write_atomic(name, b"x" * i)
    place.write_atomic("receipts/a.json", b"12")
    place.write_atomic("local.txt", b"123")
    asked = [*names, "x.zarr/a/c/absent", "x.zarr/b/c/0/0", "receipts/a.json", "local.txt"]
    expected = {name: i for i, name in enumerate(names)} | {"receipts/a.json": 2, "local.txt": 3}
    assert place.sizes(asked) == expected


def test_deleting_is_idempotent_and_takes_many(place):
    names = [f"x.zarr/c/{i}" for i in range(20)]
    for name in names[::2]:
        place.write_atomic(name, b"x")
    place.delete(names)
    place.delete(names, flush=False)
    assert place.sizes(names) == {}


def test_versions_change_with_every_change(place):
    seen = [place.versions("receipts/fit")]
    for change in (
        lambda: place.write_atomic("receipts/fit/a.json", b"1"),
        lambda: place.write_atomic("receipts/fit/b.json", b"1"),
        lambda: place.write_atomic("receipts/fit/a.json", b"2"),
        lambda: place.delete(["receipts/fit/a.json"]),
    ):
        change()
        assert place.versions("receipts/fit") not in seen
        assert place.versions("receipts/fit") == place.versions("receipts/fit")
        seen.append(place.versions("receipts/fit"))


def test_of_many_that_create_at_once_one_succeeds(place):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: place.create("receipts/owner", b"%d" % i), range(8)))
    assert won.count(True) == 1
    assert place.read_bytes("receipts/owner") == b"%d" % won.index(True)


def test_unfinished_files_of_a_folder_are_not_listed(tmp_path):
    place = Folder(tmp_path)
    place.write_atomic("receipts/fit/a.json", b"1")
    (tmp_path / "receipts/fit/.b.json.1234.partial").write_bytes(b"")
    assert list(place.walk("receipts/fit")) == ["receipts/fit/a.json"]


def test_bound_sends_arrays_and_receipts_away_and_keeps_the_rest(tmp_path):
    place = Bound(Folder(tmp_path / "here"), Folder(tmp_path / "there"))
    for name in ("x.zarr/c/0", "receipts/fit/a.json", "scores/a.csv", "brain_statistics/S1/gram.npy"):
        place.write_atomic(name, b"1")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"scores", "brain_statistics"}
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"x.zarr", "receipts"}
    assert place.where("x.zarr/c/0") == str(tmp_path / "there" / "x.zarr/c/0")
