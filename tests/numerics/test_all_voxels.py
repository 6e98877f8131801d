from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import all_voxels, decoder
from hpc_recon.numerics.all_voxels import fit_units, fold_errors, predict_items
from hpc_recon.numerics.factorisation import decompose, factorise, sample_statistics

#: samples, voxels, stimuli
SHAPES = {"N>D": (90, 30, 40), "N<D": (60, 100, 25), "one sample a stimulus": (50, 80, 50)}


def study(n, d, n_stimuli, *, n_units=11, dtype=np.float64):
    """Return raw samples and units with one constant voxel and unit, and the stimulus of each sample (unbalanced)."""
    rng = np.random.default_rng(3)
    stimulus = rng.permutation(np.r_[np.arange(n_stimuli), rng.integers(0, n_stimuli, n - n_stimuli)])
    latent = rng.normal(size=(n_stimuli, 6))
    X = latent[stimulus] @ rng.normal(size=(6, d)) + rng.normal(size=(n, d)) + 50
    Y = latent @ rng.normal(size=(6, n_units)) + rng.normal(size=(n_stimuli, n_units)) * np.arange(n_units) + 5
    X[:, 7], Y[:, 2] = 3.0, 0.1
    return X.astype(dtype), Y.astype(dtype), stimulus


def z_scored(A):
    """Return z-scores with mean and scale; columns 0 where all values are equal."""
    A = A.astype(np.float64)
    scale = np.where(np.ptp(A, axis=0) == 0, np.inf, A.std(axis=0, ddof=1))
    return (A - A.mean(axis=0)) / scale, A.mean(axis=0), scale


def dense_weights(X, Y, stimulus, alpha, *, penalize_bias):
    """Return weights and intercepts from expanded samples and a column of ones, unit after unit."""
    Z, _, _ = z_scored(X)
    T, _, _ = z_scored(Y)
    A = np.column_stack([Z, np.ones(len(Z))])
    W = np.empty((A.shape[1], Y.shape[1]))
    for j, own in enumerate(np.broadcast_to(alpha, Y.shape[1])):
        penalty = own * np.eye(A.shape[1])
        penalty[-1, -1] *= penalize_bias
        W[:, j] = np.linalg.solve(A.T @ A + penalty, A.T @ T[stimulus, j])
    return W[:-1], W[-1]


@pytest.mark.parametrize("make", [factorise, decompose])
@pytest.mark.parametrize("penalize_bias", [True, False])
@pytest.mark.parametrize("alpha", [7.0, "by unit"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 5e-6)])
@pytest.mark.parametrize("shape", SHAPES)
def test_units_against_dense_solutions(shape, dtype, tolerance, alpha, penalize_bias, make) -> None:
    X, Y, stimulus = study(*SHAPES[shape], dtype=dtype)
    if alpha == "by unit":
        alpha = np.array([0.5, 20.0, 300.0])[np.arange(Y.shape[1]) % 3]
    W, b = dense_weights(X, Y, stimulus, alpha, penalize_bias=penalize_bias)
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    shared = make(X, stimulus, brain)
    units = fit_units(shared, brain, Y, alpha=alpha, penalize_bias=penalize_bias, n_threads=2)
    usable = np.delete(np.arange(X.shape[1]), 7)
    np.testing.assert_array_equal(units.voxel, np.tile(usable, (Y.shape[1], 1)))
    assert units.weight.dtype == units.bias.dtype == dtype
    np.testing.assert_allclose(units.weight, W[usable].T, rtol=0, atol=tolerance * np.abs(W).max())
    np.testing.assert_allclose(units.bias, b, rtol=0, atol=tolerance)
    _, y_mean, y_scale = z_scored(Y)
    y_scale[2] = 0
    np.testing.assert_allclose(units.y_mean, y_mean, rtol=1e-12)
    np.testing.assert_allclose(units.y_scale, y_scale, rtol=1e-12)

    items = np.random.default_rng(0).normal(size=(6, X.shape[1])).astype(dtype)
    items[:, 7] = 0
    expected = y_mean + y_scale * (items @ W + b)
    options = {"alpha": alpha, "penalize_bias": penalize_bias}
    predicted = predict_items(shared, brain, items, Y, **options)
    atol = 5 * tolerance * np.abs(expected).max()
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=atol)
    np.testing.assert_array_equal(predicted[:, 2], dtype(0.1))
    np.testing.assert_allclose(decoder.predict_units(items, units), expected, rtol=0, atol=atol)


