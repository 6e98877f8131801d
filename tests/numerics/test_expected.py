"""The standard error of a sampled mean, against what repeated sampling shows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpc_recon.numerics.expected import mean_and_error


def test_repeated_samples_scatter_as_the_error_says():
    """Oracle: 4,000 samples without replacement from 300 scores that come in runs of equal ones, as neighbours do."""
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.normal(0.3, 0.2, 30), 10)
    drawn = [mean_and_error(rng.choice(scores, 120, replace=False), n_units=300) for _ in range(4000)]
    means, errors = np.array(drawn).T
    # The standard deviation of 4,000 means is known to 1 / sqrt(8000) = 1.1 %.
    assert np.sqrt((errors**2).mean()) == pytest.approx(means.std(), rel=0.05)
    inside = np.abs(means - scores.mean()) < 1.96 * errors
    assert 0.93 < inside.mean() < 0.97
    # Without the correction for a finite number of units it would be 1 / sqrt(.6) = 29 % too large.
    assert (errors < 0.8 * 0.2 / np.sqrt(120)).mean() > 0.5


def test_all_units_leave_no_error_and_constant_units_are_left_out():
    scores = np.array([0.1, np.nan, 0.4, 0.4])
    mean, error = mean_and_error(scores, n_units=4)
    assert mean == pytest.approx(0.3)
    assert error == 0.0
    mean, error = mean_and_error(scores, n_units=16)
    assert error == pytest.approx(np.std([0.1, 0.4, 0.4], ddof=1) / math.sqrt(3) * math.sqrt(0.75))


def test_too_few_scores():
    assert all(math.isnan(value) for value in mean_and_error(np.array([np.nan]), n_units=9))
    mean, error = mean_and_error(np.array([0.5, np.nan]), n_units=9)
    assert mean == 0.5
    assert math.isnan(error)
