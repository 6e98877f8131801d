from __future__ import annotations

import importlib
import json
import os
import random
from pathlib import Path

import pytest

from hpc_recon.formats.selectors import parse

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
VARIABLE = "HPC_RECON_BDPY_PYTHON"
PEER = os.environ.get(VARIABLE)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_bdata")


def test_at_toy_size_ours_alone_and_says_that_bdpy_is_left_out(bench, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert bench.main(["--toy", "--repetitions", "1", "--output", str(tmp_path / "a.json")]) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["one_roi"]["ours"]["shape"] == [60, 12]
    assert "bdpy is left out" in capsys.readouterr().out


def test_random_selectors_are_valid_and_of_every_kind(bench) -> None:
    rng = random.Random(0)
    found = [bench.selector(rng) for _ in range(200)]
    assert all(parse(text) for text in found)
    for part in ("(", "*", "'", '"', "= 0", "|", "+", "&", "- "):
        assert any(part in text for text in found)


@pytest.mark.skipif(not PEER, reason=f"{VARIABLE} names no interpreter with benchmarks/peers/requirements-bdpy.txt")
def test_bdpy_reads_ours_and_we_read_bdpys_equal_in_every_value(bench, tmp_path) -> None:
    output = tmp_path / "a.json"
    assert bench.main(["--toy", "--repetitions", "1", "--peer-python", PEER, "--output", str(output)]) == 0
    for each in json.loads(output.read_text())["agreement"].values():
        assert each["selectors_unequal"] == 0
        assert each["selectors"] == 50
        assert all(each[key] for key in each if key.endswith("_equal"))
