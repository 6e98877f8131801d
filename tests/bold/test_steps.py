"""Each step against an oracle that does not share its code: scipy, statsmodels-like normal equations, plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import lstsq
from scipy.signal import detrend

from hpc_recon.bold import steps
from hpc_recon.core.errors import DataError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused_and_counted(bad: float) -> None:
    bold = np.ones((4, 5), np.float32)
    bold[2, [1, 3]] = bad
    with pytest.raises(DataError, match=r"run 7: 2 of 5 voxels .* first is voxel 1"):
        steps.as_run(bold, where="run 7")


@pytest.mark.parametrize("bold", [np.ones(3), np.ones((0, 2)), np.ones((2, 2), complex), np.full((2, 2), "a")])
def test_what_is_not_a_run_is_refused(bold: np.ndarray) -> None:
    with pytest.raises(DataError, match="run 7: a run must be"):
        steps.as_run(bold, where="run 7")


def test_the_input_is_not_modified() -> None:
    bold = np.ones((3, 2))
    steps.as_run(bold, where="run")[:] = 9
    assert (bold == 1).all()


def test_constant_voxels_are_those_that_do_not_change(rng: np.random.Generator) -> None:
    run = 1000 + rng.standard_normal((20, 4))
    run[:, 1] = 500
    run[:, 3] = 0
    assert steps.constant_voxels(run).tolist() == [False, True, False, True]


def test_the_trend_alone_equals_scipys_detrend_with_the_mean_kept(rng: np.random.Generator) -> None:
    run = 800 + rng.standard_normal((50, 7)) + np.outer(np.arange(50), rng.standard_normal(7))
    expected = detrend(run, axis=0, type="linear") + run.mean(axis=0)
    # 1e-10 is 1e-13 of the level of 800: rounding of float64 over 50 volumes.
    np.testing.assert_allclose(steps.regress_out(run, None), expected, atol=1e-10)


def test_trend_and_motion_equal_least_squares_of_the_full_design(rng: np.random.Generator) -> None:
    motion = rng.standard_normal((60, 6)).cumsum(axis=0) * np.array([1, 1, 1, 0.01, 0.01, 0.01])
    run = 900 + rng.standard_normal((60, 5)) + motion @ rng.standard_normal((6, 5)) * 3
    design = np.column_stack([np.ones(60), np.arange(1, 61) / 60, motion])
    weights = lstsq(design, run)[0]
    expected = run - design @ weights + run.mean(axis=0)
    np.testing.assert_allclose(steps.regress_out(run, motion), expected, atol=1e-9)


def test_a_known_trend_and_known_motion_are_removed_exactly(rng: np.random.Generator) -> None:
    motion = rng.standard_normal((40, 6))
    nuisance = np.outer(np.arange(40), [0.5, -2.0]) + motion @ rng.standard_normal((6, 2))
    cleaned = steps.regress_out(1000 + nuisance, motion)
    np.testing.assert_allclose(cleaned, np.broadcast_to((1000 + nuisance).mean(axis=0), (40, 2)), atol=1e-9)


def test_constant_and_repeated_confounds_change_nothing(rng: np.random.Generator) -> None:
    run, motion = 100 + rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    padded = np.column_stack([motion, np.full(30, 7.0), motion[:, 0] * 1e6, np.arange(30)])
    np.testing.assert_allclose(steps.regress_out(run, padded), steps.regress_out(run, motion), atol=1e-9)


def test_nothing_is_removed_without_regressors(rng: np.random.Generator) -> None:
    run = rng.standard_normal((9, 2))
    np.testing.assert_array_equal(steps.regress_out(run, None, linear_trend=False), run)
    np.testing.assert_array_equal(steps.regress_out(run, np.ones((9, 1)), linear_trend=False), run)


def test_confounds_of_another_length_or_with_gaps_are_refused() -> None:
    run = np.ones((20, 2))
    with pytest.raises(DataError, match=r"20 volumes, its confounds have shape \(19, 6\)"):
        steps.regress_out(run, np.ones((19, 6)))
    with pytest.raises(DataError, match="1 values that are NaN"):
        steps.regress_out(run, np.r_[np.nan, np.ones(19)][:, np.newaxis])
    with pytest.raises(DataError, match="leave nothing of 20 volumes"):
        steps.regress_out(run, np.ones((20, 18)))


def test_percent_is_that_of_the_mean_of_the_initial_rest(rng: np.random.Generator) -> None:
    run = 500 + 10 * rng.standard_normal((30, 4))
    percent = steps.percent_of_baseline(run, 12)
    for voxel in range(4):
        base = sum(run[:12, voxel]) / 12
        for volume in range(30):
            assert percent[volume, voxel] == pytest.approx((run[volume, voxel] / base - 1) * 100, abs=1e-10)


def test_a_constant_voxel_has_no_change_even_at_zero(rng: np.random.Generator) -> None:
    run = np.column_stack([np.zeros(5), np.full(5, 3.0), 5 + rng.random(5)])
    assert (steps.percent_of_baseline(run, 2)[:, :2] == 0).all()


def test_a_rest_whose_mean_is_not_above_zero_is_refused(rng: np.random.Generator) -> None:
    run = rng.standard_normal((10, 3))
    run[:4] = [5.0, -1.0, 5.0]
    with pytest.raises(DataError, match=r"run 2: 1 of 3 voxels .* voxel 1 \(-1\)"):
        steps.percent_of_baseline(run, 4, where="run 2")


@pytest.mark.parametrize("n_baseline", [0, 11])
def test_a_rest_that_is_empty_or_longer_than_the_run_is_refused(n_baseline: int) -> None:
    with pytest.raises(DataError, match=f"initial rest has {n_baseline} volumes, the run 10"):
        steps.percent_of_baseline(np.ones((10, 1)), n_baseline)


def clip_by_loops(run: np.ndarray, n_sd: float, n_passes: int) -> np.ndarray:
    """Clip each voxel with scalar arithmetic, every pass whether needed or not."""
    result = run.copy()
    for voxel in range(run.shape[1]):
        values = [float(v) for v in run[:, voxel]]
        for _ in range(n_passes):
            mean = sum(values) / len(values)
            sd = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
            values = [max(mean - n_sd * sd, min(mean + n_sd * sd, v)) for v in values]
        result[:, voxel] = values
    return result


@pytest.mark.parametrize("n_passes", [1, 2, 10])
def test_despiking_clips_as_plain_loops_do(rng: np.random.Generator, n_passes: int) -> None:
    run = rng.standard_normal((120, 6))
    run[[10, 70], [1, 4]] = [25.0, -40.0]
    despiked = steps.despike(run, n_passes=n_passes)
    np.testing.assert_allclose(despiked.run, clip_by_loops(run, 3.0, n_passes), atol=1e-10)
    assert despiked.run[10, 1] < 25
    assert despiked.run[70, 4] > -40
    assert despiked.n_clipped == (despiked.run != run).sum() >= 2


def test_a_run_without_spikes_stays_as_it_is() -> None:
    run = np.sin(np.arange(40.0))[:, np.newaxis]
    despiked = steps.despike(run)
    assert despiked.n_clipped == 0
    np.testing.assert_array_equal(despiked.run, run)
    assert not np.shares_memory(despiked.run, run)


@pytest.mark.parametrize(("n_sd", "n_passes"), [(0, 1), (-1, 1), (3, 0), (np.nan, 1)])
def test_senseless_despiking_is_refused(n_sd: float, n_passes: int) -> None:
    with pytest.raises(ValueError, match="despiking needs"):
        steps.despike(np.ones((3, 1)), n_sd=n_sd, n_passes=n_passes)


def test_windows_are_averaged_even_if_they_overlap(rng: np.random.Generator) -> None:
    run = rng.standard_normal((20, 3))
    averaged = steps.average_windows(run, [(0, 4), (2, 8), (19, 20)])
    for row, (start, stop) in enumerate([(0, 4), (2, 8), (19, 20)]):
        np.testing.assert_allclose(averaged[row], sum(run[start:stop]) / (stop - start), atol=1e-12)


@pytest.mark.parametrize("window", [(-1, 2), (3, 3), (8, 11)])
def test_windows_outside_the_run_are_refused(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="within the 10 volumes"):
        steps.average_windows(np.ones((10, 1)), [window])
