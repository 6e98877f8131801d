"""Which samples belong together."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.conversion.pairing import Presented, pair, together
from hpc_recon.core.errors import DataError

CATEGORIES = {"a": "cat", "b": "cat", "c": "dog", "d": "dog"}


def shown(subject, text, **columns):
    return Presented(subject, tuple(text), columns)


def test_the_kth_repeat_is_paired_with_the_kth_in_order_of_time():
    # Of S1 the second sample of a was measured first: its session comes before.
    source = shown("S1", "abab", session=[2, 1, 1, 1], run=[1, 1, 1, 2])
    target = shown("S2", "aabb", session=[1, 2, 1, 1], run=[1, 1, 2, 1])
    found = pair(source, target, categories=CATEGORIES)
    assert found.source.tolist() == [2, 1, 0, 3]
    assert found.target.tolist() == [0, 3, 1, 2]
    assert found.stimulus.tolist() == [0, 1, 0, 1]
    assert found.repeat.tolist() == [0, 0, 1, 1]


def test_samples_are_matched_by_label_never_by_row():
    labels = np.random.default_rng(0).permutation(list("abcd" * 3))
    source, target = shown("S1", labels), shown("S2", sorted(labels, reverse=True))
    found = pair(source, target, categories=CATEGORIES)
    assert [source.labels[i] for i in found.source] == [target.labels[i] for i in found.target]
    for rows in (found.source, found.target):
        assert sorted(rows.tolist()) == list(range(12))


def test_a_number_of_samples_takes_whole_repeats_then_balanced_categories():
    both = (shown("S1", "abcdabcd"), shown("S2", "abcdabcd"))
    found = pair(*both, categories=CATEGORIES, n_pairs=6)
    assert [both[0].labels[i] for i in found.source] == ["a", "b", "c", "d", "a", "c"]
    assert found.repeat.tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.raises(DataError, match=r"asks for 9 paired samples, but S1 and S2 have 8 \(4 stimuli\)"):
        pair(*both, categories=CATEGORIES, n_pairs=9)


def test_what_one_lacks_is_an_error_with_counts_or_left_out():
    source, target = shown("S1", "aabc"), shown("S2", "abbc")
    with pytest.raises(DataError, match=r"those of 2 of 3 stimuli differ \(a: 2 of S1, 1 of S2\)"):
        pair(source, target, categories=CATEGORIES)
    with pytest.raises(DataError, match=r"2 of the 4 of S1 have no sample of S2 \(c, d\)"):
        pair(shown("S1", "abcd"), shown("S2", "ab"), categories=CATEGORIES)
    found = pair(source, target, categories=CATEGORIES, common=True)
    assert (found.source.tolist(), found.target.tolist()) == ([0, 2, 3], [0, 1, 3])
    with pytest.raises(DataError, match="no training stimulus in common"):
        pair(shown("S1", "a"), shown("S2", "b"), categories=CATEGORIES, common=True)


def test_shuffled_pairs_share_no_stimulus_and_use_each_once():
    both = (shown("S1", "abcdabcd"), shown("S2", "abcdabcd"))
    found = pair(*both, categories=CATEGORIES, shuffle_seed=3)
    labels = [(both[0].labels[i], both[1].labels[j]) for i, j in zip(found.source, found.target, strict=True)]
    assert all(x != y for x, y in labels)
    assert sorted(found.target.tolist()) == list(range(8))
    assert len(set(labels)) == 4, "each stimulus has one partner, in all repeats"


def test_three_subjects_are_put_together_and_shuffled_apart():
    subjects = [shown("S1", "abcd"), shown("S2", "dcba"), shown("S3", "badc")]
    found = together(subjects, categories=CATEGORIES)
    labels = [[s.labels[i] for i in rows] for s, rows in zip(subjects, found.rows, strict=True)]
    assert labels == [list("abcd")] * 3
    found = together(subjects, categories=CATEGORIES, shuffle_seed=3)
    labels = [[s.labels[i] for i in rows] for s, rows in zip(subjects, found.rows, strict=True)]
    assert all(len({*at}) == 3 for at in zip(*labels, strict=True)), "each shows another stimulus"
    with pytest.raises(DataError, match=r"S1 \(1 stimuli\) and S2 \(1 stimuli\) and S3 .* no training stimulus"):
        together([shown(f"S{i}", x) for i, x in enumerate("abc", 1)], categories=CATEGORIES, common=True)
