"""Raters' choices, against definitions written out here and published numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import judgements


def test_shares_are_means_over_raters_and_trials():
    rng = np.random.default_rng(0)
    votes, index = rng.integers(2, size=(5, 40)), rng.integers(7, size=40)
    index[index == 3] = 2  # image 3 has no trial
    found = judgements.shares(votes, index, n=7)
    for image in range(7):
        cells = [votes[r, t] for r in range(5) for t in range(40) if index[t] == image]
        assert found[image] == pytest.approx(np.mean(cells), abs=1e-12) if cells else np.isnan(found[image])
    assert np.isnan(found[3])


def test_wins_are_shares_of_opponents():
    rng = np.random.default_rng(1)
    trials = np.array([(image, a, b) for image in range(6) for a, b in combinations(range(4), 2)])
    votes = rng.integers(2, size=(4, len(trials)))
    found = judgements.wins(votes, trials, n_images=6, n_variants=4)
    for variant in range(4):
        for image in range(6):
            outcomes = []
            for t, (shown, first, second) in enumerate(trials):
                if shown == image and variant in (first, second):
                    outcomes.append(np.mean(votes[:, t] == (variant == second)))
            assert len(outcomes) == 3
            assert found[variant, image] == pytest.approx(np.mean(outcomes), abs=1e-12)
    np.testing.assert_allclose(found.mean(), 0.5, atol=1e-12)  # what one wins another loses


def test_a_tie_between_raters_is_half_a_win():
    found = judgements.wins(np.array([[0], [1]]), np.array([[0, 0, 1]]), n_images=2, n_variants=2)
    np.testing.assert_array_equal(found, [[0.5, np.nan], [0.5, np.nan]])


def test_against_chance_is_the_exact_signed_rank_test():
    """All signs are enumerated: the share of sign patterns whose statistic is at least the one found."""
    differences = np.array([0.31, -0.12, 0.25, 0.44, 0.08, -0.02, 0.19])
    found = judgements.against_chance(0.5 + differences)
    ranks = stats.rankdata(np.abs(differences))
    statistic = ranks[differences > 0].sum()
    patterns = (np.arange(2**7)[:, None] >> np.arange(7)) & 1
    assert found.statistic == statistic
    assert found.p == pytest.approx((patterns @ ranks >= statistic).mean(), abs=1e-12)
    assert judgements.against_chance(0.5 + differences, two_sided=True).p == pytest.approx(2 * found.p, abs=1e-12)


def test_values_at_chance_and_nan_are_left_out():
    values = np.array([0.9, 0.8, 0.7, 0.5, np.nan, 0.5 + 1e-16])
    assert judgements.against_chance(values) == judgements.against_chance(values[:3])
    nothing = judgements.against_chance(np.array([0.5, 0.5]))
    assert nothing.n == 0
    assert np.isnan(nothing.p)


def test_kappa_is_agreement_of_pairs_beyond_chance():
    rng = np.random.default_rng(2)
    votes = (rng.random((5, 60)) < rng.random(60)).astype(int)
    pairs = [np.mean(votes[a] == votes[b]) for a, b in combinations(range(5), 2)]
    chance = votes.mean() ** 2 + (1 - votes.mean()) ** 2
    assert judgements.fleiss_kappa(votes) == pytest.approx((np.mean(pairs) - chance) / (1 - chance), abs=1e-12)


def test_kappa_at_its_ends():
    rng = np.random.default_rng(3)
    same = np.tile(rng.integers(2, size=50), (4, 1))
    assert judgements.fleiss_kappa(same) == pytest.approx(1.0)
    assert abs(judgements.fleiss_kappa(rng.integers(2, size=(6, 20000)))) < 0.01  # standard error 0.002
    assert judgements.fleiss_kappa(np.array([[0, 1], [1, 0]])) == pytest.approx(-1.0)
    assert np.isnan(judgements.fleiss_kappa(np.ones((3, 9), int)))


@pytest.mark.parametrize("shape", [(1, 5), (3, 0)])
def test_kappa_needs_two_raters_and_a_trial(shape):
    with pytest.raises(DataError, match="agreement needs two raters"):
        judgements.fleiss_kappa(np.zeros(shape, int))


def test_wins_of_scores_are_counted_pair_by_pair():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (5, 12)).astype(float)
    values[2, 3] = values[0, 5] = np.nan
    values[1:, 7] = np.nan
    found = judgements.wins_of_scores(values)
    for variant in range(5):
        for image in range(12):
            own = values[variant, image]
            others = [x for k, x in enumerate(values[:, image]) if k != variant and not np.isnan(x)]
            if np.isnan(own) or not others:
                assert np.isnan(found[variant, image])
            else:
                oracle = sum(1.0 if own > x else 0.5 if own == x else 0.0 for x in others) / len(others)
                assert found[variant, image] == pytest.approx(oracle)


def test_eight_combinations_of_fifty_images_share_half_of_all_pairs():
    """As published: 28 pairs x 50 images; one's win is the other's loss."""
    values = np.random.default_rng(1).random((8, 50))
    assert judgements.wins_of_scores(values).mean() == pytest.approx(0.5)
