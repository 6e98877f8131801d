"""Scores of latents against arithmetic by hand, scipy and known distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from skimage.metrics import structural_similarity

from hpc_recon.numerics import latent_scores

RNG = np.random.default_rng(11)


def test_similarity_by_hand_and_of_zeros_where_latents_are_standard_normal():
    assert latent_scores.similarity(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]))[0] == pytest.approx(1 / 3)
    true = RNG.normal(size=(500, 512))
    zeros = latent_scores.similarity(np.zeros_like(true), true).mean()
    unrelated = latent_scores.similarity(RNG.normal(size=true.shape), true).mean()
    assert zeros == pytest.approx(0.50, abs=0.002)  # 1 / (1 + 1)
    assert unrelated == pytest.approx(1 / 3, abs=0.002)  # the error of two unrelated ones is 2


def test_similarity_rewards_shrinkage_and_the_cosine_does_not():
    true = RNG.normal(size=(50, 64))
    decoded = true + 2 * RNG.normal(size=true.shape)
    assert latent_scores.similarity(0.2 * decoded, true).mean() > latent_scores.similarity(decoded, true).mean() + 0.2
    np.testing.assert_allclose(latent_scores.cosine(0.2 * decoded, true), latent_scores.cosine(decoded, true))


def test_cosines_by_hand():
    a, b = np.array([[1.0, 0], [0, 0]]), np.array([[1.0, 1], [0, 2]])
    np.testing.assert_allclose(latent_scores.cosines(a, b), [[0.5**0.5, 0], [0, 0]])
    np.testing.assert_allclose(latent_scores.cosine(a, b), [0.5**0.5, 0])


def test_correlation_by_number_is_scipys():
    a, b = RNG.normal(size=(9, 4)), RNG.normal(size=(9, 4))
    b[:, 3] = 2
    found = latent_scores.by_number(a, b)
    np.testing.assert_allclose(found[:3], [scipy.stats.pearsonr(a[:, j], b[:, j])[0] for j in range(3)])
    assert np.isnan(found[3])


def test_the_line_of_an_attribute_is_scipys():
    true = RNG.normal(size=30)
    decoded = 0.4 * true + 1 + 0.1 * RNG.normal(size=30)
    found, known = latent_scores.line(decoded, true), scipy.stats.linregress(true, decoded)
    assert (found.r, found.slope, found.intercept) == pytest.approx((known.rvalue, known.slope, known.intercept))
    assert np.isnan(latent_scores.line(decoded, np.ones(30)).r)


def test_shuffled_pairs_are_beaten_by_right_ones_alone():
    def p_of(decoded, true, n):
        return latent_scores.permutation_p(latent_scores.cosines(decoded, true), n=n, rng=RNG)

    true = RNG.normal(size=(12, 30))
    assert p_of(true + RNG.normal(size=true.shape), true, 99) == pytest.approx(0.01)
    p = [p_of(RNG.normal(size=(8, 5)), true[:8, :5], 19) for _ in range(200)]
    assert np.mean(np.array(p) <= 0.2) == pytest.approx(0.2, abs=0.09)  # three standard errors of 200 uniform values


def test_pairs_hold_the_similarity_of_each_item_on_the_diagonal():
    decoded, true = RNG.normal(size=(2, 7, 20))
    pairs = latent_scores.similarities(decoded, true)
    np.testing.assert_allclose(np.diag(pairs), latent_scores.similarity(decoded, true), rtol=1e-12)
    for i in range(7):
        repeated = np.repeat(decoded[i : i + 1], 7, axis=0)
        np.testing.assert_allclose(pairs[i], latent_scores.similarity(repeated, true), rtol=1e-12)
    np.testing.assert_allclose(np.diag(latent_scores.similarities(true, true)), 1.0, rtol=1e-12)


def test_ssim_of_faces_is_skimages_with_its_own_defaults():
    a, b = RNG.random((2, 12, 12, 3)), RNG.random((2, 12, 12, 3))
    whole = [np.rint(255 * x).astype(np.uint8) for x in (a, b)]
    known = [structural_similarity(whole[0][i], whole[1][i], channel_axis=2) for i in range(2)]
    np.testing.assert_allclose(latent_scores.ssim_uniform(a, b), known)
    assert latent_scores.ssim_uniform(a, a) == pytest.approx(1)


def test_shuffled_pairs_of_a_table_are_those_of_the_latents():
    true = RNG.normal(size=(9, 20))
    decoded = true + 12 * RNG.normal(size=true.shape)
    own = latent_scores.permutation_p(latent_scores.cosines(decoded, true), n=300, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    known = [latent_scores.cosine(decoded, true[rng.permutation(9)]).mean() for _ in range(300)]
    assert 1 / 301 < own == (np.sum(known >= latent_scores.cosine(decoded, true).mean()) + 1) / 301 < 1


def test_p_of_a_null_is_uniform_where_there_is_nothing_and_smallest_where_all_is_better():
    null = RNG.normal(size=(7, 400))
    assert latent_scores.null_p(null.max(axis=1) + 1, null, n=99, rng=RNG) == pytest.approx(0.01)
    p = [latent_scores.null_p(RNG.normal(size=7), null, n=99, rng=RNG) for _ in range(400)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
