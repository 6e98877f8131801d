from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_verb.py"


@pytest.mark.slow
def test_at_toy_size(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(PATH.parent))
    spec = importlib.util.spec_from_file_location("bench_verb", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy", "--folder", str(tmp_path), "--output", str(tmp_path / "verb.json")]) == 0
    content = json.loads((tmp_path / "verb.json").read_text())
    assert content == json.loads(capsys.readouterr().out)
    assert set(content["command_over_kernel"]) == {"1", "2"}
    assert all(seconds > 0 for own in content["median_seconds"].values() for seconds in own.values())
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
