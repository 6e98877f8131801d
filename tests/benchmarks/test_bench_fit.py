from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_fit.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_fit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--xp", "numpy", "--threads", "2", "--output", str(tmp_path / "a" / "fit.json")]) == 0
    content = json.loads((tmp_path / "a" / "fit.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["results"]) == set(module.TOY)
    assert content["machine"]["versions"]["numpy"]
    assert all(result["microseconds_per_unit"]["fit"] > 0 for result in content["results"].values())
