"""Decoded pixels are the image: clipped to [0, 1] and put into shape."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.config import Network
from hpc_recon.core.errors import DataError
from hpc_recon.core.options import PixelsOptions
from hpc_recon.methods import targets
from hpc_recon.methods.targets import Reconstruction, Targets


def reconstruct(given: Targets, options: PixelsOptions, *, network: Network, device: str) -> Reconstruction:
    """Return the decoded pixels as images.

    Parameters
    ----------
    given
        Features of the one layer of a `pixels` (three channels) or `pixels_gray` (one channel, copied to three)
        network.
    options, device
        Not used: nothing is optimised.

    Raises
    ------
    DataError
        If the features do not fill an image.
    """
    (layer,) = network.layers
    targets.check(given, [layer])
    height, width = (network.image_size or n for n in given.start.shape[:2])
    channels = 1 if network.architecture == "pixels_gray" else 3
    values = np.asarray(given.features[layer], np.float32)
    if values.shape[1] != channels * height * width:
        raise DataError(
            f"{values.shape[1]} decoded pixels do not fill images of {channels} x {height} x {width}; decode all units "
            "(no --units), or run extract and everything after it again"
        )
    maps = values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(np.broadcast_to(np.clip(maps, 0.0, 1.0), (*maps.shape[:3], 3)))
    return Reconstruction(images, np.zeros((len(images), 0), np.float32))
