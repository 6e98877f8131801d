from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_all_voxels.py"


def test_at_toy_size(tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_all_voxels", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--threads", "2", "--output", str(tmp_path / "a" / "all.json")]) == 0
    content = json.loads((tmp_path / "a" / "all.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["results"]) == set(module.TOY)
    for name, result in content["results"].items():
        assert sum(result["units at each penalty"]) == module.TOY[name][3]
        assert result["seconds"]["ours"] > 0
