from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
VARIABLE = "HPC_RECON_BDPY_PYTHON"
PEER = os.environ.get(VARIABLE)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_export")


def test_findings_are_exact_but_for_predictions(bench) -> None:
    assert bench.is_equal("labels", True)
    assert not bench.is_equal("labels", False)
    assert bench.is_equal("features conv1_1", 0.0)
    assert not bench.is_equal("features conv1_1", 1e-9)
    assert not bench.is_equal("features conv1_1", float("nan"))
    assert bench.is_equal("predictions conv1_1 V1, of their largest", 1e-7)
    assert not bench.is_equal("predictions conv1_1 V1, of their largest", 1e-3)


@pytest.mark.skipif(not PEER, reason=f"{VARIABLE} names no interpreter with benchmarks/peers/requirements-bdpy.txt")
def test_bdpy_reads_all_that_is_exported_and_we_read_its_features(bench, tmp_path) -> None:
    output = tmp_path / "a.json"
    assert bench.main(["--toy", "--peer-python", PEER, "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert len(found["read by bdpy"]) == 18
    assert set(found["bdpy's features, read by us"].values()) == {0.0}
