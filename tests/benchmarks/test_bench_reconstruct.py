from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)


def test_at_toy_size(tmp_path, capsys) -> None:
    import bench_reconstruct as bench

    path = tmp_path / "reconstruct.json"
    assert bench.main(["--toy", "--repetitions", "1", "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    assert content == json.loads(capsys.readouterr().out)
    timed, held = content["time"]["toy"], content["memory"]["toy"]
    assert timed["n_evaluations"] >= 5
    assert timed["network_seconds"] > 0
    assert timed["ratio"] == pytest.approx(timed["seconds"] / timed["network_seconds"], abs=0.001)
    assert 0 < held["measured"] <= held["projected"]
    assert held["ok"]


def test_a_failing_case_says_why() -> None:
    import bench_reconstruct as bench

    with pytest.raises(RuntimeError, match="unknown layer 'conv9'"):
        bench.in_a_process(("vgg11_quarter", ["conv9"], 16, 1, {}))
