"""Decoded latents become images: a generator renders them one after the other (Dado et al. 2020)."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.latent_options import LatentOptions
from hpc_recon.core.network_options import Network
from hpc_recon.methods.targets import Reconstruction, Targets, check
from hpc_recon.nets import latent_generators


def reconstruct(targets: Targets, options: LatentOptions, *, network: Network, device: str) -> Reconstruction:
    """Render the latents of some items; `targets.features` are calibrated.

    Raises
    ------
    DataError
        If a layer has no features of every image, or a latent has not as many numbers as the generator reads.
    """
    layers = options.layers or network.layers
    check(targets, layers)
    latents = np.concatenate([targets.features[layer] for layer in layers], axis=1)
    images = latent_generators.render(latents, options.generator, size=targets.start.shape[:2], device=device)
    return Reconstruction(images, np.empty((len(latents), 0), np.float32))
