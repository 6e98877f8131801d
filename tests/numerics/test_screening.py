"""Correlations of out-of-fold predictions and their intervals, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics import screening

CONFIDENCE, RESAMPLES, SEED = 0.9, 200, 4


@pytest.fixture(scope="module")
def case():
    """Predictions with a mean of their own in each fold; one unit is constant, the predictions of another are."""
    rng = np.random.default_rng(0)
    folds = np.arange(24) % 3
    truth = rng.normal(size=(24, 7))
    predictions = truth + rng.normal(size=(24, 7)) + 5 * folds[:, None]
    truth[:, 6], predictions[:, 5] = 1.0, 2.0
    return predictions, truth, folds


def _score(case, **changes):
    settings = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED} | changes
    return screening.score(case[0], case[1], fold_of_stimulus=case[2], **settings)


def _centred(values, folds):
    return np.concatenate([values[folds == f] - values[folds == f].mean(axis=0) for f in range(3)])


def test_units_correlate_within_folds(case):
    predictions, truth, folds = case
    found = _score(case).correlation
    p, y = _centred(predictions, folds), _centred(truth, folds)
    for unit in range(5):
        oracle = (p[:, unit] @ y[:, unit]) / np.sqrt((p[:, unit] @ p[:, unit]) * (y[:, unit] @ y[:, unit]))
        assert found[unit] == pytest.approx(oracle)
    assert found[5] == 0
    assert np.isnan(found[6])
    assert found[:5].min() > 0.3  # the means of the folds, which differ, do not count


def test_the_interval_resamples_stimuli_and_units(case):
    predictions, truth, folds = case
    found = _score(case)
    p, y = _centred(predictions, folds)[:, :6], _centred(truth, folds)[:, :6]
    means = []
    rng = np.random.default_rng(9)
    for _ in range(3000):
        rows, units = rng.integers(0, 24, 24), rng.integers(0, 6, 6)
        a, b = p[rows][:, units], y[rows][:, units]
        norm = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
        means.append(np.divide((a * b).sum(axis=0), norm, out=np.zeros(6), where=norm > 0).mean())
    # two bootstraps of 200 and 3,000 draws: their limits differ by chance
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.05, 0.95]), atol=0.05)
    assert found.low < found.units.mean < found.high
    assert found.units.mean == pytest.approx(np.nanmean(found.correlation))
    assert (found.units.n, found.units.n_missing) == (6, 1)
    again = _score(case)
    assert (again.low, again.high) == (found.low, found.high)


def test_predictions_of_nothing_are_at_zero():
    """Without the means of folds: else a low mean of the training stimuli predicts a high one of the held-out ones."""
    rng = np.random.default_rng(1)
    folds = np.arange(60) % 5
    truth = rng.normal(size=(60, 200))
    predictions = np.stack([truth[folds != folds[i]].mean(axis=0) for i in range(60)])
    predictions += 0.1 * rng.normal(size=predictions.shape)
    found = screening.score(predictions, truth, fold_of_stimulus=folds, confidence=0.95, resamples=200, seed=0)
    assert found.low < 0 < found.high


def test_shapes_must_agree(case):
    with pytest.raises(ValueError, match="a row for each stimulus"):
        screening.score(case[0][:5], case[1], fold_of_stimulus=case[2], confidence=0.9, resamples=100, seed=0)


def test_without_units_that_vary_there_is_no_interval():
    flat = np.ones((6, 2))
    found = screening.score(flat, flat, fold_of_stimulus=np.arange(6) % 3, confidence=0.9, resamples=100, seed=0)
    assert np.isnan([found.low, found.high]).all()
