"""Folds made by algebra, against the statistics of each fold's own samples."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import additive, folds, needs, stats
from hpc_recon.numerics.folds import make_fold, make_folds, make_pairs

# As in test_additive: two float32 Gram matrices of the same samples, relative to n.
TOLERANCE = {np.float64: 1e-6, np.float32: 2.5e-6}


def simulated(n_stimuli, n_voxels, *, repeats, offset=0.0, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    counts = {"none": 1, "balanced": 4, "unbalanced": rng.integers(1, 6, n_stimuli)}[repeats]
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    X = rng.normal(size=(len(stimulus), n_voxels)) + offset * rng.normal(size=n_voxels)
    return X.astype(dtype), stimulus, rng.permutation(np.arange(n_stimuli) % 5)


def assert_fold(fold, X, stimulus, held, *, tolerance):
    """Compare a fold with the formula, from the samples in float64."""
    X, train = X.astype(np.float64), ~held[stimulus]
    mean, scale = X[train].mean(0), X[train].std(0, ddof=1)
    constant = scale <= 1e-6 * np.abs(mean)
    unit = np.where(constant, 1, scale)
    Z = np.where(constant, 0, (X - mean) / unit)
    train_rows, test_rows = np.unique(stimulus[train]), np.unique(stimulus[~train])
    np.testing.assert_array_equal(fold.train_rows, train_rows)
    np.testing.assert_array_equal(fold.test_rows, test_rows)
    np.testing.assert_array_equal(fold.brain.scale == 0, constant)
    assert np.abs((fold.brain.mean - mean) / unit).max() < tolerance
    assert np.abs(fold.brain.scale / unit - ~constant).max() < tolerance
    sums = np.array([Z[train & (stimulus == s)].sum(0) for s in train_rows])
    assert np.abs(fold.brain.sums - sums).max() < tolerance * max(np.abs(sums).max(), 1.0)
    np.testing.assert_array_equal(fold.brain.counts, [(stimulus == s).sum() for s in train_rows])
    patterns = np.array([Z[stimulus == s].mean(0) for s in test_rows])
    assert np.abs(fold.test_patterns - patterns).max() < tolerance * max(np.abs(patterns).max(), 1.0)
    if fold.brain.gram is not None:
        assert np.abs(fold.brain.gram - Z[train].T @ Z[train]).max() < tolerance * train.sum()
        assert np.array_equal(fold.brain.gram, fold.brain.gram.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(
    ("n_stimuli", "repeats"), [(60, "none"), (280, "none"), (400, "none"), (80, "balanced"), (90, "unbalanced")]
)
def test_folds_and_pairs_are_those_of_their_own_samples(n_stimuli, repeats, offset, dtype) -> None:
    X, stimulus, dealt = simulated(n_stimuli, 40, repeats=repeats, offset=offset, dtype=dtype)
    X[:, 7] = 0.1
    options = {"n_stimuli": n_stimuli, "fold_of_stimulus": dealt}
    made = list(make_folds(X, stimulus, **options))
    assert len(made) == 5
    for i, fold in enumerate(made):
        assert_fold(fold, X, stimulus, dealt == i, tolerance=TOLERANCE[dtype])
        direct = stats.brain_statistics(
            X[(dealt != i)[stimulus]], np.unique(stimulus[(dealt != i)[stimulus]], return_inverse=True)[1]
        )
        assert (fold.brain.gram is None) == (direct.gram is None)
        assert fold.brain.sums.dtype == fold.test_patterns.dtype == dtype
    pairs = list(make_pairs(X, stimulus, **options))
    at = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    assert len(pairs) == len(at)
    for held, pair in zip(at, pairs, strict=True):
        assert_fold(pair, X, stimulus, np.isin(dealt, held), tolerance=2 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_stimuli", "repeats"), [(60, "none"), (280, "none"), (90, "unbalanced")])
def test_one_fold_from_known_statistics(n_stimuli, repeats, dtype) -> None:
    X, stimulus, dealt = simulated(n_stimuli, 40, repeats=repeats, offset=100, dtype=dtype)
    X[:, 7] = 0.1
    X[stimulus == 3, 4] += 1e5  # computed again where it is held out
    brain = stats.brain_statistics(X, stimulus)
    before = None if brain.gram is None else brain.gram.copy()
    for held in (dealt == dealt[3], np.isin(dealt, (dealt[3], (dealt[3] + 1) % 5))):
        fold = make_fold(X, stimulus, held_out=held, brain=brain)
        assert_fold(fold, X, stimulus, held, tolerance=2 * TOLERANCE[dtype])
    if before is not None:
        np.testing.assert_array_equal(brain.gram, before)
    with pytest.raises(DataError, match="must be those of the samples"):
        make_fold(X[1:], stimulus[1:], held_out=held, brain=brain)
    with pytest.raises(DataError, match="must be those of the samples"):
        make_fold(X, np.roll(np.where(stimulus == 0, 1, stimulus), 1), held_out=held, brain=brain)
    with pytest.raises(DataError, match="holds out 0 of"):
        make_fold(X, stimulus, held_out=np.zeros(n_stimuli, bool), brain=brain)


def test_stimuli_without_samples_are_in_no_fold() -> None:
    X, stimulus, dealt = simulated(80, 20, repeats="balanced")
    stimulus = np.where(stimulus == 17, 18, stimulus)
    for i, fold in enumerate(make_folds(X, stimulus, n_stimuli=80, fold_of_stimulus=dealt)):
        assert 17 not in fold.train_rows
        assert 17 not in fold.test_rows
        assert_fold(fold, X, stimulus, dealt == i, tolerance=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_spike_among_the_held_out_samples_costs_no_digits(dtype) -> None:
    """With it voxels have a standard deviation of 1e5 and 1e9, without it of 1: float32 sums keep nothing of that.

    Where the spike is in training, many values of a voxel are equal and round alike: `brain_statistics` itself is
    3.1e-6 n off in float32, and the fold 4.3e-6 n (measured).
    """
    X, stimulus, dealt = simulated(100, 30, repeats="balanced", dtype=np.float64)
    X[stimulus == 3, 4] += 1e6
    X[stimulus == 3, 5] -= 1e10
    X[(dealt == dealt[3])[stimulus] == 0, 6] = 2.5  # varies among the held-out samples only
    X = X.astype(dtype)
    for i, fold in enumerate(make_folds(X, stimulus, n_stimuli=100, fold_of_stimulus=dealt)):
        held = dealt == i
        assert_fold(fold, X, stimulus, held, tolerance=(1 if held[3] else 3) * TOLERANCE[dtype])
        if not held[3]:
            continue
        assert fold.brain.scale[6] == 0
        np.testing.assert_allclose(fold.brain.scale[[4, 5]], 1, atol=0.2)
        plain, _ = additive.to_brain(_sums(X, stimulus, held))
        assert np.abs(plain.gram - fold.brain.gram).max() > 1e-3  # so the test would notice


def _sums(X, stimulus, held):
    centre, unit = additive.reference(X)
    whole = additive.sample_sums(X, stimulus, n_stimuli=100, centre=centre, unit=unit)
    out = held[stimulus]
    return whole - additive.sample_sums(X[out], stimulus[out], n_stimuli=100, centre=centre, unit=unit)


def test_sums_that_are_there_already_are_used_and_kept() -> None:
    X, stimulus, dealt = simulated(80, 20, repeats="balanced", dtype=np.float32)
    centre, unit = additive.reference(X)
    total = additive.sample_sums(X, stimulus, n_stimuli=80, centre=centre, unit=unit)
    before = total.products.copy()
    options = {"n_stimuli": 80, "fold_of_stimulus": dealt}
    for given, own in zip(
        make_folds(X, stimulus, total=total, **options), make_folds(X, stimulus, **options), strict=True
    ):
        assert given.brain.gram.tobytes() == own.brain.gram.tobytes()
    np.testing.assert_array_equal(total.products, before)


def test_bytes_do_not_depend_on_threads() -> None:
    X, stimulus, dealt = simulated(120, 1100, repeats="balanced", dtype=np.float32)
    X[stimulus == 3, 4] += 1e5
    made = [list(make_folds(X, stimulus, n_stimuli=120, fold_of_stimulus=dealt, n_threads=n)) for n in (1, 3)]
    for one, three in zip(*made, strict=True):
        assert one.brain.gram.tobytes() == three.brain.gram.tobytes()
        assert one.test_patterns.tobytes() == three.test_patterns.tobytes()


def peak(function):
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("spikes", [0, 1100])
def test_what_numpy_allocates_stays_below(spikes) -> None:
    n_voxels, n_stimuli = 1500, 60
    X, stimulus, dealt = simulated(n_stimuli, n_voxels, repeats="balanced", dtype=np.float32)
    X[np.ix_(stimulus == 3, np.arange(spikes))] += 1e4  # all of these voxels are computed again without stimulus 3
    brain = stats.brain_statistics(X, stimulus)
    sizes = {"n_voxels": n_voxels, "n_stimuli": n_stimuli, "n_held": 48, "n_threads": 2}

    def each() -> None:
        for fold in make_folds(X, stimulus, n_stimuli=n_stimuli, fold_of_stimulus=dealt, n_threads=2):
            assert fold.brain.n_samples == 192
            del fold

    used = peak(lambda: make_fold(X, stimulus, held_out=dealt == dealt[3], brain=brain, n_threads=2))
    assert used < folds.fold_bytes(240, **sizes) - needs.SLACK_BYTES
    assert peak(each) < folds.folds_bytes(240, **sizes) - needs.SLACK_BYTES


def test_pairs_take_longer_than_folds() -> None:
    sizes = {"n_folds": 5, "n_threads": 1}
    once = folds.folds_seconds(6000, 11726, **sizes)
    assert once < folds.folds_seconds(6000, 11726, pairs=True, **sizes) < 5 * once


def test_folds_that_cannot_be_are_refused_at_once() -> None:
    X, stimulus, dealt = simulated(40, 6, repeats="none")
    with pytest.raises(DataError, match=r"each of the 40 stimuli, got shape \(39,\)"):
        make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt[:39])
    with pytest.raises(DataError, match="the folds have 8, 8, 0, 8, 8, 8 of 40 samples"):
        make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt + (dealt > 1))
    with pytest.raises(DataError, match="leave two or more"):
        make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=np.arange(40) // 39)
    with pytest.raises(DataError, match="at least three folds, got 2"):
        make_pairs(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt % 2)
    with pytest.raises(DataError, match="X must be finite"):
        make_folds(np.where(X > 2, np.inf, X), stimulus, n_stimuli=40, fold_of_stimulus=dealt)
