"""Names of conditions without a stimulus; the whole way is in tests/test_conditions.py."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import IngestDataset
from hpc_recon.exchange import conditions
from hpc_recon.stores.brain import Brain
from hpc_recon.stores.images import StimulusTable

TABLE = StimulusTable(("a", "b"), ("test",) * 2, ("cat", "big dog"), ("a", "b"), 4, 4)
BRAIN = Brain(np.zeros((4, 2), np.float32), ("a", "n/a", "51", "a"))


def _dataset(**fields):
    return IngestDataset.model_validate({"samples": {"file": "x.npy"}, **fields})


def test_null_labels_are_given_their_names():
    found = conditions.named("imagery", BRAIN, _dataset(null_labels={"n/a": "fixation", 51: "rest"}), TABLE)
    assert found.labels == ("a", "fixation", "rest", "a")
    assert found.conditions == {"fixation": "nothing", "rest": "nothing"}
    assert BRAIN.labels == ("a", "n/a", "51", "a")


def test_two_labels_may_be_one_condition():
    found = conditions.named("imagery", BRAIN, _dataset(null_labels={"n/a": "rest", 51: "rest"}), TABLE)
    assert found.labels == ("a", "rest", "rest", "a")
    assert found.conditions == {"rest": "nothing"}


def test_without_conditions_nothing_changes():
    assert conditions.named("test", BRAIN, _dataset(), TABLE) is BRAIN


def test_categories_are_those_of_stimuli():
    brain = Brain(np.zeros((3, 2), np.float32), ("cat", "rest", "cat"))
    found = conditions.named("imagery", brain, _dataset(labels_are="categories", null_labels=["rest"]), TABLE)
    assert found.conditions == {"cat": "category", "rest": "nothing"}
    assert found.labels == brain.labels
    bare = StimulusTable(("a", "b"), ("test",) * 2, ("", ""), ("a", "b"), 4, 4)
    with pytest.raises(DataError, match=r"categories of no stimulus: 'cat'; no stimulus has one: give ingest\.stimuli"):
        conditions.named("imagery", brain, _dataset(labels_are="categories", null_labels=["rest"]), bare)
    with pytest.raises(DataError, match=r"null_labels call a condition 'cat', which is a category"):
        conditions.named("imagery", brain, _dataset(labels_are="categories", null_labels={"rest": "cat"}), TABLE)
    spaced = Brain(np.zeros((1, 2), np.float32), ("big dog",))
    with pytest.raises(DataError, match=r"categories name items here.*'big dog'; rename them"):
        conditions.named("imagery", spaced, _dataset(labels_are="categories"), TABLE)
