"""The benchmark of scores at toy size."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_scores.py"


def test_all_programs_agree_at_toy_size(tmp_path):
    command = [sys.executable, str(SCRIPT), "--items", "6", "--units", "200", "--output", str(tmp_path / "scores.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "bdpy is left out" in done.stdout
    found = json.loads((tmp_path / "scores.json").read_text())
    loop = found["programs"]["loop"]
    # float32 values, sums in float64 on one side: corrcoef of float32 computes in float64 too
    assert loop["largest_difference_profile"] < 1e-6
    assert loop["largest_difference_identification"] == 0
    assert [part["n_units"] for part in found["gathering"]] == [50, 200]


def test_many_items_are_identified_as_corrcoef_would(monkeypatch):
    bench = importlib.import_module("bench_scores")
    monkeypatch.setattr(bench, "TEST_UNITS", 16)
    parts = [bench.block(7, start, min(start + 16, 40)) for start in (0, 16, 32)]
    decoded, true = (np.hstack([part[k] for part in parts]) for k in (0, 1))
    r = np.corrcoef(decoded, true)[:7, 7:]
    oracle = [(np.delete(row, i) < row[i]).mean() for i, row in enumerate(r)]
    assert bench.wide(None, 7, 40)["accuracy"] == np.mean(oracle)