def test_equals_the_selecting_decoder_that_selects_all() -> None:
    X, Y, stimulus = study(*SHAPES["N>D"])
    other = decoder.fit_decoder(X, Y, 10_000, 5.0, True, stimulus)
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    units = fit_units(factorise(X, stimulus, brain), brain, Y, alpha=5.0, penalize_bias=True)
    np.testing.assert_array_equal(units.voxel, other.voxel)
    np.testing.assert_allclose(units.weight, other.weight, atol=1e-12)
    np.testing.assert_allclose(units.bias, other.bias, atol=1e-12)


@pytest.mark.parametrize("make", [factorise, decompose])
def test_predictions_of_held_out_items(make) -> None:
    X, Y, stimulus = study(*SHAPES["N<D"])
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    items = np.random.default_rng(0).normal(size=(3, X.shape[1]))
    items[:, 7] = 0
    T, _, _ = z_scored(Y)
    predicted = make(X, stimulus, brain).item_maps(items, [0.5, 5.0, 500.0]).predict(T.T)
    for a, alpha in enumerate([0.5, 5.0, 500.0]):
        W, _ = dense_weights(X, Y, stimulus, alpha, penalize_bias=False)
        np.testing.assert_allclose(predicted[a], items @ W, atol=1e-10)


@pytest.mark.parametrize("n_alphas", [3, all_voxels.SPECTRUM_FROM])
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_of_a_fold(shape, n_alphas) -> None:
    """Against a loop that fits the training samples alone and predicts each held-out stimulus' mean pattern."""
    X, Y, stimulus = study(*SHAPES[shape])
    held_out = np.arange(len(Y)) % 4 == 1
    Y[~held_out, 5] = 2.0  # constant in training, not in the fold
    alphas = np.logspace(-1, 3, n_alphas)
    errors, total = fold_errors(X, Y, stimulus=stimulus, held_out=held_out, alphas=alphas, n_threads=2)
    train = ~held_out[stimulus]
    place = np.cumsum(~held_out) - 1
    _, x_mean, x_scale = z_scored(X[train])
    _, y_mean, y_scale = z_scored(Y[~held_out])
    patterns = np.array([X[stimulus == s].mean(axis=0) for s in np.flatnonzero(held_out)])
    y_scale[~np.isfinite(y_scale)] = 0
    truth = Y[held_out]
    np.testing.assert_allclose(total, ((truth - y_mean) ** 2).sum(axis=0), rtol=1e-10, atol=1e-20)
    for a in (0, 2, n_alphas - 1):
        W, b = dense_weights(X[train], Y[~held_out], place[stimulus[train]], alphas[a], penalize_bias=False)
        predicted = y_mean + y_scale * ((patterns - x_mean) / x_scale @ W + b)
        np.testing.assert_allclose(errors[a], ((truth - predicted) ** 2).sum(axis=0), rtol=1e-8, atol=1e-20)
    assert errors[0, 5] == total[5] > 0


