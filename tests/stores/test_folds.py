from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.ingest_options import CrossValidation
from hpc_recon.stores.folds import deal, held_out_labels
from hpc_recon.stores.images import StimulusTable


@pytest.fixture
def table():
    return StimulusTable(
        tuple("abcdefghi"), ("x",) + ("training",) * 5 + ("test",) * 3, ("",) * 9, ("",) * 9, height=2, width=2
    )


def test_folds_depend_on_the_seed_and_the_repeat_only(make_study, table):
    folds = CrossValidation(folds=4, repeats=2)
    deals = set()
    for seed in range(4):
        for repeat in range(2):
            study = make_study(seed=seed)
            held = [held_out_labels(study, folds, repeat=repeat, fold=f, table=table) for f in range(4)]
            assert held == [held_out_labels(study, folds, repeat=repeat, fold=f, table=table) for f in range(4)]
            assert sorted(label for part in held for label in part) == list("bcdefghi")  # `a` is of another dataset
            deals.add(tuple(map(frozenset, held)))
    assert len(deals) == 8


def test_deal_is_even_and_stratified():
    rng = np.random.default_rng(0)
    categories = ["a"] * 23 + ["b"] * 11 + ["c"] * 3
    fold = deal(categories, 5, rng=rng)
    sizes = np.bincount(fold, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    for kind, n in (("a", 23), ("b", 11), ("c", 3)):
        counts = np.bincount(fold[np.array(categories) == kind], minlength=5)
        assert counts.sum() == n
        assert counts.max() - counts.min() <= 1


def test_categories_that_are_not_all_known_are_not_used():
    first = deal(["a", "", "b", "a"], 2, rng=np.random.default_rng(3))
    assert first.tolist() == deal([""] * 4, 2, rng=np.random.default_rng(3)).tolist()
