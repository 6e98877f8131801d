"""The visual areas of a simulated brain: what each sees, and its receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.network_options import Network
from hpc_recon.core.sampling import seed_of

#: Height and width at which the simulated brain sees an image, pixels: its cost does not depend on the study's images.
SIZE = 64
#: The same for the model network, whose layers are pooled over larger fields: half the arithmetic of 64.
NETWORK_SIZE = 48
#: The ROI that holds all voxels.
ALL_VOXELS = "VC"


@dataclass(frozen=True)
class Area:
    """A visual area.

    Attributes
    ----------
    name
        Name of its ROI.
    layer
        Layer of the model network that it sees; None: luminance and colour (`readout.opponent_channels`).
    sigma, slope
        Standard deviation of a receptive field: sigma + slope * eccentricity, in image widths.
    share
        Its part of a subject's voxels.
    """

    name: str
    layer: str | None
    sigma: float
    slope: float
    share: float


#: In the order of voxels. HVC is the higher visual cortex.
AREAS = (
    Area("V1", None, sigma=0.01, slope=0.05, share=0.40),
    Area("V2", "conv2_1", sigma=0.015, slope=0.09, share=0.20),
    Area("V3", "conv3_1", sigma=0.03, slope=0.16, share=0.15),
    Area("V4", "conv4_1", sigma=0.05, slope=0.28, share=0.10),
    Area("HVC", "conv5_1", sigma=0.10, slope=0.50, share=0.15),
)
ROIS = (*(area.name for area in AREAS), ALL_VOXELS)


def model_network(study_seed: int) -> Network:
    """Return the network that the simulated brain sees with: VGG-11 at full width, with weights of its own seed."""
    seed = seed_of(study_seed, "simulated brain") % 2**31
    layers = tuple(area.layer for area in AREAS if area.layer is not None)
    return Network(architecture="vgg11_features", weights=f"random:{seed}", image_size=NETWORK_SIZE, layers=layers)


def receptive_fields(area: Area, centre: Array, *, grid: Sequence[int]) -> Array:
    """Return Gaussian receptive fields on a grid of cells that covers the image.

    field(x, y) = exp(-((x - x0)^2 + (y - y0)^2) / (2 sigma^2)), divided by its sum, with
    sigma = area.sigma + area.slope * eccentricity, at least a third of a cell.

    Parameters
    ----------
    centre
        (n, 2) horizontal and vertical centre, image widths from the image's middle, within [-0.5, 0.5].
    grid
        Height and width of the maps that are pooled.

    Returns
    -------
    Array
        (n, height * width) float32.
    """
    sigma = np.maximum(area.sigma + area.slope * np.hypot(centre[:, 0], centre[:, 1]), 1 / (3 * max(grid)))
    vertical, horizontal = ((np.arange(size) + 0.5) / size - 0.5 for size in grid)
    rows = np.exp(-0.5 * ((vertical - centre[:, 1:]) / sigma[:, None]) ** 2)  # (n, height)
    columns = np.exp(-0.5 * ((horizontal - centre[:, :1]) / sigma[:, None]) ** 2)  # (n, width)
    fields = (rows[:, :, None] * columns[:, None, :]).reshape(len(centre), -1)
    fields /= fields.sum(axis=1, keepdims=True)
    return np.asarray(fields, dtype=np.float32)
