from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import stats


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("n", [2, 511, 1300])
def test_mean_and_scale(n, dtype) -> None:
    X = (np.random.default_rng(0).normal(size=(n, 7)) * 10 + 1000).astype(dtype)
    mean, scale = stats.mean_and_scale(X)
    np.testing.assert_allclose(mean, X.astype(np.float64).mean(0), rtol=1e-14)
    np.testing.assert_allclose(scale, X.astype(np.float64).std(0, ddof=1), rtol=1e-12)
    assert mean.dtype == scale.dtype == np.float64


def test_a_large_mean_costs_no_digits() -> None:
    """One pass of sums of squares would lose all of them: 1e8 squared is 1e16."""
    noise = np.random.default_rng(0).normal(size=1000)
    _, scale = stats.mean_and_scale((1e8 + 1e4 * noise)[:, None])
    np.testing.assert_allclose(scale[0], 1e4 * noise.std(ddof=1), rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-30, 7e5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_have_scale_zero_whatever_their_value(value, dtype) -> None:
    X = np.full((777, 2), value, dtype)
    X[:, 1] = np.random.default_rng(0).normal(size=777)
    _, scale = stats.mean_and_scale(X)
    assert scale[0] == 0
    assert scale[1] > 0.9


def test_a_small_but_real_variation_is_not_constant() -> None:
    X = 1e-12 * np.random.default_rng(0).normal(size=(50, 1))
    assert stats.mean_and_scale(X)[1][0] > 0


def test_standardise_divides_and_zeroes_constant_columns() -> None:
    X = np.array([[1.0, 5.0], [3.0, 5.0]])
    Z = stats.standardise(X, mean=np.array([2.0, 5.0]), scale=np.array([2.0, 0.0]), dtype=np.float32)
    assert Z.tolist() == [[-0.5, 0.0], [0.5, 0.0]]
    assert Z.dtype == np.float32


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("n_columns", [3, 1500])
def test_average_by(average, n_columns) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 9, 60)
    codes[codes == 4] = 5  # nobody has code 4
    X = rng.normal(size=(60, n_columns))
    result, counts = stats.average_by(X, codes, n=9, average=average)
    for code in range(9):
        rows = X[codes == code]
        expected = (rows.mean(0) if average else rows.sum(0)) if len(rows) else np.zeros(n_columns)
        np.testing.assert_allclose(result[code], expected, atol=1e-14)
        assert counts[code] == len(rows)


@pytest.mark.parametrize(("n", "m"), [(30, 20), (1100, 1500)])
def test_gram_matrix(n, m) -> None:
    Z = np.random.default_rng(0).normal(size=(n, m)).astype(np.float32)
    gram = stats.gram_matrix(Z, n_threads=2)
    exact = Z.astype(np.float64).T @ Z.astype(np.float64)
    assert gram.dtype == np.float32
    assert np.array_equal(gram, gram.T)
    # A float32 product over 512 rows, then float64: a few units in the last place of the diagonal.
    assert np.abs(gram - exact).max() < 4e-6 * n
    np.testing.assert_allclose(stats.gram_matrix(Z.astype(np.float64)), exact, atol=1e-9)


def test_brain_statistics_are_those_of_the_z_scored_samples() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(320, 9)) * 3 + 50
    stimulus = rng.integers(0, 50, 320)
    X[:, 4] = 7.0
    brain = stats.brain_statistics(X, stimulus, n_stimuli=55)
    Z = np.where(np.arange(9) == 4, 0, (X - X.mean(0)) / np.where(np.arange(9) == 4, 1, X.std(0, ddof=1)))
    np.testing.assert_allclose(brain.gram, Z.T @ Z, atol=1e-10)
    np.testing.assert_allclose(brain.sums, [Z[stimulus == s].sum(0) for s in range(55)], atol=1e-12)
    np.testing.assert_array_equal(brain.counts, np.bincount(stimulus, minlength=55))
    assert (brain.n_samples, brain.n_usable) == (320, 8)


def test_few_samples_without_repeats_need_no_gram_matrix() -> None:
    X = np.random.default_rng(0).normal(size=(stats.DIRECT_SAMPLES, 4))
    assert stats.brain_statistics(X).gram is None
    assert stats.brain_statistics(np.r_[X, X[:1]]).gram is not None
    assert stats.brain_statistics(X[:10], np.arange(10) // 2).gram is not None


def test_unusable_brains_are_refused() -> None:
    with pytest.raises(DataError, match="at least two samples"):
        stats.brain_statistics(np.ones((1, 4)))
    with pytest.raises(DataError, match="all 4 voxels are constant over 5 samples"):
        stats.brain_statistics(np.ones((5, 4)))


def test_bad_values_are_counted_and_located() -> None:
    X = np.zeros((1100, 3))
    X[700, 2] = np.inf
    X[1050, 1] = np.nan
    with pytest.raises(DataError, match=r"has 2 values.*sample 700, voxel 2, value inf"):
        stats.require_finite(X, name="X", rows="sample", columns="voxel")
    stats.require_finite(X[:700], name="X", rows="sample", columns="voxel")
