"""Decoded pixels are the image: clipped to [0, 1] and put into shape."""

from __future__ import annotations

import numpy as np
import torch

from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import PixelsOptions
from hpc_recon.methods import targets
from hpc_recon.methods.targets import Reconstruction, Targets
from hpc_recon.nets import zoo
from hpc_recon.nets.preprocess import resize


def reconstruct(given: Targets, options: PixelsOptions, *, network: Network, device: str) -> Reconstruction:
    """Return the decoded pixels as images.

    Parameters
    ----------
    given
        Features of the one layer of a `pixels` (three channels) or `pixels_gray` (one channel, copied to three)
        network.
    options, device
        Not used: nothing is optimised.

    Returns
    -------
    Reconstruction
        Images of the size of `given.start`, no losses.

    Raises
    ------
    DataError
        If the features do not fill an image.
    """
    (layer,) = network.layers
    targets.check(given, [layer])
    stimuli = (given.start.shape[0], given.start.shape[1])
    height, width = zoo.input_size(network, stimuli)
    channels = 1 if network.architecture == "pixels_gray" else 3
    values = np.asarray(given.features[layer], np.float32)
    if values.shape[1] != channels * height * width:
        raise DataError(
            f"{values.shape[1]} decoded pixels do not fill images of {channels} x {height} x {width}; decode all units "
            "(no --units), or run extract and everything after it again"
        )
    maps = resize(torch.from_numpy(values.reshape(-1, channels, height, width)), stimuli).clamp(0.0, 1.0)
    images = maps.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy().copy()
    return Reconstruction(images, np.zeros((len(images), 0), np.float32))
