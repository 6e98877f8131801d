"""What images are evidence of: against simulated decoders that know a category, an exemplar, or nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpc_recon.numerics import hypotheses, scores, validity
from hpc_recon.numerics.validity import Identified, Verdict


def images(rng, *, k: int, per_class: int, knows: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Similarity of decoded items with stimuli of `k` classes, by what the decoder knows."""
    centre = rng.normal(size=(k, 60))
    group = np.repeat(np.arange(k), per_class)
    true = 3 * centre[group] + rng.normal(size=(k * per_class, 60))
    made = {"class": 3 * centre[group], "image": true, "nothing": np.zeros_like(true)}[knows]
    made = made + rng.normal(size=made.shape) * 0.5
    return np.corrcoef(made, true)[: len(made), len(made) :], group, [f"c{g}" for g in group]


@pytest.mark.parametrize("k", [2, 5, 10, 20])
def test_expected_from_clusters_is_what_a_decoder_of_clusters_reaches(k):
    """Oracle: a decoder whose output is the class centre, over 400 images: se of .5 within = .289 / sqrt(400)."""
    similarity, target, _ = images(np.random.default_rng(0), k=k, per_class=400 // k, knows="class")
    target = np.arange(len(target))
    measured = scores.pairwise_identification(similarity, target).accuracy.mean()
    share = (400 // k - 1) / 399  # of the others that are of one's own class; 1 / k for many images
    assert measured == pytest.approx(0.5 * share + (1 - share), abs=3 * 0.289 / 20 * share + 0.003)
    assert validity.expected_from_clusters(k) == pytest.approx(0.5 / k + 1 - 1 / k)
    assert abs(validity.expected_from_clusters(k) - measured) < 0.02


def test_expected_from_clusters_with_doubt_between_them():
    assert validity.expected_from_clusters(4, between=0.8, within=0.6) == pytest.approx(0.25 * 0.6 + 0.75 * 0.8)
    with pytest.raises(ValueError, match="k = 0"):
        validity.expected_from_clusters(0)


def test_one_group_is_plain_pairwise_identification():
    rng = np.random.default_rng(1)
    similarity, target = rng.normal(size=(20, 8)), rng.integers(8, size=20)
    found = validity.identification_within(similarity, target, ["all"] * 8, seed=0)
    assert found.mean == pytest.approx(scores.pairwise_identification(similarity, target).accuracy.mean())
    assert (found.n_items, found.n_groups) == (20, 1)


def test_relabelling_agrees_with_every_relabelling():
    """Oracle: all (3! 4!) = 144 relabellings within two groups, each scored by hand."""
    rng = np.random.default_rng(2)
    groups, target = ["a"] * 3 + ["b"] * 4, np.arange(7)
    similarity = rng.normal(size=(7, 7)) + 0.6 * np.eye(7)

    def mean(label):
        won = []
        for i in range(7):
            rows = range(3) if i < 3 else range(3, 7)
            won.append(np.mean([similarity[i, j] < similarity[i, label[i]] for j in rows if j != label[i]]))
        return np.mean(won)

    everything = [
        mean([*first, *second])
        for first in itertools.permutations(range(3))
        for second in itertools.permutations(range(3, 7))
    ]
    found = validity.identification_within(similarity, target, groups, seed=0)
    assert found.mean == pytest.approx(mean(list(range(7))))
    exact = np.mean(np.array(everything) >= found.mean - 1e-12)
    # Monte Carlo error of 10,000 draws
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / validity.DRAWS) + 2e-4)


def test_false_alarms_within_categories_are_as_rare_as_they_say():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(150):
        similarity, group, names = images(rng, k=4, per_class=6, knows="class")
        p.append(validity.identification_within(similarity, np.arange(len(group)), names, seed=0).p)
    # binomial standard error sqrt(.05 .95 / 150) = .018
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 3 * 0.018


