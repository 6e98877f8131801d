from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PEER = os.environ.get("HPC_RECON_PEER_PYTHON")

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_peers")


def run(bench, path, monkeypatch, *arguments):
    monkeypatch.delenv(bench.VARIABLE, raising=False)
    assert bench.main(["--toy", "--repetitions", "2", "--output", str(path), *arguments]) == 0
    return json.loads(path.read_text())


def check_agreement(content, peer, n_units):
    """Equal voxels, and predictions within 1e-4 of a unit's SD: what float32 keeps, with room for 20 x 20 systems."""
    for case in content["cases"].values():
        found = case["programs"][peer]["agreement"]
        assert found["units"] == found["units_with_the_same_voxels"] == n_units
        assert 0 < found["prediction_difference_max"] < 1e-4
        assert found["prediction_difference_rms"] <= found["prediction_difference_max"]
        assert found["prediction_difference_max_same_voxels"] == found["prediction_difference_max"]


def test_at_toy_size_scikit_learn_finds_the_same(bench, tmp_path, monkeypatch, capsys) -> None:
    content = run(bench, tmp_path / "a" / "peers.json", monkeypatch)
    printed = capsys.readouterr()
    assert content == json.loads(printed.out)
    assert content["left_out"] == ["FastL2LiR"]
    assert "FastL2LiR is left out" in printed.err
    assert set(content["cases"]) == set(bench.TOY)
    check_agreement(content, "scikit-learn", 3)
    for case in content["cases"].values():
        assert list(case["programs"]) == ["ours, 1 thread", "ours, 2 threads", "scikit-learn"]
        assert case["flops_per_unit"] == 2 * case["n_stimuli"] * case["n_voxels"] + case["k"] ** 3 / 3
        assert case["programs"]["ours, 2 threads"]["agreement"]["prediction_difference_max"] == 0
        for result in case["programs"].values():
            assert 0 < result["bytes_before"] <= result["peak_bytes"]
            assert result["units"][0] < result["units"][1]
        # 20 voxel numbers, 20 weights and a bias of 4 bytes; mean and scale of 8
        assert case["programs"]["ours, 1 thread"]["stored_bytes_per_unit"] == 20 * 4 + 20 * 4 + 4 + 8 + 8


@pytest.mark.skipif(not PEER, reason="HPC_RECON_PEER_PYTHON names no interpreter that has FastL2LiR (benchmarks/peers)")
def test_fastl2lir_finds_the_same(bench, tmp_path, monkeypatch) -> None:
    content = run(bench, tmp_path / "peers.json", monkeypatch, "--peer-python", PEER, "--threads", "1")
    assert content["left_out"] == []
    check_agreement(content, "FastL2LiR", bench.TOY_UNITS["fastl2lir"][1])
    assert all(case["programs"]["FastL2LiR"]["version"] == "0.11" for case in content["cases"].values())


def test_marginal_time_leaves_the_fixed_cost_out(bench) -> None:
    """Two seconds a call and 3 ms a unit; one repetition of three is disturbed."""
    turns = [{"few": 2 + 0.03, "many": 2 + 0.33, "peak": peak} for peak in (5, 9, 7)]
    assert not bench.figures(turns, (10, 110))["too_noisy"]
    turns[1]["many"] += 1.1
    found = bench.figures(turns, (10, 110))
    assert found["microseconds_per_unit"] == 3000
    assert found["microseconds_per_unit_range"] == [3000, 14000]
    assert found["fixed_seconds"] == 2
    assert found["peak_bytes"] == 9
    assert found["too_noisy"]
    assert "statistics_seconds" not in found


def test_a_marginal_time_below_zero_is_too_noisy(bench) -> None:
    """Another program disturbed the fit of few units more than that of many."""
    assert bench.figures([{"few": 30.0, "many": 27.0, "peak": 1}], (10, 110))["too_noisy"]


def test_ratio_and_share_of_the_limit(bench) -> None:
    results = {
        "ours, 2 threads": {"microseconds_per_unit": 500.0, "threads": 2},
        "other": {"microseconds_per_unit": 4000.0},
    }
    same = {"predicted": np.zeros((2, 3)), "voxel": np.arange(6).reshape(3, 2)}
    bench.compare(results, dict.fromkeys(results, same), flops=4e7, rate=1e11)  # 400 us of one thread at the limit
    assert results["ours, 2 threads"]["share_of_limit"] == 0.4
    assert results["other"]["ratio_to"] == {"ours, 2 threads": 8.0}
    assert "agreement" not in results["ours, 2 threads"]
    assert results["other"]["agreement"]["with"] == "ours, 2 threads"


def test_agreement_tells_other_voxels_from_other_numbers(bench) -> None:
    ours = {"predicted": np.zeros((2, 3)), "voxel": np.array([[0, 1], [0, 1], [0, 1]])}
    theirs = {"predicted": np.array([[0.0, 0.5], [0.1, 0.0]]), "voxel": np.array([[1, 0], [0, 2]])}
    found = bench.agreement(ours, theirs)
    assert (found["units"], found["units_with_the_same_voxels"]) == (2, 1)
    assert found["prediction_difference_max"] == 0.5
    assert found["prediction_difference_rms"] == pytest.approx(np.sqrt((0.5**2 + 0.1**2) / 4))
    assert found["prediction_difference_max_same_voxels"] == 0.1


def test_shared_voxels_of_neighbours(bench) -> None:
    assert bench.shared(np.array([[0, 1, 2, 3], [2, 3, 4, 5], [2, 3, 4, 5]])) == 0.75


def test_retinotopic_neighbours_share_voxels_and_noise_does_not(bench) -> None:
    """k of n_voxels at random are shared by k / n_voxels."""
    overlap = {}
    for data in ("retinotopic", "noise"):
        X, Y, test, stimulus = bench.simulate(data, 2, 300, 400, 60)
        assert (X.shape, Y.shape, test.shape) == ((600, 400), (300, 60), (bench.N_TEST, 400))
        assert X.dtype == Y.dtype == test.dtype == np.float32
        assert np.bincount(stimulus).tolist() == [2] * 300
        correlation = np.corrcoef(X.T, Y[stimulus].T)[400:, :400]
        overlap[data] = bench.shared(np.argsort(-np.abs(correlation), axis=1)[:, :40])
    assert overlap["noise"] < 0.15
    assert overlap["retinotopic"] > 2 * overlap["noise"]


def test_a_program_that_fails_says_why(bench, tmp_path) -> None:
    with pytest.raises(RuntimeError, match=r"ours ended with 1 [^$]*FileNotFoundError.*x\.npy"):
        bench.Program("ours", bench.sys.executable, tmp_path, {"k": 5, "alpha": 1.0, "threads": 1})


def test_unknown_cases_are_refused(bench, capsys) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--toy", "--case", "brain"])
    assert "the cases are: retinotopic, toy; noise, toy" in capsys.readouterr().err
