"""Embedded images hold the pixels they were given."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from hpc_recon.reporting import pictures


def decode(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_small_images_are_embedded_exactly_and_shown_as_pixels():
    image = np.random.default_rng(0).integers(0, 256, size=(28, 30, 3), dtype=np.uint8)
    made = pictures.picture(image, "a digit")
    np.testing.assert_array_equal(decode(made.uri), image)
    assert made.is_pixelated
    assert made.alt == "a digit"


def test_float_images_are_rounded_to_bytes():
    made = pictures.picture(np.full((4, 4, 3), 0.5, np.float32), "")
    assert set(decode(made.uri).ravel()) == {128}


def test_large_images_are_reduced():
    made = pictures.picture(np.zeros((500, 1000, 3), np.uint8), "")
    assert decode(made.uri).shape == (128, 256, 3)
    assert not made.is_pixelated


@pytest.mark.parametrize(("n", "lengths"), [(1, [1]), (8, [8]), (9, [5, 4]), (12, [6, 6]), (24, [8, 8, 8]), (0, [])])
def test_bands_are_about_equally_long(n, lengths):
    row = pictures.Strip("seen", "", "stimulus", tuple(pictures.Picture("", str(i), True) for i in range(n)))
    bands = pictures.gallery("x", [str(i) for i in range(n)], [row]).bands
    assert [len(band.names) for band in bands] == lengths
    assert [p.alt for band in bands for p in band.rows[0].pictures] == [str(i) for i in range(n)]


def test_a_row_that_lacks_a_picture_is_refused():
    with pytest.raises(ValueError, match="seen"):
        pictures.gallery("x", ["a", "b"], [pictures.Strip("seen", "", "stimulus", ())])
