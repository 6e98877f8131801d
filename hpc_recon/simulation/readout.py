"""What five visual areas see in an image: channel maps that voxels then pool over their receptive fields.

V1 sees rectified luminance and colour-opponent signals, as they are and relative to their surround. The areas after it see
rectified layers of a VGG-11 with random weights, deeper from area to area: never the network that a study decodes. Each
area mixes its channels into 32 random projections; a voxel reads one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from hpc_recon.core.array import Array
from hpc_recon.core.config import Network
from hpc_recon.core.sampling import seed_of

#: Height and width at which the simulated brain sees an image, pixels: its cost does not depend on the study's images.
SIZE = 64
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


@dataclass(frozen=True)
class Area:
    """A visual area: its name, the layer it sees (None: luminance and colour), and its receptive fields.

    `sigma` and `slope` give a receptive field's standard deviation, sigma + slope * eccentricity, in image widths.
    `share` is its part of all voxels.
    """

    name: str
    layer: str | None
    sigma: float
    slope: float
    share: float


#: In the order of voxels. HVC is the higher visual cortex; VC is all of them.
AREAS = (
    Area("V1", None, sigma=0.01, slope=0.06, share=0.30),
    Area("V2", "conv2_1", sigma=0.02, slope=0.10, share=0.22),
    Area("V3", "conv3_1", sigma=0.03, slope=0.16, share=0.17),
    Area("V4", "conv4_1", sigma=0.05, slope=0.28, share=0.13),
    Area("HVC", "conv5_1", sigma=0.10, slope=0.50, share=0.18),
)


def model_network(study_seed: int) -> Network:
    """Return the network that the simulated brain sees with: full width, and weights of its own seed."""
    seed = seed_of(study_seed, "simulated brain") % 2**31
    layers = tuple(area.layer for area in AREAS if area.layer is not None)
    return Network(architecture="vgg11", weights=f"random:{seed}", image_size=SIZE, layers=layers)


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
    import torch

    from hpc_recon.nets import taps, zoo

    network = model_network(study_seed)
    net = zoo.load(network, image_size=images.shape[1])
    for start in range(0, len(images), BATCH):
        rows = slice(start, min(start + BATCH, len(images)))
        batch = images[rows].astype(np.float32) / 255.0
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
            layers = {name: act.numpy() for name, act in taps.activations(net, tensor, network.layers).items()}
        maps = {}
        for area in AREAS:
            channels = opponent_channels(_resized(batch)) if area.layer is None else np.maximum(layers[area.layer], 0)
            flat = channels.reshape(*channels.shape[:2], -1)  # (n, channels, h * w)
            mixture = projections(area.name, flat.shape[1], study_seed=study_seed)
            maps[area.name] = np.tensordot(mixture, flat, axes=(1, 1))  # (projections, n, h * w)
        yield rows, maps


def opponent_channels(images: Array) -> Array:
    """Return rectified luminance and colour-opponent channels.

    Luminance (about mid-grey), red-green and blue-yellow, each as it is and minus its Gaussian surround; the positive and
    the negative part of each is a channel of its own, as on- and off-cells are, so that polarity is kept.

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
    """Resize (n, H, W, 3) images to SIZE, as floats; unchanged where they have it already."""
    if images.shape[1:3] == (SIZE, SIZE):
        return images
    result = np.empty((len(images), SIZE, SIZE, 3), np.float32)
    for index in np.ndindex(len(images), 3):
        channel = Image.fromarray(images[index[0], :, :, index[1]])
        result[index[0], :, :, index[1]] = channel.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return result


def projections(area: str, n_channels: int, *, study_seed: int) -> Array:
    """Return (N_PROJECTIONS, n_channels) float32 mixtures, normal weights of unit length."""
    rng = np.random.default_rng(seed_of(study_seed, "projections", area))
    weights = rng.standard_normal((N_PROJECTIONS, n_channels))
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def receptive_fields(area: Area, centre: Array, *, grid: Sequence[int]) -> Array:
    """Return Gaussian receptive fields on a grid of `h` x `w` cells that covers the image.

    sigma = area.sigma + area.slope * eccentricity, at least a third of a cell; each field sums to 1.

    Parameters
    ----------
    centre
        (n, 2) horizontal and vertical centre, image widths from the image's middle.
    grid
        Height and width of the maps that are pooled.

    Returns
    -------
    Array
        (n, h * w) float32.
    """
    sigma = np.maximum(area.sigma + area.slope * np.hypot(centre[:, 0], centre[:, 1]), 1 / (3 * max(grid)))
    vertical, horizontal = ((np.arange(size) + 0.5) / size - 0.5 for size in grid)
    rows = np.exp(-0.5 * ((vertical - centre[:, 1:]) / sigma[:, None]) ** 2)  # (n, h)
    columns = np.exp(-0.5 * ((horizontal - centre[:, :1]) / sigma[:, None]) ** 2)  # (n, w)
    fields = (rows[:, :, None] * columns[:, None, :]).reshape(len(centre), -1)
    return (fields / fields.sum(axis=1, keepdims=True)).astype(np.float32)
