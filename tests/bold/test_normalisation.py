"""Normalisation within groups against scipy's zscore, and eta squared against one-way ANOVA's F."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import f_oneway, zscore

from hpc_recon.bold.normalisation import chance_explained, explained_by, normalise_groups
from hpc_recon.core.errors import DataError


def test_groups_are_z_scored_as_scipy_does() -> None:
    rng = np.random.default_rng(1)
    groups = np.array([2, 1, 2, 1, 3, 3, 2, 1, 3])
    samples = rng.standard_normal((9, 1500)) + 10 * groups[:, np.newaxis]
    expected = samples.copy()
    for group in (1, 2, 3):
        expected[groups == group] = zscore(samples[groups == group], axis=0, ddof=1)
    done = normalise_groups(samples, groups)
    assert (done.n_groups, done.n_constant) == (3, 0)
    np.testing.assert_allclose(samples, expected, atol=1e-12)


def test_a_voxel_without_spread_in_a_group_is_zero_there_and_counted() -> None:
    samples = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0], [5.0, 1.0], [6.0, 2.0]], dtype=np.float32)
    done = normalise_groups(samples, np.array([1, 1, 1, 2, 2]))
    assert done.n_constant == 1
    assert samples[:3, 0].tolist() == [0, 0, 0]
    assert (samples[3:, 0] != 0).all()


def test_a_group_of_one_sample_and_groups_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 groups have a single sample"):
        normalise_groups(np.ones((3, 2)), np.array([1, 1, 2]))
    with pytest.raises(DataError, match="3 samples, but groups of shape"):
        normalise_groups(np.ones((3, 2)), np.array([1, 1]))


def test_eta_squared_is_that_of_the_anova() -> None:
    rng = np.random.default_rng(2)
    sessions = np.repeat([1, 2, 3, 4], [10, 14, 8, 20])
    samples = rng.standard_normal((52, 1300)) + 0.3 * rng.standard_normal((5, 1300))[sessions]
    statistic = f_oneway(*[samples[sessions == s] for s in (1, 2, 3, 4)], axis=0).statistic
    expected = (3 * statistic / (3 * statistic + 48)).mean()  # eta^2 of an F with 3 and 48 degrees of freedom
    assert explained_by(samples, sessions) == pytest.approx(expected, rel=1e-10)


def test_eta_squared_leaves_constant_voxels_out_and_is_zero_without_groups() -> None:
    samples = np.array([[0.0, 7.0], [2.0, 7.0], [2.0, 7.0], [4.0, 7.0]])
    assert explained_by(samples, np.array([1, 1, 2, 2])) == 0.5
    assert explained_by(samples, np.ones(4)) == 0
    assert explained_by(samples[:, 1:], np.array([1, 1, 2, 2])) == 0


def test_chance_is_the_mean_of_eta_squared_of_noise() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(6), 5)
    # The SD of a voxel's eta squared is about 0.07 here: the mean of 20,000 voxels is within 0.002 by four SE.
    assert explained_by(rng.standard_normal((30, 20_000)), groups) == pytest.approx(chance_explained(groups), abs=0.002)
