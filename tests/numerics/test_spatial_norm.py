from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import decoder, spatial_norm
from hpc_recon.numerics.spatial_norm import NORMS, fit_units, normalised, predict_units
from hpc_recon.numerics.stats import brain_statistics, standardise


def divided(Q, norm):
    """Return rows normalised as the published method's text says, one at a time."""
    result = np.empty_like(Q)
    for i, q in enumerate(Q):
        m = q.mean()
        c = q - m
        if norm == "norm1":
            result[i] = q / np.abs(q).sum()
        elif norm == "norm2":
            result[i] = q / np.sqrt((q**2).sum())
        elif norm == "std1":
            result[i] = c / np.std(q, ddof=1) + m
        elif norm == "std1mean0":
            result[i] = c / np.std(q, ddof=1)
        elif norm == "norm1mean0":
            result[i] = c / np.abs(c).sum()
        elif norm == "norm2mean0":
            result[i] = c / np.sqrt((c**2).sum())
    return result


def augmented(Q, y, alpha, *, penalize_bias):
    """Return weights and intercept of the dense system with a column of ones."""
    A = np.column_stack([Q, np.ones(len(Q))])
    penalty = alpha * np.eye(A.shape[1])
    penalty[-1, -1] *= penalize_bias
    w = np.linalg.solve(A.T @ A + penalty, A.T @ y)
    return w[:-1], w[-1]


def study(n, d, *, n_units=9, unbalanced=True, dtype=np.float64):
    rng = np.random.default_rng(1)
    n_stimuli = n // 2
    codes = np.r_[np.arange(n_stimuli), rng.integers(0, n_stimuli if unbalanced else 1, n - n_stimuli)]
    stimulus = rng.permutation(codes if unbalanced else np.arange(n) % n_stimuli)
    latent = rng.normal(size=(n_stimuli, 8))
    X = latent[stimulus] @ rng.normal(size=(8, d)) + rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(n, 1)) + 20
    X[:, 4] = 2.0
    Y = latent @ rng.normal(size=(8, n_units)) + 0.1 * rng.normal(size=(n_stimuli, n_units)) + 3
    X, Y = X.astype(dtype), Y.astype(dtype)
    brain = brain_statistics(X, stimulus)
    Z = standardise(X, mean=brain.mean, scale=brain.scale, dtype=dtype)
    return Z, stimulus, brain, Y


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_patterns(norm, dtype, tolerance) -> None:
    Q = np.random.default_rng(0).normal(size=(20, 7)).astype(dtype)
    result = normalised(Q.T, norm)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.T, divided(Q.astype(np.float64), norm), rtol=0, atol=tolerance)
    batch = normalised(np.stack([Q.T, 2 * Q.T]), norm)
    np.testing.assert_array_equal(batch[0], result)
    if norm != "std1":
        np.testing.assert_allclose(batch[1], result, atol=tolerance)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_has_no_size_stays_zero(norm, dtype) -> None:
    """A pattern that is 0, or the same at every voxel where the mean is removed."""
    Q = np.zeros((3, 3), dtype)
    Q[:, 1], Q[:, 2] = 0.1, [1, 2, 3]
    result = normalised(Q, norm)
    np.testing.assert_array_equal(result[:, 0], 0)
    expected = {"norm1": 1 / 3, "norm2": 3**-0.5, "std1": 0.1}.get(norm, 0.0)
    np.testing.assert_allclose(result[:, 1], expected, rtol=1e-6)
    assert np.abs(result[:, 2]).sum() > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("penalize_bias", [True, False])
