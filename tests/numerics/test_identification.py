"""Identification by stimulus, rank and category, against loops, and on ties and undefined similarities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from hpc_recon.numerics import identification, scores


def _case(n=9, m=6, units=30, seed=0):
    rng = np.random.default_rng(seed)
    true, target = rng.normal(size=(m, units)), rng.permutation(np.arange(n) % m)
    decoded = true[target] + 2.5 * rng.normal(size=(n, units))
    return 1 - cdist(decoded, true, "correlation"), target


def test_the_anchor_is_the_stimulus():
    similarity, target = _case()
    found, count = identification.stimulus_anchored(similarity, target)
    for i, t in enumerate(target):
        rivals = [k for k in range(len(target)) if target[k] != t]
        assert count[i] == len(rivals)
        assert found.accuracy[i] == np.mean([similarity[k, t] < similarity[i, t] for k in rivals])
    assert 0 < found.accuracy.mean() < 1
    assert not found.n_undefined.any()
    # with one item a stimulus it is the other convention of the transposed table
    square = similarity[:6][:, :6]
    one, _ = identification.stimulus_anchored(square, np.arange(6))
    assert one.accuracy.tolist() == scores.pairwise_identification(square.T).accuracy.tolist()
    assert one.accuracy.tolist() != scores.pairwise_identification(square).accuracy.tolist()


def test_an_item_that_resembles_everything_tells_the_anchors_apart():
    """Item 2 has the largest similarity with every stimulus: it harms the others at their stimulus only."""
    similarity = np.array([[0.5, 0.1, 0.1], [0.1, 0.5, 0.1], [0.8, 0.8, 0.9]])
    anchored, _ = identification.stimulus_anchored(similarity, np.arange(3))
    assert anchored.accuracy.tolist() == [0.5, 0.5, 1.0]
    assert scores.pairwise_identification(similarity).accuracy.tolist() == [1.0, 1.0, 1.0]


def test_ties_lose_and_undefined_comparisons_count_one_half():
    similarity = np.array([[0.5, 0.5, 0.1], [0.5, 0.7, np.nan], [0.1, 0.2, 0.3]])
    found, _ = identification.stimulus_anchored(similarity, np.arange(3))
    assert found.accuracy.tolist() == [0.5, 1.0, 0.75]
    assert found.n_undefined.tolist() == [0, 0, 1]
    flat = np.array([[np.nan] * 3, [0.5, 0.7, 0.1], [0.1, 0.2, 0.3]])
    found, _ = identification.stimulus_anchored(flat, np.arange(3))
    assert found.accuracy.tolist() == [0.5, 0.75, 0.75]
    assert found.n_undefined.tolist() == [2, 1, 1]


def test_one_stimulus_has_no_rival():
    found, count = identification.stimulus_anchored(np.ones((2, 1)), np.zeros(2, int))
    assert np.isnan(found.accuracy).all()
    assert count.tolist() == [0, 0]
    with pytest.raises(ValueError, match="target must be"):
        identification.stimulus_anchored(np.ones((2, 1)), np.array([0, 1]))


def test_ranks_are_those_of_scipy():
    similarity, target = _case(n=12, m=40, seed=1)
    own = similarity[np.arange(12), target]
    others = np.ones((12, 40), dtype=bool)
    others[np.arange(12), target] = False
    found = identification.n_not_below(similarity, own, others)
    ranks = np.array([rankdata(-row, method="max")[t] for row, t in zip(similarity, target, strict=True)])
    np.testing.assert_array_equal(found, ranks - 1)
    for k in (1, 5):
        np.testing.assert_array_equal(identification.top(found, k), ranks <= k)
    assert 0 < identification.top(found, 5).mean() < 1


def test_an_undefined_own_similarity_ranks_in_the_middle():
    found = identification.n_not_below(np.full((1, 5), 0.3), np.array([np.nan]), np.ones((1, 5), dtype=bool))
    assert found.tolist() == [2.5]
    assert identification.top(found, 1).tolist() == [0.0]
    assert identification.top(found, 3).tolist() == [0.5]


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_n_way_is_the_mean_over_all_sets_of_rivals(n):
    similarity = np.random.default_rng(5).integers(0, 6, (7, 6)).astype(float)  # with ties, which lose
    target = np.arange(7) % 6
    own, others = similarity[np.arange(7), target], np.arange(6) != target[:, None]
    known = [
        np.mean([all(row[list(rivals)] < row[t]) for rivals in itertools.combinations(np.flatnonzero(o), n - 1)])
        for row, t, o in zip(similarity, target, others, strict=True)
    ]
    found = identification.n_way(identification.n_not_below(similarity, own, others), 5, n)
    np.testing.assert_allclose(found, known, atol=1e-12)
    if n == 2:
        np.testing.assert_allclose(found, scores.pairwise_identification(similarity, target).accuracy)


def test_n_way_of_undefined_comparisons_is_interpolated_and_of_too_few_candidates_refused():
    assert identification.n_way(np.array([0.5]), 4, 3) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="5-way identification needs 4 other candidates, got 3"):
        identification.n_way(np.array([0.0]), 3, 5)


def test_knowing_the_category_alone():
    """Oracle: a similarity of 1 within the category, and random comparisons there."""
    category, target = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 3, 5, 4])
    rng = np.random.default_rng(0)
    total, n = np.zeros(4), 4000
    for _ in range(n):
        noise = 1e-3 * rng.random((4, 6))
        similarity = (category[target][:, None] == category[None, :]) + noise
        total += scores.pairwise_identification(similarity, target).accuracy
    # standard error of a mean of 4,000 values in steps of 1/5: below .003
    np.testing.assert_allclose(identification.by_category_alone(category, target), total / n, atol=0.01)
    # ten equal categories, large: the figure of the literature, 0.95
    large = identification.by_category_alone(np.repeat(np.arange(10), 1000), np.array([0]))
    assert large[0] == pytest.approx(0.95, abs=1e-3)
    assert np.isnan(identification.by_category_alone(np.array([0]), np.array([0]))).all()


def test_chosen_rivals_are_compared_in_a_loop():
    similarity, target = _case(n=8, m=6, seed=4)
    similarity[3, 2] = np.nan
    rng = np.random.default_rng(0)
    rivals = rng.random((6, 6)) < 0.5
    np.fill_diagonal(rivals, val=False)
    rivals[4] = False
    found, count = identification.among(similarity, target, rivals)
    for i, t in enumerate(target):
        points = [
            0.5 if np.isnan(similarity[i, [j, t]]).any() else float(similarity[i, j] < similarity[i, t])
            for j in range(6)
            if rivals[t, j]
        ]
        assert count[i] == len(points)
        assert found.accuracy[i] == pytest.approx(np.mean(points)) if points else np.isnan(found.accuracy[i])
    everything, _ = identification.among(similarity, target, ~np.eye(6, dtype=bool))
    assert everything.accuracy.tolist() == scores.pairwise_identification(similarity, target).accuracy.tolist()
    with pytest.raises(ValueError, match="diagonal of False"):
        identification.among(similarity, target, np.ones((6, 6), dtype=bool))
