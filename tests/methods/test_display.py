"""Both ways to show a generator's images, and where the middle of a stimulus lies."""

from __future__ import annotations

import numpy as np

from hpc_recon.methods import display


def test_raw_images_keep_their_colours():
    images = np.array([[[[-20.0, 127.5, 290.0]]]])
    np.testing.assert_allclose(display.raw(images)[0, 0, 0], [0.0, 0.5, 1.0])


def test_stretched_images_lose_them_and_outliers():
    rng = np.random.default_rng(0)
    images = rng.normal(100, 10, (2, 60, 60, 3))
    images[0, 0, 0, 0] = 1e6  # one of 10,800 values: beyond the 99.98th percentile
    shown = display.stretched(images)
    np.testing.assert_allclose(display.stretched(3 * images + 7), shown, atol=1e-6)
    assert (shown.min(), shown.max()) == (0.0, 1.0)
    for image, own in zip(images, shown, strict=True):
        values = np.sort(image.ravel())
        place = (len(values) - 1) * np.array([0.0002, 0.9998])
        low, high = values[place.astype(int)] + (place % 1) * (
            values[place.astype(int) + 1] - values[place.astype(int)]
        )
        np.testing.assert_allclose(own, (image.clip(low, high) - low) / (high - low), atol=1e-6)
    assert not display.stretched(np.full((1, 2, 2, 3), 9.0)).any()


def test_the_middle_goes_back_to_its_place():
    stimuli = np.random.default_rng(0).random((2, 248, 248, 3)).astype(np.float32)
    middle = stimuli[:, 10:237, 10:237]
    placed = display.placed(middle, image_size=248, stimuli=(248, 248))
    np.testing.assert_array_equal(placed[:, 10:237, 10:237], middle)
    np.testing.assert_array_equal(placed[:, :10, 10:237], np.repeat(middle[:, :1], 10, axis=1))
    half = display.placed(np.full((1, 200, 200, 3), 0.25, np.float32), image_size=248, stimuli=(124, 62))
    assert half.shape == (1, 124, 62, 3)
    np.testing.assert_allclose(half, 0.25)
