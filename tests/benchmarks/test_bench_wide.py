from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from hpc_recon.stores import layout

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)


def test_at_toy_size_in_one_process(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    bench = importlib.import_module("bench_wide")
    monkeypatch.setattr(layout, "WEIGHT_BYTES_PER_SHARD", layout.WEIGHT_BYTES_PER_SHARD)  # what it sets is undone
    monkeypatch.setattr(bench, "in_a_process", lambda *arguments, n_threads, script: bench.all_tiles(*arguments))
    path = tmp_path / "a" / "wide.json"
    assert bench.main(["--toy", "--folder", str(tmp_path), "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert content["same"]
    assert {name: (content[name]["tiles"], content[name]["units"]) for name in bench.LIMITS} == {
        "before": (1, 96),
        "after": (3, 32),
    }
    assert all(content[name]["peak"] > 0 for name in bench.LIMITS)
    assert not list(tmp_path.glob("tmp*"))