def test_threads_and_place_do_not_change_a_unit(monkeypatch) -> None:
    monkeypatch.setattr(all_voxels, "UNIT_BLOCK", 4)
    X, Y, stimulus = study(*SHAPES["N<D"], dtype=np.float32)
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    shared = factorise(X, stimulus, brain)
    alpha = np.array([1.0, 9.0])[np.arange(11) % 2]
    whole = [fit_units(shared, brain, Y, alpha=alpha, n_threads=n) for n in (1, 3)]
    np.testing.assert_array_equal(whole[0].weight, whole[1].weight)
    part = fit_units(shared, brain, Y[:, 5:7], alpha=alpha[5:7])
    np.testing.assert_array_equal(whole[0].weight[5:7], part.weight)
    predicted = [predict_items(shared, brain, X[:3], Y, alpha=alpha, n_threads=n) for n in (1, 3)]
    np.testing.assert_array_equal(*predicted)
    own = predict_items(shared, brain, X[:3], Y[:, 5:7], alpha=alpha[5:7])
    np.testing.assert_array_equal(predicted[0][:, 5:7], own)
    folds = [
        fold_errors(X, Y, stimulus=stimulus, held_out=np.arange(len(Y)) < 5, alphas=[1.0, 2.0], n_threads=n)[0]
        for n in (1, 3)
    ]
    np.testing.assert_array_equal(*folds)


def test_bad_penalties() -> None:
    X, Y, stimulus = study(*SHAPES["N>D"])
    brain = sample_statistics(X, stimulus, n_stimuli=len(Y))
    shared = factorise(X, stimulus, brain)
    with pytest.raises(DataError, match="one for each of the 11 units"):
        fit_units(shared, brain, Y, alpha=np.ones(3))
    with pytest.raises(DataError, match="finite number above 0"):
        predict_items(shared, brain, X, Y, alpha=np.r_[np.ones(10), np.nan])
    with pytest.raises(DataError, match="finite number above 0"):
        fit_units(shared, brain, Y, alpha=0.0)


def peak(function):
    """Return the result of a call and the most bytes that it held at a time."""
    tracemalloc.start()
    result = function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, most


@pytest.mark.parametrize(("n", "d", "n_stimuli"), [(900, 500, 300), (400, 3000, 400)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_peak_memory_is_what_was_projected(n, d, n_stimuli, n_threads) -> None:
    X, Y, stimulus = study(n, d, n_stimuli, n_units=600, dtype=np.float32)
    brain = sample_statistics(X, stimulus, n_stimuli=n_stimuli)
    items = X[:50].copy()
    system, forming = peak(lambda: factorise(X, stimulus, brain, n_threads=n_threads))
    sizes = {"n_stimuli": n_stimuli, "n_threads": n_threads}
    projected = all_voxels.system_bytes(n, d, n_items=50, n_alphas=3, **sizes)
    _, mapping = peak(lambda: system.shared_map(3.0))
    mapping = max(forming, system.matrix.nbytes + mapping)
    assert 0.3 < mapping / all_voxels.map_bytes(n, d, **sizes) <= 1
    _, solving = peak(lambda: system.item_maps(items, [1.0, 2.0, 3.0]))
    assert 0.3 < max(forming, system.matrix.nbytes + solving) / projected <= 1
    _, decomposing = peak(lambda: decompose(X, stimulus, brain, n_threads=n_threads))
    assert 0.3 < decomposing / all_voxels.spectrum_bytes(n, d, **sizes) <= 1
    _, fitting = peak(lambda: fit_units(system, brain, Y, alpha=3.0, n_threads=n_threads))
    assert 0.3 < fitting / all_voxels.fit_bytes(600, d, n_samples=n, **sizes) <= 1


def test_projected_seconds_grow_with_the_work() -> None:
    sizes = {"n_items": 240, "n_threads": 2}
    few = all_voxels.spectrum_seconds(1200, 4000, n_alphas=10, **sizes)
    assert 0 < few < all_voxels.spectrum_seconds(1200, 4000, n_alphas=20, **sizes)
    assert few < all_voxels.spectrum_seconds(6000, 4000, n_alphas=10, **sizes)
    many = [all_voxels.spectrum_seconds(2000, 4000, n_alphas=n, **sizes) for n in (30, 60)]
    assert many[0] < many[1] < 2 * many[0]  # a penalty more is two products, not a factorisation
