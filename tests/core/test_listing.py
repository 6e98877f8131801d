"""One look at receipts: what is listed once, read when asked for, and found by the beginning of its key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.listing import Listing, below
from hpc_recon.core.places import Folder
from hpc_recon.core.tiles import Group, Tile

WORDS = st.lists(st.sampled_from(["a", "a-b", "a.b", "a0", "aa", "b", "S1", "S10"]), min_size=1, max_size=3)


@given(st.sets(WORDS.map("/".join), max_size=30), st.just("") | WORDS.map("/".join))
def test_below_is_what_it_says(keys, prefix):
    expected = [key for key in sorted(keys) if not prefix or key == prefix or key.startswith(f"{prefix}/")]
    assert below(sorted(keys), prefix) == expected


def write(workspace, key, n=3):
    verb, *path = key.split("/")
    tiles = [Tile(Group(verb, tuple(path)), "t", i, i + 1) for i in range(n)]
    for tile in tiles:
        receipts.write(workspace, tile, [], {"i": tile.start})
    Folder(workspace).write_atomic(f"receipts/{key}/group.json", b'{"digest": "%s"}' % key.encode())
    return tiles


def test_groups_are_found_by_the_beginning_of_their_key(tmp_path):
    for key in ("fit/S1/a", "fit/S1/b", "fit/S10/a", "decode/S1"):
        write(tmp_path, key)
    Folder(tmp_path).write_atomic("receipts/controller.json", b"{}")
    everything = Listing(tmp_path)
    assert everything.groups("fit/S1") == ["fit/S1/a", "fit/S1/b"]
    assert everything.groups() == ["decode/S1", "fit/S1/a", "fit/S1/b", "fit/S10/a"]
    assert everything.fingerprint("fit/S1/a") == {"digest": "fit/S1/a"}
    assert everything.fingerprint("fit/S1") is None
    assert receipts.digests(everything, "fit/S10") == {"fit/S10/a": "fit/S10/a"}
    assert everything.any_done("fit")
    assert not everything.any_done("fit/S2")
    assert Listing(tmp_path, "extract").below() == []


def test_what_is_not_a_receipt_is_not_listed(tmp_path):
    write(tmp_path, "fit/S1", n=1)
    folder = tmp_path / "receipts/fit/S1"
    for name in (".t-9.json.12345678.partial", ".nfs000001", "notes.txt", "t-7.json~"):
        (folder / name).write_text("x")
    found = Listing(tmp_path, "fit")
    assert found.done("fit/S1") == {"t-00000000-00000001"}
    assert not found.any_done("fit/S2")


def test_counting_opens_no_receipt_and_groups_are_read_together(tmp_path, monkeypatch):
    for key in ("fit/S1/a", "fit/S1/b"):
        receipts.compact(tmp_path, Group("fit", tuple(key.split("/")[1:])), [t.name for t in write(tmp_path, key, 9)])
    write(tmp_path, "fit/S1/c")
    asked = []
    real = Folder.read_many
    monkeypatch.setattr(Folder, "read_many", lambda self, names: asked.append(names) or real(self, names))
    found = Listing(tmp_path, "fit")
    assert [len(found.done(key)) for key in found.groups()] == [9, 9, 3]
    assert [len(found.done(key)) for key in found.groups()] == [9, 9, 3]
    assert asked == [["receipts/fit/S1/a/finished.json", "receipts/fit/S1/b/finished.json"]]
    assert found.read("fit/S1/b")["t-00000004-00000005"].run == {"i": 4}
    assert list(found.read("fit/S1/c", ["t-00000001-00000002"])) == ["t-00000001-00000002"]


def test_a_removed_file_without_a_finished_one_says_nothing(tmp_path):
    write(tmp_path, "fit/S1", n=2)
    Folder(tmp_path).write_atomic("receipts/fit/S1/t-00000000-00000001.removed", b"")
    assert len(Listing(tmp_path, "fit").done("fit/S1")) == 2


def test_a_damaged_receipt_is_given_as_its_error_and_the_others_are_read(tmp_path):
    write(tmp_path, "fit/S1")
    (tmp_path / "receipts/fit/S1/t-00000001-00000002.json").write_text("")
    found = dict(Listing(tmp_path, "fit").each("fit/S1"))
    assert [isinstance(one, DamagedStore) for one in found.values()] == [False, True, False]
    with pytest.raises(DamagedStore, match=r"t-00000001-00000002\.json is damaged"):
        Listing(tmp_path, "fit").read("fit/S1")
