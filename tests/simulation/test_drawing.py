"""Shapes and letters."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.simulation import drawing


def test_the_pool_has_forty_distinct_shapes():
    names = [drawing.shape_name(i) for i in range(drawing.N_SHAPES)]
    assert len(set(names)) == drawing.N_SHAPES == 40
    assert {shape for shape, _ in names[:8]} == set(drawing.SHAPES)
    with pytest.raises(DataError, match="40 coloured shapes"):
        drawing.shape_name(40)


@pytest.mark.parametrize("size", [16, 64, 100])
@pytest.mark.parametrize("shape", drawing.SHAPES)
def test_a_shape_lies_in_the_middle_of_a_grey_ground(shape: str, size: int):
    image = drawing.draw_shape(shape, "red", image_size=size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == drawing.GROUND).all()
    ink = np.abs(image.astype(float) - drawing.GROUND).sum(axis=2)
    assert 0.05 < (ink > 0).mean() < 0.8
    horizontal = np.average(np.arange(size), weights=ink.sum(axis=0))
    assert horizontal == pytest.approx((size - 1) / 2, abs=0.5)


def test_edges_are_smooth_and_the_inside_has_the_named_colour():
    image = drawing.draw_shape("disk", "blue", image_size=64)
    assert tuple(image[32, 32]) == drawing.COLOURS["blue"]
    between = (image[..., 2] > drawing.GROUND) & (image[..., 2] < drawing.COLOURS["blue"][2])
    assert between.sum() > 50  # about the length of the edge, 150 pixels


def test_a_disk_has_the_area_of_a_disk():
    image = drawing.draw_shape("disk", "white", image_size=64).astype(float)
    area = ((image[..., 0] - drawing.GROUND) / (250 - drawing.GROUND)).sum()
    assert area == pytest.approx(np.pi * (0.38 * 64) ** 2, rel=0.01)


def test_an_unknown_shape_is_refused():
    with pytest.raises(DataError, match="unknown shape 'blob'"):
        drawing.draw_shape("blob", "red", image_size=16)


def test_letters_are_black_centred_and_all_different():
    assert sorted(drawing.LETTERS) == [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    images = {letter: drawing.draw_letter(letter, image_size=64) for letter in drawing.LETTERS}
    for letter, image in images.items():
        assert image.min() == 0, letter
        ink = np.argwhere((image < 64).all(axis=2))
        middle = (ink.min(axis=0) + ink.max(axis=0)) / 2
        assert np.abs(middle - 31.5).max() <= 1.0, letter
    for one, other in combinations(images.values(), 2):
        assert (one != other).any(axis=2).mean() > 0.01
