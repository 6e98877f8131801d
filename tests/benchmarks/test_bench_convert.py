from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_convert.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_convert", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["pair", "--toy", "--output", str(tmp_path / "pair.json")]) == 0
    content = json.loads((tmp_path / "pair.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert content["pair"]["samples, source voxels, target voxels"] == [120, 60, 50]
    assert content["pair"]["bytes of weights"] == 4 * 60 * 50