def test_too_few_stimuli_cannot_be_tested():
    found = validity.identification_within(np.eye(4), np.arange(4), ["a", "a", "b", "b"], seed=0)
    assert (found.mean, found.is_tested) == (1.0, False)
    alone = validity.identification_within(np.eye(3), np.arange(3), ["a", "b", ""], seed=0)
    assert (alone.n_items, alone.n_groups, alone.is_tested) == (0, 0, False)


def test_an_undefined_similarity_loses():
    similarity = np.eye(5)
    similarity[0, 0] = np.nan
    found = validity.identification_within(similarity, np.arange(5), ["x"] * 5, seed=0)
    assert found.mean == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("knows", "expected"),
    [("nothing", "not above chance"), ("class", "category only"), ("image", "reconstruction")],
)
def test_decoders_get_the_verdict_they_deserve(knows, expected):
    similarity, group, names = images(np.random.default_rng(4), k=5, per_class=8, knows=knows)
    target = np.arange(len(group))
    overall = validity.identification_within(similarity, target, ["all"] * len(group), seed=0)
    within = validity.identification_within(similarity, target, names, seed=1)
    assert validity.verdict(overall, within, above_class=True, above_exemplar=True).name == expected


SHOWN = Identified(40, 1, 0.9, 0.001)
LOST = Identified(40, 5, 0.5, 0.4)
UNTESTED = Identified(0, 0, float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("overall", "within", "above_class", "above_exemplar", "name", "untested"),
    [
        (LOST, SHOWN, True, True, "not above chance", ()),
        (UNTESTED, SHOWN, True, True, "not above chance", ()),
        (SHOWN, LOST, True, True, "category only", ()),
        (SHOWN, UNTESTED, False, True, "category only", ()),
        (SHOWN, UNTESTED, True, True, "reconstruction", ()),
        (SHOWN, UNTESTED, None, True, "reconstruction", ("category",)),
        (SHOWN, SHOWN, False, False, "retrieval", ()),
        (SHOWN, SHOWN, None, None, "reconstruction", ("retrieval",)),
    ],
)
def test_each_criterion_decides_in_its_turn(overall, within, above_class, above_exemplar, name, untested):
    found = validity.verdict(overall, within, above_class=above_class, above_exemplar=above_exemplar)
    assert (found.name, found.untested) == (name, untested)


NOTHING, KIND, LOOKUP, IMAGE = (Verdict(name, ()) for name in validity.VERDICTS)
NO_LOOKUP, NO_KIND = Verdict("reconstruction", ("retrieval",)), Verdict("reconstruction", ("category",))


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([KIND], "category only"),
        ([IMAGE, IMAGE, KIND, KIND], "category only"),
        ([IMAGE, IMAGE, KIND], "reconstruction"),
        ([NOTHING, KIND, LOOKUP, IMAGE], "category only"),
        # Sets that cannot answer whether a lookup explains them neither help nor harm.
        ([LOOKUP, IMAGE, NO_LOOKUP, NO_LOOKUP], "retrieval"),
        ([LOOKUP, IMAGE, IMAGE, NO_LOOKUP], "reconstruction"),
        ([KIND, NO_LOOKUP, NO_LOOKUP], "retrieval"),
        ([NO_LOOKUP, NO_LOOKUP], "reconstruction"),
        ([NO_KIND, KIND], "category only"),
        ([NO_KIND, Verdict("retrieval", ("category",))], "retrieval"),
        ([NOTHING, NO_KIND], "not above chance"),
    ],
)
def test_the_verdict_of_a_study_is_one_that_most_of_those_reach_that_can_tell(sets, expected):
    assert validity.overall(sets) == expected


@pytest.mark.parametrize("n_scores", [1, 2, 3])
def test_fewest_images_are_those_with_which_a_test_can_succeed(n_scores):
    """Oracle: the most extreme differences there are, all above zero, tested and corrected as images are."""
    n = validity.fewest_images(n_scores)

    def best(n):
        p = [hypotheses.signed_rank(np.arange(1.0, n + 1)).p_one, *[1.0] * (n_scores - 1)]
        return hypotheses.holm(p)[0]

    assert best(n) < validity.ALPHA <= best(n - 1)
