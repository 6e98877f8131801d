"""Which samples a network learns from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.train_options import TrainingSet
from hpc_recon.training.selection import chosen

LABELS = [f"i{n % 12:02d}" for n in range(60)]


def pick(seed: int = 0, **wanted: int) -> np.ndarray:
    return chosen(LABELS, TrainingSet(**wanted), seed=seed, where="train.e2e (S1)")


def test_all_samples_are_the_default():
    np.testing.assert_array_equal(pick(), np.arange(60))


def test_images_and_samples_vary_separately():
    few = pick(images=4)
    assert list(Counter(LABELS[i] for i in few).values()) == [5] * 4
    spread = pick(samples=24)
    assert set(Counter(LABELS[i] for i in spread).values()) == {2}
    both = pick(images=4, samples=10)
    counts = Counter(LABELS[i] for i in both)
    assert (len(counts), sum(counts.values()), set(counts.values())) == (4, 10, {2, 3})


def test_smaller_sets_lie_within_larger_ones_of_the_same_seed():
    for smaller, larger in (
        (pick(images=3), pick(images=7)),
        (pick(samples=20), pick(samples=40)),
        (pick(images=5, samples=9), pick(images=5, samples=20)),
    ):
        assert set(smaller) < set(larger)
    assert set(pick(images=3)) != set(pick(seed=1, images=3))
    assert (np.diff(pick(samples=30)) > 0).all()


def test_impossible_numbers_are_refused():
    with pytest.raises(DataError, match="asks for 13 images, but there are 12"):
        pick(images=13)
    with pytest.raises(DataError, match="30 samples of 4 images, which have 20; ask for 4 to 20"):
        pick(images=4, samples=30)
    with pytest.raises(DataError, match="ask for 12 to 60"):
        pick(samples=11)
