"""Stimuli resized once."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hpc_recon import train
from hpc_recon.stores import images, layout, shapes
from hpc_recon.training import pictures


def test_resized_stimuli_are_bilinear_and_their_own_store(trainable, run_verb):
    study, _ = trainable(steps=1, losses={"feature": 0, "adversarial": 0})
    run_verb(train, study)
    stimuli = images.read_images(layout.workspace_of(study))
    rows = np.array([0, 5, 32])
    found = pictures.read(study, rows, size=40)
    assert found.shape == (3, 40, 40, 3)
    for row, image in zip(rows, found, strict=True):
        expected = Image.fromarray(stimuli[row]).resize((40, 40), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image, np.asarray(expected))


def test_stimuli_of_the_right_size_are_read_as_they_are(trainable):
    study, _ = trainable()
    np.testing.assert_array_equal(
        pictures.read(study, np.array([1, 2]), size=16),
        images.read_images(layout.workspace_of(study), np.array([1, 2])),
    )
    assert pictures.upstream(study, shapes.read(study), 16) == "simulate/stimuli"
    assert pictures.upstream(study, shapes.read(study), 40) == "train/_images-40"
    assert [tile.stage for tile in pictures.plan(study, shapes.read(study))] == ["images"]
