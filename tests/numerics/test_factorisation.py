from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import factorisation
from hpc_recon.numerics.factorisation import (
    SPECTRUM_FROM,
    ItemMaps,
    Spectrum,
    System,
    decompose,
    factorise,
    prepare,
    sample_statistics,
)
from hpc_recon.numerics.stats import brain_statistics

#: samples, voxels, stimuli
SHAPES = {
    "N>D, no repeats": (70, 30, 70),
    "N<D, no repeats": (40, 90, 40),
    "N>D, repeats": (120, 50, 40),
    "N<D, repeats": (60, 100, 20),
    "N>D>P": (120, 50, 20),
}


def study(n, d, n_stimuli, *, balanced=False, dtype=np.float64):
    """Return raw samples with a constant voxel, the stimulus of each, and z-scores from numpy's own functions."""
    rng = np.random.default_rng(3)
    more = np.arange(n - n_stimuli) % n_stimuli if balanced else rng.integers(0, n_stimuli, n - n_stimuli)
    stimulus = rng.permutation(np.r_[np.arange(n_stimuli), more])
    X = rng.normal(size=(n_stimuli, 5))[stimulus] @ rng.normal(size=(5, d)) + rng.normal(size=(n, d)) + 50
    X[:, 7] = 3.0
    X = X.astype(dtype)
    wide = X.astype(np.float64)
    scale = wide.std(axis=0, ddof=1)
    scale[7] = np.inf
    return X, stimulus, (wide - wide.mean(axis=0)) / scale


def dense_map(Z, stimulus, n_stimuli, alpha):
    """Return (Z'Z + alpha I)^-1 Z'E from the expanded samples."""
    E = np.eye(n_stimuli)[stimulus]
    return np.linalg.solve(Z.T @ Z + alpha * np.eye(Z.shape[1]), Z.T @ E)


@pytest.mark.parametrize("make", [factorise, decompose])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 3e-6)])
@pytest.mark.parametrize("shape", SHAPES)
def test_maps_against_dense_solutions(shape, dtype, tolerance, balanced, make) -> None:
    n, d, n_stimuli = SHAPES[shape]
    X, stimulus, Z = study(n, d, n_stimuli, balanced=balanced, dtype=dtype)
    brain = sample_statistics(X, stimulus, n_stimuli=n_stimuli)
    shared = make(X, stimulus, brain, n_threads=2)
    items = np.random.default_rng(0).normal(size=(6, d)).astype(dtype)
    items[:, 7] = 0
    targets = np.random.default_rng(1).normal(size=(4, n_stimuli)).astype(dtype)
    alphas = [0.3, 40.0]
    maps = shared.item_maps(items, alphas)
    predicted = maps.predict(targets)
    assert predicted.dtype == maps.left.dtype == dtype
    for a, alpha in enumerate(alphas):
        expected = dense_map(Z, stimulus, n_stimuli, alpha)
        M = shared.shared_map(alpha)
        assert M.dtype == dtype
        assert not M[7].any()
        np.testing.assert_allclose(M, expected, rtol=0, atol=tolerance * np.abs(expected).max())
        of_items = items.astype(np.float64) @ expected @ targets.T
        np.testing.assert_allclose(predicted[a], of_items, rtol=0, atol=3 * tolerance * np.abs(of_items).max())


def test_which_system_is_formed() -> None:
    X, stimulus, Z = study(60, 100, 20)
    system = factorise(X, stimulus, sample_statistics(X, stimulus, n_stimuli=20))
    assert not system.primal
    np.testing.assert_allclose(system.matrix, Z @ Z.T, atol=1e-10)
    X, stimulus, Z = study(120, 50, 40)
    system = factorise(X, stimulus, sample_statistics(X, stimulus, n_stimuli=40))
    assert system.primal
    np.testing.assert_allclose(system.matrix, Z.T @ Z, atol=1e-10)


@pytest.mark.parametrize(("n", "d", "rank"), [(120, 50, 49), (40, 90, 39)])
def test_rounding_is_dropped_from_the_spectrum(n, d, rank) -> None:
    """A constant voxel (primal), and samples whose z-scores sum to zero (dual), leave one eigenvalue of rounding."""
    X, stimulus, Z = study(n, d, 30)
    spectrum = decompose(X, stimulus, sample_statistics(X, stimulus, n_stimuli=30))
    assert spectrum.values.shape == (rank,)
    np.testing.assert_allclose(spectrum.values, np.linalg.svd(Z, compute_uv=False)[:rank] ** 2, rtol=1e-9)
    np.testing.assert_allclose(spectrum.vectors.T @ spectrum.vectors, np.eye(rank), atol=1e-9)
    np.testing.assert_allclose(spectrum.vectors * spectrum.values @ spectrum.vectors.T, Z.T @ Z, atol=1e-9)
    sums = np.eye(30)[stimulus].T @ Z
    np.testing.assert_allclose(spectrum.projections, spectrum.vectors.T @ sums.T, atol=1e-9)


