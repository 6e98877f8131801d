"""Scores against independent oracles: np.corrcoef, scipy's cdist, counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hpc_recon.numerics import scores


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_profile_correlation_is_corrcoef_of_each_unit(rng):
    decoded, true = rng.normal(size=(9, 13)).astype(np.float32), rng.normal(3, 2, size=(9, 13)).astype(np.float32)
    oracle = [np.corrcoef(decoded[:, j], true[:, j])[0, 1] for j in range(13)]
    # both sides are float64 arithmetic on the same float32 input
    np.testing.assert_allclose(scores.profile_correlation(decoded, true), oracle, atol=1e-12)


def test_profile_of_constant_units_is_nan_and_only_there(rng):
    decoded, true = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    decoded[:, 1] = 0.1  # not exact in binary: its mean differs from it by rounding
    true[:, 3] = 1e6 / 3
    assert np.isnan(scores.profile_correlation(decoded, true)).tolist() == [False, True, False, True]


def test_profile_of_one_item_is_undefined():
    assert np.isnan(scores.profile_correlation(np.ones((1, 3)), np.ones((1, 3)))).all()


def test_patterns_correlate_as_corrcoef_after_training_z_scores(rng):
    decoded, true = rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    mean, scale = rng.normal(size=40), rng.uniform(0.5, 2, size=40)
    scale[[3, 17]] = 0  # constant units in training are dropped
    keep = np.delete(np.arange(40), [3, 17])
    z = [((x - mean) / np.where(scale > 0, scale, 1))[:, keep] for x in (decoded, true)]
    oracle = [np.corrcoef(a, b)[0, 1] for a, b in zip(*z, strict=True)]
    found = scores.products(*(scores.standardise(x, mean=mean, scale=scale) for x in (decoded, true)))
    np.testing.assert_allclose(np.diagonal(found.correlation()), oracle, atol=1e-12)


def test_products_of_blocks_add_up_to_cdist(rng):
    A, B = rng.normal(5, 1, size=(6, 101)), rng.normal(-3, 2, size=(8, 101))
    total = scores.products(A[:, :0], B[:, :0])
    for start in range(0, 101, 17):
        total = total + scores.products(A[:, start : start + 17], B[:, start : start + 17])
    assert total.n_units == 101
    np.testing.assert_allclose(total.correlation(), 1 - cdist(A, B, "correlation"), atol=1e-12)


def test_products_survive_a_large_offset(rng):
    A, B = rng.normal(size=(3, 4000)), rng.normal(size=(3, 4000))
    oracle = 1 - cdist(A, B, "correlation")
    blocks = [scores.products(A[:, s : s + 500] + 1e6, B[:, s : s + 500] - 1e6) for s in range(0, 4000, 500)]
    # 1e6 leaves 10 digits of each value; sums of raw squares would leave 4
    np.testing.assert_allclose(sum(blocks[1:], blocks[0]).correlation(), oracle, atol=1e-8)


def test_products_are_not_changed_by_the_order_of_blocks(rng):
    A, B = rng.normal(size=(3, 60)), rng.normal(size=(4, 60))
    blocks = [scores.products(A[:, s : s + 20], B[:, s : s + 20]) for s in (0, 20, 40)]
    forward, backward = blocks[0] + blocks[1] + blocks[2], blocks[2] + (blocks[1] + blocks[0])
    np.testing.assert_allclose(forward.correlation(), backward.correlation(), atol=1e-13)


@pytest.mark.parametrize("split", [1, 30])
def test_a_constant_row_has_no_correlation_however_it_is_cut(rng, split):
    A, B = rng.normal(size=(2, 60)), rng.normal(size=(3, 60))
    A[1] = 0.1
    both = scores.products(A[:, :split], B[:, :split]) + scores.products(A[:, split:], B[:, split:])
    assert np.isnan(both.correlation()).tolist() == [[False] * 3, [True] * 3]


def test_identification_counts_strictly_smaller_similarities(rng):
    decoded, true = rng.normal(size=(12, 30)), rng.normal(size=(12, 30))
    decoded += 0.3 * true
    similarity = 1 - cdist(decoded, true, "correlation")
    oracle = [sum(similarity[i, j] < similarity[i, i] for j in range(12) if j != i) / 11 for i in range(12)]
    result = scores.pairwise_identification(similarity)
    np.testing.assert_allclose(result.accuracy, oracle, atol=1e-15)
    assert not result.n_undefined.any()


def test_ties_are_losses():
    assert scores.pairwise_identification(np.ones((4, 4))).accuracy.tolist() == [0, 0, 0, 0]


def test_undefined_comparisons_count_one_half_and_are_counted():
    similarity = np.array([[0.9, 0.1, np.nan], [np.nan, np.nan, np.nan], [0.5, 0.2, 0.1]])
    result = scores.pairwise_identification(similarity)
    assert result.accuracy.tolist() == [0.75, 0.5, 0.0]
    assert result.n_undefined.tolist() == [1, 2, 0]


def test_single_trials_are_compared_with_distinct_stimuli():
    similarity = np.array([[0.9, 0.1, 0.2], [0.3, 0.4, 0.1], [0.5, 0.1, 0.0]])
    result = scores.pairwise_identification(similarity, np.array([0, 0, 2]))
    assert result.accuracy.tolist() == [1.0, 0.5, 0.0]


def test_identification_needs_another_candidate_and_a_valid_target():
    assert np.isnan(scores.pairwise_identification(np.ones((1, 1))).accuracy).all()
    with pytest.raises(ValueError, match="square"):
        scores.pairwise_identification(np.ones((2, 3)))
    with pytest.raises(ValueError, match="from 0 to 2"):
        scores.pairwise_identification(np.ones((2, 3)), np.array([0, 3]))


def test_random_features_are_identified_at_chance(rng):
    decoded, true = rng.normal(size=(200, 50)), rng.normal(size=(200, 50))
    accuracy = scores.pairwise_identification(scores.products(decoded, true).correlation()).accuracy
    # the accuracy of one item is about uniform on [0, 1]: standard error of the mean .29 / sqrt(200) = .02
    assert abs(accuracy.mean() - 0.5) < 0.08


def test_pixel_correlation_is_the_diagonal_of_pixel_similarity(rng):
    images, stimuli = rng.random((4, 8, 9, 3)), rng.random((4, 8, 9, 3))
    oracle = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, stimuli, strict=True)]
    np.testing.assert_allclose(scores.pixel_correlation(images, stimuli), oracle, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(scores.pixel_similarity(images, stimuli)), oracle, atol=1e-12)


def test_a_plain_image_has_no_pixel_correlation(rng):
    images = rng.random((2, 8, 8, 3))
    images[1] = 0.3
    assert np.isnan(scores.pixel_correlation(images, rng.random((2, 8, 8, 3)))).tolist() == [False, True]


def _ssim_by_hand(a, b):
    """Wang et al. 2004 for one channel, with an 11 x 11 Gaussian window, over windows that lie inside the image."""
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    values = []
    for y in range(5, a.shape[0] - 5):
        for x in range(5, a.shape[1] - 5):
            p, q = (im[y - 5 : y + 6, x - 5 : x + 6] for im in (a, b))
            mp, mq = (kernel * p).sum(), (kernel * q).sum()
            vp, vq = (kernel * p * p).sum() - mp**2, (kernel * q * q).sum() - mq**2
            cov = (kernel * p * q).sum() - mp * mq
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


def test_ssim_is_the_formula_of_its_paper(rng):
    image = rng.random((20, 24, 3))
    other = np.clip(image + rng.normal(0, 0.2, image.shape), 0, 1)
    oracle = np.mean([_ssim_by_hand(image[..., c], other[..., c]) for c in range(3)])
    assert scores.ssim(image[None], other[None])[0] == pytest.approx(oracle, abs=1e-10)
    assert scores.ssim(image[None], image[None])[0] == pytest.approx(1)


def test_ssim_of_images_smaller_than_its_window_is_undefined():
    assert np.isnan(scores.ssim(np.ones((2, 10, 30, 3)), np.ones((2, 10, 30, 3)))).all()


def test_bootstrap_interval_has_the_width_of_the_standard_error(rng):
    values = rng.normal(0.6, 0.1, size=400)
    found = scores.bootstrap_interval(values, confidence=0.95, resamples=4000, seed=1)
    error = values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    # 4,000 resamples know a 2.5 % quantile to about 4 % of the half width
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_bootstrap_interval_depends_on_its_seed_only(rng):
    values = rng.random(30)
    first, again, other = (scores.bootstrap_interval(values, confidence=0.9, resamples=300, seed=s) for s in (3, 3, 4))
    assert first == again != other


def test_bootstrap_interval_leaves_out_and_counts_nan():
    nothing = scores.bootstrap_interval(np.array([np.nan]), confidence=0.95, resamples=100, seed=0)
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all()
    assert (nothing.n, nothing.n_missing) == (0, 1)
    single = scores.bootstrap_interval(np.array([0.4, np.nan]), confidence=0.95, resamples=100, seed=0)
    assert (single.mean, single.n, single.n_missing) == (0.4, 1, 1)
    assert np.isnan([single.low, single.high]).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: scores.profile_correlation(a, b),
        lambda a, b: scores.pixel_correlation(a, b),
        lambda a, b: scores.products(a, b),
        lambda a, b: scores.standardise(a, mean=b[0], scale=b[0]),
    ],
)
def test_shapes_that_do_not_match_are_refused_with_both_shapes(call):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(\d"):
        call(np.ones((2, 3)), np.ones((2, 4)))
