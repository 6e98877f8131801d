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
    return importlib.import_module("bench_growth")


def test_at_toy_size(bench, tmp_path, capsys) -> None:
    path = tmp_path / "a" / "growth.json"
    assert bench.main(["--toy", "--threads", "2", "--repetitions", "1", "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content == json.loads(capsys.readouterr().out)
    points = content["units"]["points"]
    assert [point["n_units"] for point in points] == list(bench.TOY_UNITS)
    assert 0 < points[0]["fit_seconds"] < points[1]["fit_seconds"]  # seconds add up
    assert content["units"]["bytes_before"] <= points[0]["peak_bytes"] <= points[1]["peak_bytes"]
    for axis, values in bench.TOY_AXES.items():
        assert [point[axis] for point in content[axis]] == list(values)
        assert all(point["fit_seconds"] > 0 and point["k"] == 20 for point in content[axis])
        assert all(point["bytes_before"] < point["peak_bytes"] for point in content[axis])


def test_streamed_units_leave_memory_flat(bench) -> None:
    """All units at once would take 100 MB of features; those of one block take 4 MB."""
    size = {"n_samples": 500, "n_voxels": 60, "k": 5, "alpha": 1.0}
    found = bench.in_a_process(bench.grow_units, size, marks=[4096, 51200], streamed=2048, n_threads=1)
    few, many = (point["peak_bytes"] for point in found["points"])
    assert 51200 * 500 * 4 > 100e6
    assert many - few < 20e6


def test_published_marks_are_whole_blocks(bench) -> None:
    assert all(n % 2048 == 0 for n in (*bench.UNITS, bench.STREAMED))
    assert bench.UNITS[0] >= 10_000
    assert bench.UNITS[-1] >= 1_000_000


def test_a_failing_part_says_why(bench) -> None:
    size = {"n_samples": 1, "n_voxels": 60, "k": 5, "alpha": 1.0}
    with pytest.raises(RuntimeError, match="at least two samples"):
        bench.in_a_process(bench.one_point, size, n_units=4, repetitions=1, n_threads=1)


def test_no_mark_left(bench, capsys) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--toy", "--most-units", "3"])
    assert "--most-units must be at least 512" in capsys.readouterr().err
