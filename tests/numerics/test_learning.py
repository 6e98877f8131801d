"""Subsets of the training data: sums against statistics of the samples themselves, scores against loops."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import additive, learning
from hpc_recon.numerics.stats import brain_statistics


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(30), 3)
    rng.shuffle(codes)
    return (rng.normal(size=(90, 20)) * 3 + 100).astype(np.float32), codes


def test_growing_sums_are_the_statistics_of_the_samples(samples):
    X, codes = samples
    order = np.random.default_rng(1).permutation(30)
    steps = [np.flatnonzero(np.isin(codes, order[a:b])) for a, b in ((0, 8), (8, 15), (15, 24))]
    centre, unit = additive.reference(X)
    found = list(learning.growing(X, codes, steps, n_stimuli=30, centre=centre, unit=unit))
    for (brain, rows), n in zip(found, (8, 15, 24), strict=True):
        np.testing.assert_array_equal(rows, np.sort(order[:n]))
        own = np.isin(codes, rows)
        oracle = brain_statistics(X[own], np.searchsorted(rows, codes[own]))
        assert brain.n_samples == 3 * n
        np.testing.assert_allclose(brain.mean, oracle.mean)
        np.testing.assert_allclose(brain.scale, oracle.scale, rtol=1e-5)
        np.testing.assert_allclose(brain.gram, oracle.gram, atol=1e-3)  # float32 sums of 72 products
        np.testing.assert_allclose(brain.sums, oracle.sums, atol=1e-4)
        np.testing.assert_array_equal(brain.counts, oracle.counts)


def test_fewer_voxels_are_a_part_of_the_matrix(samples):
    X, codes = samples
    whole, voxels = brain_statistics(X, codes), np.array([2, 7, 11, 19])
    found, oracle = learning.offered(whole, voxels), brain_statistics(X[:, voxels], codes)
    for name in ("mean", "scale", "gram", "sums", "counts"):
        np.testing.assert_allclose(getattr(found, name), getattr(oracle, name), atol=1e-4)


def test_turns_count_the_samples_of_each_stimulus(samples):
    _, codes = samples
    found = [learning.turns(codes, np.random.default_rng(seed)) for seed in range(3)]
    for turn in found:
        for code in range(30):
            assert sorted(turn[codes == code]) == [0, 1, 2]
    assert not np.array_equal(found[0], found[1])


def test_held_out_scores_are_those_of_a_loop():
    rng = np.random.default_rng(2)
    truth, fold = rng.normal(size=(12, 7)), np.arange(12) % 2
    guesses = truth + rng.normal(size=(12, 7)) + 4 * fold[:, None]
    truth[:, 6] = 1.0
    guesses[:, 5] = 2.0
    mean, scale = rng.normal(size=7), rng.uniform(0.5, 2, 7)
    scale[3] = 0.0  # left out
    held = learning.HeldOut(3, n_stimuli=12, layers=[slice(0, 4), slice(4, 7)])
    for f in range(2):
        rows = np.flatnonzero(fold == f)
        held.add([0, 2], rows, guesses[rows], truth[rows], mean=mean, scale=scale)
        held.add([1], rows, truth[rows], truth[rows], mean=mean, scale=scale)
    p, y = (np.concatenate([v[fold == f] - v[fold == f].mean(axis=0) for f in range(2)]) for v in (guesses, truth))
    r = held.correlation()
    for unit in range(5):
        assert r[0, unit] == pytest.approx(np.corrcoef(p[:, unit], y[:, unit])[0, 1], abs=1e-6)
    np.testing.assert_array_equal(r[0], r[2])
    assert r[0, 5] == 0
    assert np.isnan(r[0, 6])
    np.testing.assert_allclose(r[1, :6], 1, atol=1e-6)
    z = [(values[:, :3] - mean[:3]) / scale[:3] for values in (guesses, truth)]
    for f in range(2):
        rows = np.flatnonzero(fold == f)
        for i in rows:
            similarity = [np.corrcoef(z[0][i], z[1][j])[0, 1] for j in rows]
            own = similarity[list(rows).index(i)]
            assert held.identification[0, 0, i] == pytest.approx(sum(s < own for s in similarity) / (len(rows) - 1))
    np.testing.assert_array_equal(held.identification[1, 0], 1)


def test_sizes_that_make_no_curve_are_refused():
    with pytest.raises(DataError, match="subsets of two sizes"):
        learning.sizes_of(6, (0.5, 1.0))