@pytest.mark.parametrize(("n", "d", "k"), [(80, 30, 12), (30, 60, 40), (60, 20, 19)], ids=["N>k", "N<k", "all"])
def test_against_dense_systems_with_an_intercept(norm, penalize_bias, n, d, k) -> None:
    Z, stimulus, brain, Y = study(n, d)
    alpha = {"norm1": 0.01, "norm2": 0.1, "norm1mean0": 0.01, "norm2mean0": 0.1}.get(norm, 3.0)
    units = fit_units(
        Z, stimulus, brain, Y, n_voxels=k, alpha=alpha, penalize_bias=penalize_bias, norm=norm, n_threads=2
    )
    y_mean, y_scale = Y.mean(axis=0), Y.std(axis=0, ddof=1)
    test = np.random.default_rng(5).normal(size=(6, d))
    predicted = predict_units(test, units, norm=norm, n_threads=1)
    usable = np.delete(np.arange(d), 4)
    for j in range(Y.shape[1]):
        y = ((Y[:, j] - y_mean[j]) / y_scale[j])[stimulus]
        correlation = np.abs([np.corrcoef(Z[:, v], y)[0, 1] for v in usable])
        voxel = np.sort(usable[np.argsort(-correlation)[:k]])
        np.testing.assert_array_equal(units.voxel[j], voxel)
        w, b = augmented(divided(Z[:, voxel], norm), y, alpha, penalize_bias=penalize_bias)
        np.testing.assert_allclose(units.weight[j], w, rtol=0, atol=1e-9 * np.abs(w).max())
        assert units.bias[j] == pytest.approx(b, abs=1e-9)
        expected = (divided(test[:, voxel], norm) @ w + b) * y_scale[j] + y_mean[j]
        np.testing.assert_allclose(predicted[:, j], expected, rtol=0, atol=1e-9)
    if not penalize_bias and norm.startswith("norm"):  # else this test would not notice a lost intercept
        assert np.abs(units.bias).max() > 1e-3


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("n", "d", "k"), [(200, 80, 30), (40, 80, 60)])
def test_float32_is_float64_within_rounding(norm, n, d, k) -> None:
    Z, stimulus, brain, Y = study(n, d, unbalanced=False)
    single = study(n, d, unbalanced=False, dtype=np.float32)
    alpha = {"norm1": 0.01, "norm2": 0.3, "norm1mean0": 0.01, "norm2mean0": 0.3}.get(norm, 10.0)
    options = {"n_voxels": k, "alpha": alpha, "norm": norm}
    double = fit_units(Z, stimulus, brain, Y, **options)
    units = fit_units(*single, **options)
    assert units.weight.dtype == units.bias.dtype == np.float32
    np.testing.assert_array_equal(units.voxel, double.voxel)
    error = np.linalg.norm(units.weight - double.weight, axis=1) / np.linalg.norm(double.weight, axis=1)
    assert error.max() < 2e-5  # float32 patterns and products of them; at most 6e-6 when this was written
    np.testing.assert_allclose(units.bias, double.bias, atol=2e-5)
    np.testing.assert_allclose(
        predict_units(single[0][:5], units, norm=norm), predict_units(Z[:5], double, norm=norm), atol=2e-4
    )


def test_threads_and_blocks_do_not_change_results(monkeypatch) -> None:
    monkeypatch.setattr(spatial_norm, "UNIT_BLOCK", 8)
    Z, stimulus, brain, Y = study(60, 30, n_units=21, dtype=np.float32)
    results = [
        fit_units(Z, stimulus, brain, Y, n_voxels=10, alpha=1.0, norm="std1", n_threads=n) for n in (1, 3)
    ]  # fmt: skip
    np.testing.assert_array_equal(results[0].weight, results[1].weight)
    np.testing.assert_array_equal(results[0].bias, results[1].bias)
    predicted = [predict_units(Z, results[0], norm="std1", n_threads=n) for n in (1, 3)]
    np.testing.assert_array_equal(*predicted)


