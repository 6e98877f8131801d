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
    # Nor is ridge better than the posterior mean that learns the mapping, and that improves with more samples.
    assert all(0.5 < own["ratio to mapping learned"] < 1.02 for own in content["results"]["bayes"].values())
    for own in content["results"]["more_samples"].values():
        assert sorted(own.values()) == list(own.values())
        assert own["1920 samples"] > 0.98
    trained = content["results"]["gradient"]["noise 1"]
    assert trained["closed form"]["alpha"] == pytest.approx(0.01 * 120 * 10)
    assert trained["Adam, weights from +-0"]["r"] == pytest.approx(trained["closed form"]["r"], abs=0.05)
