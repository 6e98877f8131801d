"""Populations of voxels and their answers."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.simulation import areas, readout, voxels
from hpc_recon.simulation.presets import PRESETS

EASY = PRESETS["easy"]


@pytest.fixture(scope="module")
def brain() -> voxels.Population:
    return voxels.population("S1", n_voxels=400, preset=EASY, study_seed=0)


def test_every_voxel_belongs_to_one_area_in_their_order(brain: voxels.Population):
    masks = np.array([brain.mask(area.name) for area in areas.AREAS])
    assert (masks.sum(axis=0) == 1).all()
    assert (np.diff(brain.area) >= 0).all()
    assert masks.sum(axis=1).tolist() == [160, 80, 60, 40, 60]
    assert brain.mask("VC").all()
    smallest = voxels.population("S1", n_voxels=50, preset=EASY, study_seed=0)
    assert all(smallest.mask(area.name).any() for area in areas.AREAS)


def test_subjects_differ_and_a_subject_is_always_the_same(brain: voxels.Population):
    again = voxels.population("S1", n_voxels=400, preset=EASY, study_seed=0)
    other = voxels.population("S2", n_voxels=400, preset=EASY, study_seed=0)
    for attribute in ("centre", "projection", "baseline", "scale", "noise", "loading"):
        assert (getattr(again, attribute) == getattr(brain, attribute)).all()
        assert (getattr(other, attribute) != getattr(brain, attribute)).mean() > 0.9


def test_voxels_spread_as_the_preset_says():
    brain = voxels.population("S1", n_voxels=4000, preset=EASY, study_seed=0)
    assert np.median(brain.noise) == pytest.approx(EASY.noise, rel=0.05)
    assert np.log(brain.noise).std() == pytest.approx(EASY.spread, rel=0.05)
    assert np.linalg.norm(brain.loading, axis=1) == pytest.approx(1, abs=1e-5)
    eccentricity = np.hypot(*brain.centre.T)
    inner, outer = (eccentricity < 0.2).sum() / 0.2**2, ((eccentricity > 0.3) & (eccentricity < 0.5)).sum() / 0.16
    assert inner > 1.3 * outer  # denser a unit of area
    assert np.abs(brain.centre).max() <= 0.5


def test_answers_are_maps_pooled_over_receptive_fields(brain: voxels.Population):
    """Oracle: single voxels pooled one by one."""
    images = np.random.default_rng(1).integers(256, size=(4, 64, 64, 3), dtype=np.uint8)
    answers = voxels.responses(images, brain, study_seed=0)
    assert answers.shape == (4, 400)
    ((_, maps),) = list(readout.area_maps(images, study_seed=0))
    for voxel in (0, 170, 260, 330, 399):
        area = areas.AREAS[brain.area[voxel]]
        seen = maps[area.name][brain.projection[voxel]]
        side = int(np.sqrt(seen.shape[1]))
        field = areas.receptive_fields(area, brain.centre[voxel : voxel + 1], grid=(side, side))[0]
        expected = (seen.astype(np.float64) * field).sum(axis=1)
        assert answers[:, voxel] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_voxel_answers_to_its_own_place_only(brain: voxels.Population):
    """V1 voxels left of the middle do not see a change at the right edge."""
    plain = np.full((64, 64, 3), 128, np.uint8)
    changed = plain.copy()
    changed[:, 60:] = 255
    answers = voxels.responses(np.stack([plain, changed]), brain, study_seed=0)
    difference = np.abs(answers[1] - answers[0])
    v1 = brain.mask("V1")
    left, right = v1 & (brain.centre[:, 0] < -0.1), v1 & (brain.centre[:, 0] > 0.4)
    assert np.median(difference[left]) < 1e-6
    assert difference[right].min() > 1e-3


def test_standardised_answers_have_unit_variance_over_training_only():
    answers = np.random.default_rng(0).normal(5, 3, (50, 6)).astype(np.float32)
    answers[:, 2] = 7
    training = np.arange(50) < 40
    signal = voxels.standardised(answers, training)
    assert signal[training].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert np.delete(signal[training].std(axis=0), 2) == pytest.approx(1, abs=1e-5)
    assert (signal[:, 2] == 0).all()
    assert signal[45, 0] == pytest.approx((answers[45, 0] - answers[:40, 0].mean()) / answers[:40, 0].std(), rel=1e-4)


def test_a_voxel_of_categories_answers_alike_to_all_images_of_one_category_and_dataset():
    answers = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    groups = [("training", "cat"), ("training", "dog"), ("training", "cat"), ("natural", "cat"), ("natural", "cat"),
              ("natural", "dog")]  # fmt: skip
    found = voxels.category_means(answers, groups)
    expected = answers.astype(float).copy()
    for rows in ([0, 2], [3, 4]):
        expected[rows] = expected[rows].mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # stored as float32
