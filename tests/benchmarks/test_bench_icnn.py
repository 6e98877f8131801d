from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

VARIABLE = "HPC_RECON_BDPY_PYTHON"
PEER = os.environ.get(VARIABLE)


@pytest.mark.parametrize(
    ("ours", "ok"),
    [
        ([2.0, 1.0, 0.5], True),
        ([2.01, 1.0, 0.5], True),
        ([2.03, 1.0, 0.5], False),
        ([2.0, 1.0, float("nan")], False),
    ],
)
def test_curves_are_compared_relative_to_bdpys(ours, ok) -> None:
    import bench_icnn as bench

    assert bench.compare(ours, [2.0, 1.0, 0.5])["ok"] is ok


def test_only_the_first_iterations_must_be_within_one_per_cent() -> None:
    import bench_icnn as bench

    theirs = [1.0] * (bench.FIRST + 2)
    found = bench.compare([1.0] * bench.FIRST + [1.2, 1.03], theirs)
    assert found["first"] == 0
    assert found["largest"] == pytest.approx(0.2)
    assert found["last"] == pytest.approx(0.03)
    assert found["ok"]
    assert not bench.compare([1.0] * bench.FIRST + [1.0, 1.06], theirs)["ok"]


def test_at_toy_size_without_bdpy(tmp_path, monkeypatch, capsys) -> None:
    import bench_icnn as bench

    monkeypatch.delenv(VARIABLE, raising=False)
    path = tmp_path / "icnn.json"
    assert bench.main(["--toy", "--turns", "1", "--threads", "1", "--output", str(path)]) == 0
    content = json.loads(path.read_text())
    (losses,) = (row["ours"] for row in content["curves"]["rows"].values())
    assert len(losses) == bench.TOY[1][4]
    assert losses[-1] < 0.9 * losses[0]
    (timed,) = content["time"]["rows"].values()
    assert timed["threads"] == 1
    assert "bdpy is left out" in capsys.readouterr().err


@pytest.mark.parametrize("generated", [False, True])
def test_in_double_precision_the_first_losses_are_those_of_single(tmp_path, generated) -> None:
    import bench_icnn as bench

    momentum = bench.LATENT if generated else bench.BLURRED
    single = bench.Case(tmp_path, "exact", ("conv1_1", "conv2_1"), 32, momentum, generated)
    double = bench.Case(tmp_path, "exact, float64", ("conv1_1", "conv2_1"), 32, momentum, generated)
    one, two = (case.ours(iterations=5, threads=1)["made"] for case in (single, double))
    assert two.losses.dtype == "float64"
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-4)  # a few roundings of float32, five steps
    np.testing.assert_allclose(one.images, two.images, atol=1e-3)


@pytest.mark.skipif(not PEER, reason=f"{VARIABLE} names no interpreter with benchmarks/peers/requirements-icnn.txt")
def test_losses_and_images_are_bdpys(tmp_path) -> None:
    import bench_icnn as bench

    if subprocess.run([PEER, "-c", "import torch"], capture_output=True, check=False).returncode:
        pytest.skip(f"{PEER} has no torch: it needs benchmarks/peers/requirements-icnn.txt")
    path = tmp_path / "icnn.json"
    arguments = ["--toy", "--turns", "1", "--threads", "1", "--only", "curves", "--peer-python", PEER]
    assert bench.main([*arguments, "--output", str(path)]) == 0
    (row,) = json.loads(path.read_text())["curves"]["rows"].values()
    assert row["largest"] < 1e-4  # 1.0e-6 measured
    assert row["pixels"]["largest"] < 0.05  # levels of 255; 6e-5 measured
