"""Decoded latents become images: a generator renders them one after the other (Dado et al. 2020)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.config import Network
from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentGenerator, LatentOptions
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
    images = render(latents, options.generator, size=targets.start.shape[:2], device=device)
    return Reconstruction(images, np.empty((len(latents), 0), np.float32))


def render(latents: Array, options: LatentGenerator, *, size: tuple[int, ...] | None, device: str) -> Array:
    """Render latents one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    latents
        (n, n_inputs) float32.
    size
        Height and width to resize to (bicubic, antialiased where it shrinks); None: as the generator makes them.

    Returns
    -------
    Array
        (n, H, W, 3) float32, RGB, clipped to [0, 1].

    Raises
    ------
    DataError
        If a latent has not as many numbers as the generator reads, or an image is not finite.
    """
    shape = latent_generators.describe(options)
    if latents.ndim != 2 or latents.shape[1] != shape.n_inputs:
        raise DataError(
            f"the generator {options.kind} reads latents of {shape.n_inputs:,} numbers, but got {latents.shape}; give "
            "the layers that make up its latent, in their order"
        )
    generator = latent_generators.load(options, device=device)
    made = []
    with torch.inference_mode():
        for latent in torch.from_numpy(np.ascontiguousarray(latents, np.float32)):
            image = generator(latent[None].to(device)).float()
            if size is not None and tuple(image.shape[2:]) != tuple(size):
                image = functional.interpolate(image, tuple(size), mode="bicubic", antialias=True, align_corners=False)
            made.append(image[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    images = np.stack(made) if made else np.empty((0, *(size or shape.output_size), 3), np.float32)
    if not np.isfinite(images).all():
        raise DataError(f"the generator {options.kind} made an image that is not finite; are its weights whole?")
    return images
