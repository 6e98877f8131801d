"""Run figures add up what the receipts say."""

from __future__ import annotations

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.reporting import runs


def write(workspace, verb, start, **run):
    path = workspace / f"{verb}-{start}.bin"
    path.write_bytes(b"x" * 1024)
    receipts.write(workspace, Tile(Group(verb, ("S1", "VC")), verb, start, start + 1), [path], run)


def test_figures_add_up(tmp_path):
    write(tmp_path, "fit", 0, seconds=2.0, peak_bytes=2**30, host="a", warnings=["w"], versions={"numpy": "2.0"})
    write(tmp_path, "fit", 1, seconds=6.0, peak_bytes=2**20, host="b", warnings=["w"], versions={"numpy": "2.1"})
    write(tmp_path, "extract", 0, seconds=90.0, peak_bytes=None)
    found = runs.collect(tmp_path)
    assert [row.verb for row in found.verbs] == ["extract", "fit"]
    fit = found.verbs[1]
    assert (fit.tiles, fit.total, fit.longest, fit.peak) == ("2", "8.0 s", "6.0 s", "1.0 GiB")
    assert (fit.files, fit.size, fit.workers) == ("2", "2.0 KiB", "2")
    assert (found.verbs[0].peak, found.verbs[0].workers) == ("\N{EN DASH}", "\N{EN DASH}")
    assert [(w.verb, w.text, w.count) for w in found.warned] == [("fit", "w", 2)]
    assert found.versions == (("numpy", "2.0 | 2.1"),)
    assert found.total_seconds == 98.0


def test_figures_of_a_compacted_group_are_the_same(tmp_path):
    for start in range(10):
        write(tmp_path, "fit", start, seconds=2.0 * start, host="a", warnings=["w"], versions={"numpy": "2.0"})
    before = runs.collect(tmp_path)
    names = [f"fit-{start:08d}-{start + 1:08d}" for start in range(10)]
    assert receipts.compact(tmp_path, Group("fit", ("S1", "VC")), names)
    assert runs.collect(tmp_path) == before


def test_nothing_run_gives_nothing(tmp_path):
    assert runs.collect(tmp_path).verbs == ()


def test_a_damaged_receipt_is_an_error(tmp_path):
    write(tmp_path, "fit", 0)
    next((tmp_path / "receipts" / "fit").rglob("*.json")).write_text("{")
    with pytest.raises(DamagedStore):
        runs.collect(tmp_path)