def test_a_constant_unit_predicts_its_mean() -> None:
    Z, stimulus, brain, Y = study(60, 30)
    Y[:, 2] = 0.1
    units = fit_units(Z, stimulus, brain, Y, n_voxels=10, alpha=1.0, norm="norm2")
    np.testing.assert_array_equal(units.weight[2], 0)
    np.testing.assert_array_equal(predict_units(Z, units, norm="norm2")[:, 2], 0.1)


def test_without_a_norm_it_would_be_the_plain_decoder(monkeypatch) -> None:
    """The system with an intercept, given columns that sum to zero, is that of `decoder.fit_units`."""
    monkeypatch.setattr(spatial_norm, "normalised", lambda patterns, norm: patterns)
    Z, stimulus, brain, Y = study(80, 30)
    for penalize_bias in (True, False):
        options = {"n_voxels": 10, "alpha": 4.0, "penalize_bias": penalize_bias}
        units = fit_units(Z, stimulus, brain, Y, norm="norm1", **options)
        plain = decoder.fit_units(brain, Y, **options)
        np.testing.assert_allclose(units.weight, plain.weight, atol=1e-11)
        np.testing.assert_allclose(units.bias, plain.bias, atol=1e-11)


def test_bad_input() -> None:
    Z, stimulus, brain, Y = study(60, 30)
    good = {"n_voxels": 10, "alpha": 1.0, "norm": "norm2"}
    with pytest.raises(DataError, match="must be one of norm1"):
        fit_units(Z, stimulus, brain, Y, **good | {"norm": "norm3"})
    with pytest.raises(DataError, match="at least two voxels"):
        fit_units(Z, stimulus, brain, Y, **good | {"norm": "std1", "n_voxels": 1})
    with pytest.raises(DataError, match="finite number above 0"):
        fit_units(Z, stimulus, brain, Y, **good | {"alpha": 0.0})
    with pytest.raises(DataError, match="samples and stimuli must be those"):
        fit_units(Z[:-1], stimulus[:-1], brain, Y, **good)
    Z[:, :] = Z[:, :1]  # one and the same voxel: singular but for the penalty
    with pytest.raises(DataError, match="too small for patterns"):
        fit_units(Z, stimulus, brain, Y, **good | {"alpha": 1e-30})
    assert fit_units(Z, stimulus, brain, Y, **good | {"n_voxels": 1}).weight.shape == (9, 1)


@pytest.mark.parametrize(("n", "k"), [(600, 200), (150, 200)])
def test_peak_memory_is_what_was_projected(n, k) -> None:
    Z, stimulus, brain, Y = study(n, 400, n_units=300, dtype=np.float32)
    fit_units(Z, stimulus, brain, Y[:, :2], n_voxels=k, alpha=1.0, norm="std1")  # compiles
    tracemalloc.start()
    units = fit_units(Z, stimulus, brain, Y, n_voxels=k, alpha=1.0, norm="std1", n_threads=1)
    fitting = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    base = tracemalloc.get_traced_memory()[0]
    predict_units(Z, units, norm="std1", n_threads=1)
    predicting = tracemalloc.get_traced_memory()[1] - base
    tracemalloc.stop()
    sizes = {"k": k, "n_threads": 1}
    assert 0.4 < fitting / spatial_norm.fit_bytes(300, 400, n_samples=n, n_stimuli=n // 2, **sizes) <= 1
    assert 0.4 < predicting / spatial_norm.predict_bytes(n, 300, n_voxels=400, **sizes) <= 1


def test_projected_seconds_grow_with_the_work() -> None:
    sizes = {"n_voxels": 4000, "k": 500, "n_samples": 6000, "n_stimuli": 1200}
    one = spatial_norm.fit_seconds(100, **sizes, n_threads=1)
    assert one == pytest.approx(2 * spatial_norm.fit_seconds(100, **sizes, n_threads=2))
    assert one > spatial_norm.fit_seconds(100, **sizes | {"n_samples": 1200}, n_threads=1) > 0
    assert spatial_norm.predict_seconds(50, 100, k=500, n_threads=1) > 0
