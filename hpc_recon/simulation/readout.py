"""What five visual areas see in an image: channel maps that voxels then pool over their receptive fields.

V1 sees rectified luminance and colour-opponent signals, as they are and relative to their surround. The areas after
it see rectified layers of a VGG-11 with random weights, deeper from area to area: never the network that a study
decodes. Each area mixes its channels into 32 random projections; a voxel reads one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from hpc_recon.core.array import Array
from hpc_recon.core.sampling import seed_of
from hpc_recon.nets import taps, zoo
from hpc_recon.simulation.areas import AREAS, SIZE, model_network

#: Random channel mixtures per area, shared by all subjects.
N_PROJECTIONS = 32
#: Images that pass through the network together.
BATCH = 50
#: Receptive field of the surround that contrast is measured against, pixels of 64.
_SURROUND = 4.0
#: Typical standard deviation in photographs of luminance, red-green, blue-yellow (1 = white), and of the same against
#: their surround: each channel is divided by its own, so that colour weighs as much as luminance.
_TONIC_SD = (0.25, 0.10, 0.12)
_CONTRAST_SD = (0.10, 0.03, 0.03)


def area_maps(images: Array, *, study_seed: int) -> Iterator[tuple[slice, dict[str, Array]]]:
    """Yield batches of images as each area sees them.

    Parameters
    ----------
    images
        (n, H, W, 3) uint8 RGB.
    study_seed
        Seed of the study: fixes the network's weights and the projections, for all its subjects.

    Yields
    ------
    tuple
        The rows of the batch, and by area (N_PROJECTIONS, n_batch, h * w) float32.
    """
    network = model_network(study_seed)
    net = zoo.load(network, image_size=images.shape[1])
    for start in range(0, len(images), BATCH):
        rows = slice(start, min(start + BATCH, len(images)))
        layers = taps.read(net, images[rows], network.layers)
        maps = {}
        for area in AREAS:
            if area.layer is None:
                channels = opponent_channels(_resized(images[rows]))
            else:
                channels = np.maximum(layers[area.layer], 0)
            flat = channels.reshape(*channels.shape[:2], -1)  # (n, channels, h * w)
            mixture = projections(area.name, flat.shape[1], study_seed=study_seed)
            maps[area.name] = np.tensordot(mixture, flat, axes=(1, 1))  # (projections, n, h * w)
        yield rows, maps


def opponent_channels(images: Array) -> Array:
    """Return rectified luminance and colour-opponent channels.

    Luminance (about mid-grey), red-green and blue-yellow, each as it is and minus its Gaussian surround; the
    positive and the negative part of each is a channel of its own, as on- and off-cells are, so that polarity is kept.

    Parameters
    ----------
    images
        (n, H, W, 3) RGB in [0, 1].

    Returns
    -------
    Array
        (n, 12, H, W) float32, non-negative.
    """
    red, green, blue = (images[..., i] for i in range(3))
    opponents = (images.mean(axis=-1) - 0.5, red - green, blue - (red + green) / 2)
    signals = [x / sd for x, sd in zip(opponents, _TONIC_SD, strict=True)]
    for x, sd in zip(opponents, _CONTRAST_SD, strict=True):
        signals.append((x - gaussian_filter(x, (0, _SURROUND, _SURROUND), mode="nearest")) / sd)
    both = np.stack(signals, axis=1)  # (n, 6, H, W)
    return np.concatenate([np.maximum(both, 0), np.maximum(-both, 0)], axis=1).astype(np.float32)


def _resized(images: Array) -> Array:
    """Resize (n, H, W, 3) uint8 images to SIZE and return them in [0, 1], float32."""
    if images.shape[1:3] != (SIZE, SIZE):
        small = [Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for image in images]
        images = np.stack([np.asarray(image) for image in small])
    return images.astype(np.float32) / 255.0


def projections(area: str, n_channels: int, *, study_seed: int) -> Array:
    """Return (N_PROJECTIONS, n_channels) float32 mixtures, normal weights of unit length."""
    rng = np.random.default_rng(seed_of(study_seed, "projections", area))
    weights = rng.standard_normal((N_PROJECTIONS, n_channels))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return weights.astype(np.float32)
