"""Mean correlations of single trials against loops over all pairs of trials."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import conversion_scores as scores


def trials(n: int, *, seed: int, strength: float = 1.0) -> np.ndarray:
    """Return (n, 12 points, 5 series) with a common signal."""
    signal = np.random.default_rng(9).normal(size=(12, 5))
    return strength * signal + np.random.default_rng(seed).normal(size=(n, 12, 5))


def test_mean_correlation_is_the_mean_over_all_pairs() -> None:
    first, second = trials(4, seed=0), trials(3, seed=1)
    for v in range(5):
        loop = [np.corrcoef(a[:, v], b[:, v])[0, 1] for a in first for b in second]
        assert scores.mean_correlation(first, second)[v] == pytest.approx(np.mean(loop), abs=1e-12)


def test_ceiling_is_the_mean_over_pairs_of_different_trials_and_not_below_0() -> None:
    own = trials(4, seed=0)
    found = scores.noise_ceiling(own)
    for v in range(5):
        loop = [np.corrcoef(a[:, v], b[:, v])[0, 1] for a, b in itertools.combinations(own, 2)]
        assert found[v] == pytest.approx(np.mean(loop), abs=1e-12)
    opposite = np.stack([own[0], -own[0]])
    np.testing.assert_array_equal(scores.noise_ceiling(opposite), np.zeros(5))


def test_threshold_is_a_percentile_of_permuted_trials() -> None:
    own = trials(3, seed=0)
    found = scores.ceiling_threshold(own, permutations=40, seed=2)
    rng = np.random.default_rng(2)
    null = []
    for _ in range(40):
        order = rng.permuted(np.tile(np.arange(12), (3, 1)), axis=1)
        mixed = [own[t][order[t]] for t in range(3)]
        pairs = itertools.combinations(mixed, 2)
        null.append(np.mean([[np.corrcoef(a[:, v], b[:, v])[0, 1] for v in range(5)] for a, b in pairs], axis=0))
    np.testing.assert_allclose(found, np.percentile(null, 99, axis=0), atol=1e-6)


def test_noise_rarely_passes_the_threshold_and_signal_does() -> None:
    noise = np.random.default_rng(5).normal(size=(4, 12, 400))
    limit = scores.ceiling_threshold(noise, permutations=300, seed=0)
    share = (scores.noise_ceiling(noise) > limit).mean()
    assert share < 0.04  # 1 % is expected; a binomial sample of 400 exceeds 4 % with a probability below 1e-5
    strong = trials(4, seed=0, strength=3.0)
    assert (scores.noise_ceiling(strong) > scores.ceiling_threshold(strong, permutations=300, seed=0)).all()


def test_constant_series_have_no_correlation() -> None:
    own = trials(3, seed=0)
    own[1, :, 2] = 4.0
    assert np.isnan(scores.mean_correlation(own, trials(2, seed=1))).tolist() == [False, False, True, False, False]
    assert np.isnan(scores.noise_ceiling(own)).tolist() == [False, False, True, False, False]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match=r"match them by label"):
        scores.mean_correlation(trials(2, seed=0), trials(2, seed=0)[:, :5])
    with pytest.raises(DataError, match=r"repeats: keep"):
        scores.noise_ceiling(trials(1, seed=0))
