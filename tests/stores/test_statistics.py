from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.stores import statistics

TILE = Tile(Group("fit", ("S1", "VC", "_brain")), "statistics", 0, 1)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "mean": rng.random(4),
        "scale": rng.random(4),
        "gram": rng.random((4, 4)).astype(np.float32),
        "sums": rng.random((3, 4)).astype(np.float32),
        "counts": np.array([2, 1, 3]),
        "rows": np.array([0, 5, 6]),
    }


def finish(workspace, content):
    files = statistics.write(workspace, "S1", "VC", content)
    receipts.write(workspace, TILE, files, {})
    return files


def test_round_trip(tmp_path) -> None:
    content = arrays()
    files = finish(tmp_path, content)
    assert len(files) == 6
    assert all(path.is_absolute() for path in files)
    for name, array in content.items():
        got = statistics.read(tmp_path, "S1", "VC", name)
        np.testing.assert_array_equal(got, array)
        assert got.dtype == array.dtype
    mapped = statistics.read(tmp_path, "S1", "VC", "gram", mapped=True)
    assert isinstance(mapped, np.memmap)
    assert statistics.has_gram(tmp_path, "S1", "VC")
    assert not list(tmp_path.rglob("*.partial"))


def test_the_gram_matrix_is_optional_and_an_old_one_is_removed(tmp_path) -> None:
    finish(tmp_path, arrays())
    content = arrays()
    del content["gram"]
    finish(tmp_path, content)
    assert not statistics.has_gram(tmp_path, "S1", "VC")
    assert not (tmp_path / "brain_statistics/S1/VC/gram.npy").exists()
    del content["mean"]
    with pytest.raises(ValueError, match="the arrays mean are missing"):
        statistics.write(tmp_path, "S1", "VC", content)


def test_without_a_receipt_nothing_is_read(tmp_path) -> None:
    statistics.write(tmp_path, "S1", "VC", arrays())
    with pytest.raises(MissingStore, match=r"mean.npy does not exist.*python -m hpc_recon.fit"):
        statistics.read(tmp_path, "S1", "VC", "mean")


def test_damage_is_found(tmp_path) -> None:
    finish(tmp_path, arrays())
    path = tmp_path / "brain_statistics/S1/VC/sums.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedStore, match=r"has \d+ bytes, but its receipt says \d+.*--redo"):
        statistics.read(tmp_path, "S1", "VC", "sums")
    path.unlink()
    with pytest.raises(DamagedStore, match="is absent"):
        statistics.read(tmp_path, "S1", "VC", "sums")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        statistics.write(tmp_path, "S1", "VC", arrays())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="name must be one of mean, scale, gram"):
        statistics.place("S1", "VC", "median")
