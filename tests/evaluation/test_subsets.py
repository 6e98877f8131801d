"""Parts of samples, against counts and sets written out."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.control_options import ControlOf, Part, Trials
from hpc_recon.core.power_options import PowerImages
from hpc_recon.evaluation import subsets
from hpc_recon.stores import brain

LABELS = tuple(f"i{n}" for n in range(8) for _ in range(3))
OWN = brain.Brain(
    np.random.default_rng(0).normal(size=(24, 10)).astype(np.float32),
    LABELS,
    {"session": [float(i) for i in range(24)]},
)


@pytest.fixture
def part(make_study, tmp_path):
    """Return a function that gives the samples of one part."""

    def reduced(curve, amount, draw=1, dataset="training", own=OWN):
        of = ControlOf(
            name="power", workspace=tmp_path, subjects={"S1-x": "S1"}, images=4,
            parts={"S1-x": Part(curve=curve, amount=amount, draw=draw)},
            trials={"natural-trials2-1": Trials(dataset="natural", trials=2, draw=1)},
        )  # fmt: skip
        return subsets.reduced(make_study().model_copy(update={"control_of": of}), own, "S1-x", dataset)

    return reduced


def test_images_are_whole_stimuli_and_nested(part):
    few, more, other = part("images", 3), part("images", 5), part("images", 3, draw=2)
    assert [len(set(x.labels)) for x in (few, more, other)] == [3, 5, 3]
    assert all(few.labels.count(label) == 3 for label in few.labels)
    assert set(few.labels) < set(more.labels)
    assert set(other.labels) != set(few.labels)
    rows = [int(x) for x in few.columns["session"]]  # the column tells which samples they are
    np.testing.assert_array_equal(few.samples, OWN.samples[rows])


def test_repeats_are_of_every_stimulus(part):
    found = part("repeats", 2)
    assert {found.labels.count(label) for label in found.labels} == {2}
    assert len(set(found.labels)) == 8
    assert set(part("repeats", 1).columns["session"]) < set(found.columns["session"])


def test_voxels_left_out_are_the_same_in_training_and_test(part):
    trained, tested = part("voxels", 0.4), part("voxels", 0.4, dataset="natural")
    left = np.flatnonzero((trained.samples == 0).all(axis=0))
    assert len(left) == 6
    np.testing.assert_array_equal(left, np.flatnonzero((tested.samples == 0).all(axis=0)))
    kept = np.setdiff1d(np.arange(10), left)
    np.testing.assert_array_equal(trained.samples[:, kept], OWN.samples[:, kept])


def test_trials_are_of_the_derived_dataset_alone(part):
    assert len(part("all", 1, dataset="natural-trials2-1").labels) == 16
    assert len(part("all", 1, dataset="natural").labels) == 24
    assert part("all", 1).labels == LABELS


def test_a_part_has_a_name_and_all_there_is_comes_once():
    sizes = subsets.Sizes(8, 3.0, (4,), (1,), (1.0,), (0.125,), (1, 3))
    named = [name for name, _ in subsets.parts(sizes, PowerImages(draws=2))]
    assert named == [
        "all", "images4-1", "images4-2", "repeats1-1", "repeats1-2", "voxels12_5-1", "voxels12_5-2",
    ]  # fmt: skip
    assert [name for name, _ in subsets.trials(sizes, PowerImages(draws=1), "natural")] == ["natural-trials1-1"]
