from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_ard.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_ard", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--xp", "numpy", "--threads", "2", "--output", str(tmp_path / "a" / "ard.json")]) == 0
    content = json.loads((tmp_path / "a" / "ard.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["results"]) == set(module.TOY)
    for result in content["results"].values():
        for row in result["iterations"].values():
            assert max(row["largest_difference_of_weights"].values()) < 1e-4  # float32 samples here, float64 there
            assert row["milliseconds_per_unit"]["ard.fit_units"] > 0
