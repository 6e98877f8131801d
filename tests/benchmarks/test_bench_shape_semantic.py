from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_shape_semantic.py"


def test_at_toy_size(capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_shape_semantic", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mean training image"]["identification"] == pytest.approx(0.5)
    assert found["mean of the true class"]["within"] == pytest.approx(0.5)
    assert found["mean of the true class"]["identification"] > 0.7
    assert found["pixels"]["within"] > 0.95
