from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.stores import statistics

#: Each part, and the group whose tiles make it.
PARTS = {
    "": "_brain",
    "fold-0": "_folds",
    "fold-12": "_folds",
    "sums-1": "_brain",
    "sums--2.5": "_brain",
    "sums-1e+06": "_brain",
    "maps": "_all_voxels",
    "maps-fold-3": "_all_voxels",
}


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "mean": rng.random(4),
        "gram": rng.random((4, 4)).astype(np.float32),
        "counts": np.array([2, 1, 3]),
        "a_name_of_its_own": rng.random((2, 3, 4)).astype(np.float32),
        "digest": np.frombuffer(b"0123", np.uint8),
    }


def finish(workspace, content, part=""):
    files = statistics.write(workspace, "S1", "VC", content, part=part)
    tile = Tile(Group("fit", ("S1", "VC", PARTS[part])), f"stage{part}", 0, 1)
    receipts.write(workspace, tile, files, {})
    return files


@pytest.mark.parametrize("part", PARTS)
def test_round_trip(tmp_path, part) -> None:
    content = arrays()
    files = finish(tmp_path, content, part)
    assert len(files) == 5
    assert all(path.is_absolute() for path in files)
    for name, array in content.items():
        got = statistics.read(tmp_path, "S1", "VC", name, part=part)
        np.testing.assert_array_equal(got, array)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
    mapped = statistics.read(tmp_path, "S1", "VC", "gram", part=part, mapped=True)
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert statistics.made_by("S1", "VC", part=part) == f"fit/S1/VC/{PARTS[part]}"
    assert not list(tmp_path.rglob("*.partial"))


def test_parts_lie_apart(tmp_path) -> None:
    for seed, part in enumerate(PARTS):
        finish(tmp_path, arrays(seed), part)
    for seed, part in enumerate(PARTS):
        np.testing.assert_array_equal(statistics.read(tmp_path, "S1", "VC", "mean", part=part), arrays(seed)["mean"])
    assert len({statistics.place("S1", "VC", "mean", part=part).path for part in PARTS}) == len(PARTS)
    assert statistics.place("S1", "VC", "mean", part="fold-0").path == "brain_statistics/S1/VC/fold-0/mean.npy"


def test_has_says_what_a_finished_tile_wrote(tmp_path) -> None:
    assert not statistics.has(tmp_path, "S1", "VC", "gram")
    statistics.write(tmp_path, "S1", "VC", arrays())
    assert not statistics.has(tmp_path, "S1", "VC", "gram")  # no receipt: not finished
    finish(tmp_path, arrays())
    assert statistics.has(tmp_path, "S1", "VC", "gram")
    assert not statistics.has(tmp_path, "S1", "VC", "gram", part="fold-0")
    assert not statistics.has(tmp_path, "S1", "V1", "gram")


def test_arrays_that_are_not_given_are_removed_from_their_part_only(tmp_path) -> None:
    finish(tmp_path, arrays(), "sums-1")
    finish(tmp_path, arrays())
    content = arrays()
    del content["gram"]
    finish(tmp_path, content)
    assert not statistics.has(tmp_path, "S1", "VC", "gram")
    assert not (tmp_path / "brain_statistics/S1/VC/gram.npy").exists()
    assert (tmp_path / "brain_statistics/S1/VC/sums-1/gram.npy").exists()


def test_the_checksum_is_that_of_the_receipt(tmp_path) -> None:
    import zlib

    assert statistics.checksum(tmp_path, "S1", "VC", "mean") == 0
    finish(tmp_path, arrays())
    expected = zlib.crc32((tmp_path / "brain_statistics/S1/VC/mean.npy").read_bytes())
    assert statistics.checksum(tmp_path, "S1", "VC", "mean") == expected
    finish(tmp_path, arrays(1))
    assert statistics.checksum(tmp_path, "S1", "VC", "mean") not in (0, expected)


@pytest.mark.parametrize("part", ["", "fold-0"])
def test_without_a_receipt_nothing_is_read(tmp_path, part) -> None:
    statistics.write(tmp_path, "S1", "VC", arrays(), part=part)
    with pytest.raises(MissingStore, match=r"mean.npy does not exist.*python -m hpc_recon.fit"):
        statistics.read(tmp_path, "S1", "VC", "mean", part=part)


@pytest.mark.parametrize("part", ["", "maps-fold-3"])
def test_damage_is_found(tmp_path, part) -> None:
    path = next(path for path in finish(tmp_path, arrays(), part) if path.stem == "mean")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedStore, match=rf"has \d+ bytes, but its receipt says \d+.*--redo.*{PARTS[part]}/"):
        statistics.read(tmp_path, "S1", "VC", "mean", part=part)
    path.unlink()
    with pytest.raises(DamagedStore, match="is absent"):
        statistics.read(tmp_path, "S1", "VC", "mean", part=part)


@pytest.mark.parametrize(("mapped", "at"), [(False, -1), (False, 0), (True, 0)])
def test_other_bytes_of_the_same_length_are_damage(tmp_path, mapped, at) -> None:
    """Of a mapped array, which may be hundreds of MB, the header alone."""
    path = next(path for path in finish(tmp_path, arrays()) if path.stem == "mean")
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedStore, match=r"mean\.npy has the length .* but other bytes .*--redo --only 'fit/S1/VC"):
        statistics.read(tmp_path, "S1", "VC", "mean", mapped=mapped)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        statistics.write(tmp_path, "S1", "VC", arrays())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "part"),
    [("../mean", ""), ("Mean", ""), ("", ""), ("mean", "fold-"), ("mean", "fold-x"), ("mean", "sums-"),
     ("mean", "sums-1/2"), ("mean", "maps-1"), ("mean", "other")],
)  # fmt: skip
def test_unknown_names_are_refused(name, part) -> None:
    with pytest.raises(ValueError, match="there are no statistics"):
        statistics.place("S1", "VC", name, part=part)
