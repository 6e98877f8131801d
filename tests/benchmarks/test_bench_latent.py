from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_latent.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_latent", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--output", str(tmp_path / "latent.json")]) == 0
    content = json.loads((tmp_path / "latent.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    found = content["results"]["targets"]
    assert found["largest difference from scikit-learn"] == pytest.approx(
        0, abs=1e-3 * found["deviation of predictions"]
    )
    # Nothing is better than the posterior mean, but for the chance of 60 items.
    assert all(0.5 < own["ratio"] < 1.05 for own in content["results"]["bayes"].values())
