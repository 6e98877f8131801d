"""Reliability of voxels: against pairs in a loop, and against what simulated noise gives."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import ceilings


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(0)
    made = rng.normal(size=(1, 9, 6)) + 0.8 * rng.normal(size=(5, 9, 6)) + 50
    made[:, :, 4] = rng.normal(size=(5, 9))
    made[2, :, 5] = 7.1
    return made.astype(np.float32)


def test_the_mean_of_all_pairs_is_that_of_a_loop(trials):
    found = ceilings.repeat_correlation(trials)
    for voxel in range(5):
        pairs = [
            np.corrcoef(trials[a, :, voxel], trials[b, :, voxel])[0, 1] for a in range(5) for b in range(5) if a != b
        ]
        assert found[voxel] == pytest.approx(np.mean(pairs), abs=1e-5)  # float32
    assert found[:4].min() > 0.2 > found[4]
    assert np.isnan(found[5])


def test_halves_are_correlated_and_stepped_up(trials):
    found = ceilings.split_half(trials, seed=3, splits=4)
    rng = np.random.default_rng(3)
    r = []
    for _ in range(4):
        order = rng.permutation(5)
        one, other = trials[order[:2]].mean(axis=0), trials[order[2:4]].mean(axis=0)
        r.append([np.corrcoef(one[:, v], other[:, v])[0, 1] for v in range(5)])
    mean = np.maximum(np.mean(r, axis=0), 0)
    # From halves of two repeats to all five.
    np.testing.assert_allclose(found[:5], 2.5 * mean / (1 + 1.5 * mean), atol=1e-4)


@pytest.mark.parametrize("n_repeats", [3, 8])
def test_both_agree_with_the_noise_that_was_added(n_repeats):
    """Signal and noise of known size: a single trial's reliability is s / (s + n), that of m trials s / (s + n / m)."""
    rng = np.random.default_rng(1)
    signal, noise = 0.5, 1.0
    trials = np.sqrt(signal) * rng.normal(size=(1, 400, 60)) + rng.normal(size=(n_repeats, 400, 60))
    assert ceilings.repeat_correlation(trials).mean() == pytest.approx(signal / (signal + noise), abs=0.015)
    whole = ceilings.split_half(trials, seed=0, splits=5)
    assert whole.mean() == pytest.approx(signal / (signal + noise / n_repeats), abs=0.015)


def test_repeats_are_taken_in_their_order():
    codes = np.array([2, 0, 1, 0, 2, 1, 0])
    assert ceilings.by_repeat(codes).tolist() == [[1, 2, 0], [3, 5, 4]]


@pytest.mark.parametrize("shape", [(1, 9, 4), (3, 2, 4)])
def test_too_few_repeats_or_stimuli_are_an_error(shape):
    with pytest.raises(DataError, match="two repeats or more of three stimuli"):
        ceilings.repeat_correlation(np.ones(shape))
    with pytest.raises(DataError, match="leave this dataset out"):
        ceilings.split_half(np.ones(shape), seed=0)
