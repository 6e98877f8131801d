from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_scale.py"


@pytest.mark.slow
def test_at_toy_size(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(PATH.parent))
    spec = importlib.util.spec_from_file_location("bench_scale", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--folder", str(tmp_path), "--output", str(tmp_path / "scale.json")]) == 0
    content = json.loads((tmp_path / "scale.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    tiles, receipts = content["tiles"], content["receipts"]
    assert tiles["controller_cpu_ms_per_tile"] > 0
    assert tiles["resident_bytes"]["peak"] >= tiles["resident_bytes"]["last_quarter"] > 0
    assert receipts["single"]["inodes"] > receipts["receipts"] > receipts["compacted"]["inodes"]
    assert all(receipts[form]["resume"]["plan_seconds"] > 0 for form in ("single", "compacted"))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
