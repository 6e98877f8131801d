"""Trials that raters see: counts of the published designs, balance, seeds."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import trial_design as design

SEEDS = st.integers(0, 2**32 - 1)


def _rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("n", "expected"), [(50, 2450), (40, 1560)])
def test_all_pairs_of_the_published_experiments(n, expected):
    trials = design.candidate_trials(np.zeros(n, int), rng=_rng())
    assert len(trials) == expected
    assert set(map(tuple, trials.tolist())) == set(permutations(range(n), 2))


def test_all_pairs_of_layers_of_the_published_experiment():
    trials = design.variant_trials(50, 8, rng=_rng())
    assert len(trials) == 1400
    expected = {(image, a, b) for image in range(50) for a, b in combinations(range(8), 2)}
    assert set(map(tuple, trials.tolist())) == expected


def test_shapes_and_colours_apart():
    """Eight colours of five shapes: four other shapes of one colour, seven other colours of one shape."""
    shape, colour = np.divmod(np.arange(40), 8)
    by_shape = design.candidate_trials(colour, rng=_rng())
    by_colour = design.candidate_trials(shape, rng=_rng())
    assert (len(by_shape), len(by_colour)) == (160, 280)
    assert (colour[by_shape[:, 0]] == colour[by_shape[:, 1]]).all()
    assert (shape[by_shape[:, 0]] != shape[by_shape[:, 1]]).all()
    assert (shape[by_colour[:, 0]] == shape[by_colour[:, 1]]).all()


@settings(max_examples=60)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.data(), SEEDS)
def test_a_part_is_balanced(sizes, data, seed):
    groups = _rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    per_image = data.draw(st.integers(1, min(sizes) - 1))
    trials = design.candidate_trials(groups, per_image=per_image, rng=_rng(seed))
    again = design.candidate_trials(groups, per_image=per_image, rng=_rng(seed))
    np.testing.assert_array_equal(trials, again)
    assert len(set(map(tuple, trials.tolist()))) == len(trials) == per_image * len(groups)
    assert (trials[:, 0] != trials[:, 1]).all()
    assert (groups[trials[:, 0]] == groups[trials[:, 1]]).all()
    for column in (0, 1):  # as target, as distractor
        assert (np.bincount(trials[:, column], minlength=len(groups)) == per_image).all()


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(2, 9), st.data(), SEEDS)
def test_a_part_of_comparisons_is_balanced(n_images, n_variants, data, seed):
    n_pairs = n_variants * (n_variants - 1) // 2
    per_image = data.draw(st.integers(1, n_pairs))
    trials = design.variant_trials(n_images, n_variants, per_image=per_image, rng=_rng(seed))
    assert len(set(map(tuple, trials.tolist()))) == len(trials) == per_image * n_images
    assert (trials[:, 1] < trials[:, 2]).all()
    assert (np.bincount(trials[:, 0], minlength=n_images) == per_image).all()
    pairs = Counter(map(tuple, trials[:, 1:].tolist()))
    counts = [pairs[pair] for pair in combinations(range(n_variants), 2)]
    assert max(counts) - min(counts) <= 1
    variants = np.bincount(trials[:, 1:].ravel(), minlength=n_variants)
    assert np.ptp(variants) <= 2


@pytest.mark.parametrize("n", range(2, 12))
def test_a_round_robin_holds_each_pair_once_in_rounds(n):
    pairs = design.round_robin(n)
    assert sorted(map(tuple, pairs.tolist())) == list(combinations(range(n), 2))
    for start in range(0, len(pairs), n // 2):
        met = pairs[start : start + n // 2].ravel()
        assert len(set(met.tolist())) == len(met)


def test_seeds_draw_other_parts():
    one, other = (design.candidate_trials(np.zeros(20, int), per_image=3, rng=_rng(seed)) for seed in (1, 2))
    assert set(map(tuple, one.tolist())) != set(map(tuple, other.tolist()))


@given(st.integers(0, 50), SEEDS)
def test_sides_are_half_and_half(n, seed):
    drawn = design.sides(n, rng=_rng(seed))
    assert set(drawn.tolist()) <= {0, 1}
    assert abs(2 * int(drawn.sum()) - n) <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: design.candidate_trials(np.array([0, 0, 1]), rng=_rng()), "smallest of 2 groups of images has 1"),
        (lambda: design.candidate_trials(np.array([], int), rng=_rng()), "smallest of 0 groups"),
        (lambda: design.candidate_trials(np.zeros(3, int), per_image=3, rng=_rng()), "here 2, got 3"),
        (lambda: design.variant_trials(4, 3, per_image=4, rng=_rng()), "here 3, got 4"),
        (lambda: design.variant_trials(4, 3, per_image=0, rng=_rng()), "here 3, got 0"),
        (lambda: design.variant_trials(4, 1, rng=_rng()), "4 images and 1 variants"),
    ],
)
def test_impossible_designs_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
