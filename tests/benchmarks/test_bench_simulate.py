from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_simulate.py"


def test_at_toy_size(capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_simulate", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"voxels", "stimuli", "seconds"}
