"""Voxels of the largest response: against scipy's t-test and Stouffer's combination, ties, constants."""

from __future__ import annotations

import numpy as np
from scipy import stats

from hpc_recon.numerics.activity import most_active


def test_against_scipy() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 50)) * rng.uniform(0.2, 3, 50) + rng.normal(size=50)
    t = stats.ttest_1samp(X, 0).statistic
    assert most_active(X, 12, by="t").tolist() == sorted(np.argsort(-t)[:12].tolist())
    combined = [stats.combine_pvalues(stats.norm.sf(column), method="stouffer").statistic for column in X.T]
    assert most_active(X, 12).tolist() == sorted(np.argsort(combined)[::-1][:12].tolist())
    assert most_active(X, 12).tolist() != most_active(X, 12, by="t").tolist()


def test_deactivation_is_no_activity_and_ties_go_to_the_lower_number() -> None:
    X = np.array([[-9.0, 1, 2, 2, 0], [-9.1, 3, 2.5, 1.5, 0.1]])
    assert most_active(X, 2).tolist() == [1, 2]
    assert most_active(X[:, ::-1], 2).tolist() == [2, 3]
    same = np.array([[1.0, 1, 1], [2, 2, 2]])
    assert most_active(same, 2).tolist() == [0, 1]


def test_constant_voxels_are_never_taken() -> None:
    X = np.random.default_rng(0).normal(size=(9, 4)) - 5
    X[:, 1] = 100.0
    for by in ("mean", "t"):
        assert most_active(X, 9, by=by).tolist() == [0, 2, 3]
