"""Batches of shape-semantic training: a row's shape, vector and image together, the same for a step every time."""

from __future__ import annotations

import numpy as np

from hpc_recon.training import Place, pictures, shape_data
from hpc_recon.training.shape_data import moved

PLACE = Place("fused", "S1", "VC")


def test_a_batch_holds_what_belongs_together(shape_study):
    stream = shape_data.stream(shape_study, PLACE)
    shown = pictures.read(shape_study, np.arange(24), size=16)
    seen = []
    for step in range(5):  # 20 images, 4 at a time: one pass
        batch = stream.batch(step)
        for i in range(4):
            image = batch["images"][i].transpose(1, 2, 0)
            row = next(row for row in stream.inputs.rows if np.array_equal(shown[row], image))
            place = int(np.flatnonzero(stream.inputs.rows == row)[0])
            seen.append(place)
            np.testing.assert_array_equal(batch["semantic"][i], stream.inputs.semantic[place])
            blocks = stream.inputs.shape[place, 0].clip(0, 1).repeat(2, axis=0).repeat(2, axis=1) * 2 - 1
            np.testing.assert_allclose(batch["shape"][i, 0], blocks, atol=1e-6)
            assert batch["weight"][i] == (1.0 if place < 16 else 0.5)  # flagged: without brain data it counts half
    assert sorted(seen) == list(range(20))
    again = shape_data.stream(shape_study, PLACE)
    for step in (7, 2):
        assert all(np.array_equal(again.batch(step)[k], v) for k, v in stream.batch(step).items())
    assert not np.array_equal(stream.batch(5)["images"], stream.batch(0)["images"])  # each pass has its own order


def test_examples_have_brain_data(shape_study):
    stream = shape_data.stream(shape_study, PLACE)
    found = stream.examples(30)
    assert len(found["images"]) == 16
    assert set(found["weight"]) == {1.0}


def test_image_and_shape_are_moved_together(shape_study):
    options = shape_study.train["fused"].model_copy(update={"shift": 2})
    plain = shape_data.stream(shape_study, PLACE)
    stream = shape_data.ShapeStream(options, plain.inputs, plain.images, plain.order)
    one, two = plain.batch(3), stream.batch(3)
    for i in range(4):
        candidates = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
        by = next(c for c in candidates if np.array_equal(moved(one["images"][i], *c), two["images"][i]))
        np.testing.assert_array_equal(moved(one["shape"][i], *by), two["shape"][i])
    assert not np.array_equal(one["images"], two["images"])
