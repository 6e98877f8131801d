from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import PixelsOptions
from hpc_recon.methods import pixels
from hpc_recon.methods.targets import Targets

OPTIONS = PixelsOptions(method="pixels", network="p")


def run(values: np.ndarray, architecture: str = "pixels", **fields):
    network = Network(architecture=architecture, layers=("pixels",), **fields)
    given = Targets(
        names=tuple(f"i{i}" for i in range(len(values))),
        features={"pixels": values.astype(np.float32)},
        start=np.full((4, 5, 3), 0.5, np.float32),
    )
    return pixels.reconstruct(given, OPTIONS, network=network, device="cpu")


def test_colour_pixels_are_clipped_and_put_into_shape():
    image = np.random.default_rng(0).uniform(-0.5, 1.5, (2, 4, 5, 3))
    made = run(image.transpose(0, 3, 1, 2).reshape(2, -1))
    np.testing.assert_array_equal(made.images, image.clip(0, 1).astype(np.float32))
    assert made.losses.shape == (2, 0)


def test_grey_pixels_become_three_equal_channels():
    image = np.random.default_rng(0).random((1, 4, 5))
    made = run(image.reshape(1, -1), "pixels_gray")
    assert made.images.shape == (1, 4, 5, 3)
    for channel in range(3):
        np.testing.assert_array_equal(made.images[..., channel], image.astype(np.float32))


def test_pixels_of_another_size_are_resized_to_the_stimuli():
    made = run(np.full((1, 8 * 8), 0.25), "pixels_gray", image_size=8)
    assert made.images.shape == (1, 4, 5, 3)
    np.testing.assert_allclose(made.images, 0.25, atol=1e-6)


def test_pixels_that_do_not_fill_an_image_are_refused():
    with pytest.raises(DataError, match="7 decoded pixels do not fill images of 3 x 4 x 5"):
        run(np.ones((1, 7)))
