"""Predictions of several areas joined: against plain least squares, and never by weights that saw the row."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from hpc_recon.core.errors import DataError
from hpc_recon.numerics.combining import Combiner, crossed, fit


@pytest.fixture(scope="module")
def joined():
    rng = np.random.default_rng(0)
    truth = rng.normal(2.0, 1.0, (40, 7))
    noise = rng.normal(0, 1, (3, 40, 7)) * np.array([0.3, 0.6, 1.5])[:, None, None]
    return (truth + noise).astype(np.float32) * 0.5, truth.astype(np.float32)


def test_ridge_weights_are_those_of_a_ridge_on_the_difference_from_the_average(joined):
    predictions, truth = joined
    found = fit(predictions, truth, kind="ridge", alpha=3.0)
    for unit in range(truth.shape[1]):
        P, y = predictions[:, :, unit].T.astype(np.float64), truth[:, unit].astype(np.float64)
        own = Ridge(alpha=3.0 * y.var()).fit(P, y - P.mean(axis=1))
        np.testing.assert_allclose(found.weights[:, unit], own.coef_ + 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(found.apply(predictions)[:, unit], own.predict(P) + P.mean(axis=1), rtol=1e-5)
    heavy = fit(predictions, truth, kind="ridge", alpha=1e9)
    np.testing.assert_allclose(heavy.weights, 1 / 3, atol=1e-6)
    np.testing.assert_allclose(heavy.apply(predictions).mean(axis=0), truth.mean(axis=0), atol=1e-5)


def test_nonnegative_weights_are_those_of_scikit_learn(joined):
    predictions, truth = joined
    flipped = np.concatenate([predictions, -predictions[:1]])
    found = fit(flipped, truth, kind="nonnegative")
    assert found.weights.min() == 0
    for unit in range(truth.shape[1]):
        own = LinearRegression(positive=True).fit(flipped[:, :, unit].T.astype(np.float64), truth[:, unit])
        np.testing.assert_allclose(found.weights[:, unit], own.coef_, atol=1e-6)


def test_average_and_first_fit_nothing(joined):
    predictions, truth = joined
    for shown in (truth, truth[::-1]):
        np.testing.assert_allclose(
            fit(predictions, shown, kind="average").apply(predictions), predictions.mean(axis=0), rtol=1e-6
        )
        np.testing.assert_array_equal(fit(predictions, shown, kind="first").apply(predictions), predictions[0])


def test_the_better_area_counts_more(joined):
    predictions, truth = joined
    weights = fit(predictions, truth, kind="ridge").weights.mean(axis=1)
    assert weights[0] > weights[1] > weights[2]


def test_a_number_that_never_varies_is_its_mean():
    predictions = np.random.default_rng(0).normal(size=(2, 6, 1))
    found = fit(predictions, np.full((6, 1), 4.0), kind="ridge")
    assert isinstance(found, Combiner)
    assert found.apply(predictions).mean() == pytest.approx(4.0)


def test_a_row_is_joined_by_weights_that_never_saw_it(joined):
    predictions, truth = joined
    folds = np.array_split(np.random.default_rng(1).permutation(len(truth)), 4)
    found = crossed(predictions, truth, folds=folds, kind="ridge")
    changed = truth.copy()
    changed[folds[2]] += 100.0
    np.testing.assert_array_equal(crossed(predictions, changed, folds=folds, kind="ridge")[folds[2]], found[folds[2]])
    with pytest.raises(DataError, match="each of 40 rows once"):
        crossed(predictions, truth, folds=folds[1:], kind="ridge")
    with pytest.raises(DataError, match="of the rows and units of the truth"):
        fit(predictions[:, :10], truth, kind="ridge")
