"""Scores of one fold, against sums written out for each candidate and unit."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics import fold_scores
from hpc_recon.numerics.fold_scores import UnitScores, deviations, ridge_predictor, score_predictions
from hpc_recon.numerics.folds import make_folds


def test_scores_of_predictions_one_by_one() -> None:
    rng = np.random.default_rng(0)
    predicted, truth = rng.normal(size=(2, 3, 7, 5)), rng.normal(size=(7, 5))
    scale, whole = np.array([1.0, 2.0, 0.5, 3.0, 0.0]), np.array([1.5, 2.0, 1.0, 2.0, 1.0])
    found = score_predictions(predicted, truth, scale=scale, whole_scale=whole)
    for j in range(4):
        raw = scale[j] * truth[:, j]
        np.testing.assert_allclose(found.total[j], (raw**2).sum() / whole[j] ** 2)
        for at in np.ndindex(2, 3):
            p = scale[j] * predicted[(*at, slice(None), j)]
            np.testing.assert_allclose(found.errors[(*at, j)], ((raw - p) ** 2).sum() / whole[j] ** 2)
            np.testing.assert_allclose(found.correlations[(*at, j)], np.corrcoef(p, raw)[0, 1])
    assert found.n_correlations.tolist() == [1, 1, 1, 1, 0]
    assert found.total[4] == 0
    assert not found.errors[..., 4].any()
    assert not found.correlations[..., 4].any()


def test_a_constant_has_no_correlation_whatever_its_value() -> None:
    """The mean of seven equal numbers is often another number; what is left would correlate with anything."""
    value = 0.1
    assert np.full(7, value).mean() != value
    truth = np.column_stack([np.full(7, value), np.arange(7.0), np.arange(7.0)])
    predicted = np.column_stack([np.arange(7.0), np.full(7, value), np.arange(7.0)])[None]
    found = score_predictions(predicted, truth, scale=np.ones(3), whole_scale=np.ones(3))
    assert found.n_correlations.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.correlations, [[0, 0, 1]], atol=1e-12)
    assert not deviations(np.full((7, 2), 0.3)).any()
    np.testing.assert_allclose(deviations(truth)[:, 1], np.arange(7) - 3)


def test_scores_add_up() -> None:
    rng = np.random.default_rng(0)
    table = UnitScores.empty(2, 3, n_units=9)
    expected = np.zeros((2, 3, 9))
    for units in (slice(0, 4), slice(4, 9), slice(0, 4)):
        shape = (6, len(range(9)[units]))
        one = score_predictions(
            rng.normal(size=(2, 3, *shape)),
            rng.normal(size=shape),
            scale=np.ones(shape[1]),
            whole_scale=np.ones(shape[1]),
        )
        table.add(one, units)
        expected[..., units] += one.errors
    np.testing.assert_array_equal(table.errors, expected)
    assert table.n_correlations.tolist() == [2] * 4 + [1] * 5


@pytest.mark.parametrize("pattern_numbers", [1, 1 << 22])
def test_predictions_of_every_candidate_against_dense_systems(monkeypatch, pattern_numbers) -> None:
    monkeypatch.setattr(fold_scores, "PATTERN_NUMBERS", pattern_numbers)
    rng = np.random.default_rng(0)
    X, stimulus = rng.normal(size=(90, 25)), np.arange(90) % 30
    fold = next(make_folds(X, stimulus, n_stimuli=30, fold_of_stimulus=np.arange(30) % 3))
    targets = rng.normal(size=(11, 20))
    targets -= targets.mean(axis=1, keepdims=True)
    found = ridge_predictor(fold, [4, 25], [0.5, 20.0])(targets)
    assert found.shape == (2, 2, 10, 11)
    train = X[stimulus % 3 != 0]
    Z = (train - train.mean(0)) / train.std(0, ddof=1)
    expanded = targets[:, np.searchsorted(fold.train_rows, stimulus[stimulus % 3 != 0])]
    for j in range(11):
        order = np.argsort(-np.abs(Z.T @ expanded[j]), kind="stable")
        for i, k in enumerate([4, 25]):
            S = order[:k]
            for a, alpha in enumerate([0.5, 20.0]):
                w = np.linalg.solve(Z[:, S].T @ Z[:, S] + alpha * np.eye(k), Z[:, S].T @ expanded[j])
                np.testing.assert_allclose(found[i, a, :, j], fold.test_patterns[:, S] @ w, atol=1e-10)
