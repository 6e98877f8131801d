"""Reliability of voxels against scipy's analysis of variance, and against simulated shares of signal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import voxel_weights
from hpc_recon.numerics.factorisation import sample_statistics
from hpc_recon.numerics.stats import standardise


def samples(share, *, n_stimuli=400, repeats=5, seed=0):
    """Return samples of voxels with these shares of signal in the variance of single samples."""
    rng, share = np.random.default_rng(seed), np.asarray(share)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    signal = rng.normal(size=(n_stimuli, len(share)))[stimulus]
    noise = rng.normal(size=(len(stimulus), len(share)))
    return 7 + 3 * (np.sqrt(share) * signal + np.sqrt(1 - share) * noise), stimulus


def test_means_are_as_reliable_as_the_f_ratio_says():
    X, stimulus = samples([0.0, 0.05, 0.5, 0.9], n_stimuli=12, repeats=3)
    kept = np.flatnonzero((stimulus != 4) | (np.arange(len(X)) % 2 == 0))  # numbers of repeats differ
    X, stimulus = X[kept], stimulus[kept]
    F = stats.f_oneway(*(X[stimulus == s] for s in np.unique(stimulus))).statistic
    found = voxel_weights.reliability(X, stimulus, of_means=True)
    np.testing.assert_allclose(found, np.clip(1 - 1 / F, 0, 1), rtol=1e-10)


def test_single_samples_have_the_share_of_signal_that_they_were_made_with():
    share = np.repeat([0.05, 0.2, 0.5, 0.9], 60)
    X, stimulus = samples(share)
    single = voxel_weights.reliability(X, stimulus, of_means=False)
    np.testing.assert_allclose(single.reshape(4, 60).mean(axis=1), share[::60], atol=0.01)
    means = voxel_weights.reliability(X, stimulus, of_means=True)
    np.testing.assert_allclose(means, 5 * single / (1 + 4 * single), rtol=1e-10)  # Spearman and Brown
    np.testing.assert_allclose(voxel_weights.reliability(X.astype("f4"), stimulus, of_means=True), means, atol=1e-5)


def test_constant_voxels_have_no_signal_and_samples_without_repeats_no_reliability():
    X, stimulus = samples([0.5, 0.5], n_stimuli=6, repeats=2)
    X[:, 1] = 0.1
    assert voxel_weights.reliability(X, stimulus, of_means=True)[1] == 0
    assert voxel_weights.reliability(X, np.arange(len(X)), of_means=True) is None
    with pytest.raises(DataError, match="two stimuli or more, got 1"):
        voxel_weights.reliability(X, np.zeros(len(X), int), of_means=True)


def test_gains_keep_the_penalty_and_need_a_reliable_voxel():
    found = voxel_weights.gains(np.array([0.1, 0.4, 0.0]))
    assert np.mean(found**2) == pytest.approx(1)
    assert found[1] == pytest.approx(4 * found[0])
    with pytest.raises(DataError, match=r"in any of 2 voxels.*weighting: equal"):
        voxel_weights.gains(np.zeros(2))


def test_weighted_statistics_are_those_of_z_scored_voxels_times_their_gain():
    X, stimulus = samples([0.5, 0.2, 0.9], n_stimuli=6, repeats=2)
    gain = np.array([0.5, 2.0, 0.0])
    brain = sample_statistics(X, stimulus, n_stimuli=6)
    found = voxel_weights.weighted(brain, gain)
    Z = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1) * gain
    np.testing.assert_allclose(found.sums, [Z[stimulus == s].sum(axis=0) for s in range(6)], atol=1e-12)
    np.testing.assert_allclose(standardise(X, mean=found.mean, scale=found.scale, dtype=np.float64), Z, atol=1e-12)
    assert found.n_usable == 2
    assert voxel_weights.weighted(brain, None) is brain
