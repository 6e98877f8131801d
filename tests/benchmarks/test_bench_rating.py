from __future__ import annotations

import importlib.util
import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_rating.py"


def test_at_toy_size(capsys) -> None:
    spec = importlib.util.spec_from_file_location("bench_rating", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--toy"]) == 0
    pages = json.loads(capsys.readouterr().out)
    assert {task: page["trials"] for task, page in pages.items()} == {"identify": 12, "compare": 12}