def test_precision_where_one_signal_dominates_all_voxels() -> None:
    """Float32 alone would be wrong by 1e-3 and more here (Cholesky), by 1e-2 (eigenvectors)."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(300, 900)) + 8 * rng.normal(size=(300, 1))).astype(np.float32)
    stimulus = np.arange(300)
    brain = sample_statistics(X, stimulus, n_stimuli=300)
    wide = X.astype(np.float64)
    Z = (wide - wide.mean(axis=0)) / wide.std(axis=0, ddof=1)
    items = rng.normal(size=(20, 900)).astype(np.float32)
    targets = (Z[:, :30] @ rng.normal(size=(30, 10))).T.astype(np.float32)
    kernel = Z @ Z.T + np.eye(300)
    expected = items @ Z.T @ np.linalg.solve(kernel, targets.T.astype(np.float64))
    for make in (factorise, decompose):
        predicted = make(X, stimulus, brain).item_maps(items, [1.0]).predict(targets)[0]
        assert np.abs(predicted - expected).max() < 2e-5 * expected.std()


def test_maps_made_of_a_few_stimuli_at_a_time(monkeypatch) -> None:
    """One factorisation serves all blocks of right-hand sides."""
    for shape in ("N<D, repeats", "N>D, repeats"):
        n, d, n_stimuli = SHAPES[shape]
        X, stimulus, _ = study(n, d, n_stimuli)
        system = factorise(X, stimulus, sample_statistics(X, stimulus, n_stimuli=n_stimuli))
        whole = system.shared_map(2.0)
        with monkeypatch.context() as patch:
            patch.setattr(factorisation, "COLUMNS_AT_ONCE", 7)
            np.testing.assert_allclose(system.shared_map(2.0), whole, rtol=0, atol=1e-13)


def test_results_do_not_depend_on_threads(monkeypatch) -> None:
    monkeypatch.setattr(factorisation, "COLUMNS_AT_ONCE", 16)
    for shape in ("N<D, repeats", "N>D, repeats"):
        n, d, n_stimuli = SHAPES[shape]
        X, stimulus, _ = study(n, d, n_stimuli)
        brain = sample_statistics(X, stimulus, n_stimuli=n_stimuli)
        one, three = (factorise(X, stimulus, brain, n_threads=n) for n in (1, 3))
        np.testing.assert_array_equal(one.matrix, three.matrix)
        np.testing.assert_array_equal(one.shared_map(1.0), three.shared_map(1.0))
        maps = [system.item_maps(X[:5], [1.0, 2.0, 3.0, 4.0]).left for system in (one, three)]
        np.testing.assert_array_equal(*maps)


def test_squared_errors_are_those_of_the_predictions() -> None:
    rng = np.random.default_rng(0)
    truth, targets = rng.normal(size=(6, 4)), rng.normal(size=(4, 9))
    for right in (None, rng.normal(size=(5, 9))):
        maps = ItemMaps(rng.normal(size=(3, 6, 9 if right is None else 5)), right)
        unchanged = truth.copy()
        expected = ((truth - maps.predict(targets)) ** 2).sum(axis=1)
        np.testing.assert_allclose(maps.squared_errors(targets, truth), expected, rtol=1e-13)
        np.testing.assert_array_equal(truth, unchanged)


def test_many_penalties_take_the_spectrum() -> None:
    X, stimulus, _ = study(60, 30, 20)
    brain = sample_statistics(X, stimulus, n_stimuli=20)
    assert isinstance(prepare(X, stimulus, brain, n_alphas=SPECTRUM_FROM - 1), System)
    assert isinstance(prepare(X, stimulus, brain, n_alphas=SPECTRUM_FROM), Spectrum)


def test_statistics_are_those_of_the_other_estimators() -> None:
    X, stimulus, _ = study(60, 30, 20, dtype=np.float32)
    own, other = sample_statistics(X, stimulus, n_stimuli=20), brain_statistics(X, stimulus)
    for name in ("n_samples", "mean", "scale", "sums", "counts"):
        np.testing.assert_array_equal(getattr(own, name), getattr(other, name))
    assert own.gram is None
    with pytest.raises(DataError, match="all 4 voxels are constant"):
        sample_statistics(np.ones((5, 4)), np.arange(5), n_stimuli=5)


def test_bad_input() -> None:
    X, stimulus, _ = study(60, 30, 20)
    brain = sample_statistics(X, stimulus, n_stimuli=20)
    with pytest.raises(DataError, match="must be those of the brain statistics, 60 x 30"):
        factorise(X[:-1], stimulus[:-1], brain)
    with pytest.raises(DataError, match="the samples of each stimulus"):
        factorise(X, np.arange(60) % 20, brain)
    for make in (factorise, decompose):
        shared = make(X, stimulus, brain)
        for alpha in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(DataError, match="finite number above 0"):
                shared.shared_map(alpha)
            with pytest.raises(DataError, match="finite number above 0"):
                shared.item_maps(X[:2], [alpha])
    X = np.repeat(X[:, :6], 5, axis=1)
    brain = sample_statistics(X, stimulus, n_stimuli=20)
    with pytest.raises(DataError, match="30 unknowns positive definite"):
        factorise(X, stimulus, brain).shared_map(1e-300)
