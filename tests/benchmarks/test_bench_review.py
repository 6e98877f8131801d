from __future__ import annotations

import pytest


def test_limits_name_the_one_that_binds_and_our_share() -> None:
    import bench_review

    stage = {"bytes_in": 100, "bytes_out": 60, "cpu_seconds": 20.0, "tile_seconds": 10.0}
    speed = {"arithmetic": 10.0, "memory": 5.0, "read": 50.0, "write": 20.0}
    found = bench_review.limits(stage, "decode", speed, work={"decode": (30.0, 10.0)})
    assert found["limit_seconds"] == {"arithmetic": 3.0, "memory": 2.0, "disk": 5.0}
    assert found["binds"] == "disk"
    assert found["share_of_limit"] == {"cpu_seconds": 0.25, "tile_seconds": 0.5}
    # A command without arithmetic of its own is bound by the disk.
    assert bench_review.limits(stage, "report", speed, work={})["binds"] == "disk"


def test_necessary_arithmetic_is_that_of_plain_numpy() -> None:
    import bench_review

    size = {"training": 3, "repeats": 2, "test": 4, "voxels": 5, "pixels": 8, "k": 50, "iterations": 6}
    work = bench_review.necessary(size, 7, image=11, image_and_back=13)
    assert work["extract"][0] == (3 + 4) * 11
    # No more voxels than there are: Gram matrix, product with all voxels, factorisation.
    assert work["fit"][0] == pytest.approx(6 * 25 + 7 * (2 * 3 * 5 + 125 / 3))
    assert work["decode"][0] == 2 * 7 * 5 * 4
    assert work["reconstruct"][0] == 4 * 6 * 13
    assert work["evaluate"][0] == 2 * 7 * 16


def test_rates_are_positive_and_leave_no_file(tmp_path) -> None:
    import bench_review

    found = bench_review.rates(tmp_path, n_bytes=1 << 16, order=32)
    assert set(found) == {"arithmetic", "memory", "write", "read"}
    assert all(rate > 0 for rate in found.values())
    assert not list(tmp_path.iterdir())
