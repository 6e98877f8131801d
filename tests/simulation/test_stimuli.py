"""Crops: the split by photograph, reproducibility, contrast and overlap."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hpc_recon.simulation import photographs, stimuli


@pytest.fixture(scope="module")
def training() -> stimuli.StimulusSet:
    return stimuli.training_crops(60, image_size=32, seed=3)


@pytest.fixture(scope="module")
def natural() -> stimuli.StimulusSet:
    return stimuli.natural_crops(12, image_size=32, seed=3)


def test_crops_are_split_by_photograph_never_by_crop(training: stimuli.StimulusSet, natural: stimuli.StimulusSet):
    assert set(training.source) <= set(photographs.TRAINING)
    assert set(natural.source) == set(photographs.HELD_OUT)
    assert not set(training.source) & set(natural.source)


def test_sets_have_the_asked_shape_and_unique_labels(training: stimuli.StimulusSet, natural: stimuli.StimulusSet):
    for made, n in ((training, 60), (natural, 12), (stimuli.shapes(9, image_size=32), 9)):
        assert made.images.shape == (n, 32, 32, 3)
        assert made.images.dtype == np.uint8
        assert len({*made.labels}) == len(made.labels) == len(made.category) == len(made.source) == n
    assert stimuli.letters(26, image_size=32).labels[:2] == ("letter_A", "letter_O")


def test_shares_follow_the_weights_for_any_number():
    counts = {name: list(stimuli._deal({"a": 3, "b": 1}, 100)).count(name) for name in "ab"}
    assert counts == {"a": 75, "b": 25}
    assert set(stimuli._deal(dict.fromkeys("abcd", 1), 4)) == set("abcd")


def test_the_same_seed_gives_the_same_crops_and_more_crops_extend_them(training: stimuli.StimulusSet):
    longer = stimuli.training_crops(70, image_size=32, seed=3)
    place = {label: row for row, label in enumerate(longer.labels)}
    rows = [place[label] for label in training.labels]
    assert (longer.images[rows] == training.images).all()
    other = stimuli.training_crops(60, image_size=32, seed=4)
    assert (other.images != training.images).any(axis=(1, 2, 3)).all()


def test_crops_show_something(training: stimuli.StimulusSet, natural: stimuli.StimulusSet):
    def contrast(images: np.ndarray) -> np.ndarray:
        return images.mean(axis=3).std(axis=(1, 2)) / 255

    assert np.quantile(contrast(training.images), 0.05) > 0.03
    assert contrast(natural.images).min() > 0.08


def test_held_out_crops_of_one_photograph_are_different_views(natural: stimuli.StimulusSet):
    for one, other in combinations(range(12), 2):
        pair = natural.images[[one, other]].reshape(2, -1).astype(float)
        assert np.corrcoef(pair)[0, 1] < 0.9


def test_overlap_is_intersection_over_union():
    crop = stimuli._Crop(0, 0, 10, mirror=False, hue=0)
    assert crop.overlap(crop) == 1.0
    assert crop.overlap(stimuli._Crop(20, 0, 10, mirror=False, hue=0)) == 0.0
    assert crop.overlap(stimuli._Crop(5, 0, 10, mirror=False, hue=0)) == pytest.approx(50 / 150)


def test_mirroring_and_turning_hues_change_what_they_say():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :20] = (200, 40, 40)
    plain = stimuli._cut(picture, stimuli._Crop(0, 0, 40, mirror=False, hue=0), 20)
    mirrored = stimuli._cut(picture, stimuli._Crop(0, 0, 40, mirror=True, hue=0), 20)
    turned = stimuli._cut(picture, stimuli._Crop(0, 0, 40, mirror=False, hue=85), 20)  # a third of the circle
    assert (plain == mirrored[:, ::-1]).all()
    assert np.abs(turned[5, 5].astype(int) - (40, 200, 40)).max() <= 4
