from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_memory")


@pytest.mark.slow
def test_at_toy_size(bench, tmp_path, capsys) -> None:
    path = tmp_path / "a" / "memory.json"
    assert bench.main(["--toy", "--only", "matrix", "--repetitions", "1", "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content == json.loads(capsys.readouterr().out)
    [shape] = content["matrix"]
    assert [shape[name] for name in bench.NAMES] == list(bench.TOY_SHAPES[0])
    for row in shape["stages"].values():
        assert 0 < row["measured"] <= row["projected"]
        assert row["ok"] == bench.keeps_the_rule(row["measured"], row["projected"])


@pytest.mark.parametrize(
    ("measured", "projected", "ok"),
    [(100, 99, False), (10**9, 10**9, True), (10**9, 15 * 10**8, True), (10**9, 16 * 10**8, False), (1, 2**27, True)],
)
def test_the_rule(bench, measured, projected, ok) -> None:
    assert bench.keeps_the_rule(measured, projected) == ok


def test_a_failing_stage_says_why(bench, tmp_path) -> None:
    with pytest.raises(RuntimeError, match=r"nowhere\.yaml"):
        bench.in_a_process(tmp_path / "nowhere.yaml", "fit", "fit", n_threads=1)
