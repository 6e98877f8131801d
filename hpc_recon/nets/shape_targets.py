"""Shapes of images as networks without weights: blurred greys, edges, contours and a foreground mask on coarse grids.

`extract` writes them like any features, so that they are decoded for each ROI like any layer. The layer chooses the
grid: `grid32` has 32 x 32 cells, each the mean of the pixels below it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import skimage
import torch
from torch import Tensor, nn

from hpc_recon.core.array import Array
from hpc_recon.core.network_options import SHAPE_ARCHITECTURES

#: Without types. Its parts (color, filters, ...) are imported when they are first used: other networks need none.
_library: Any = skimage
#: Cells of an edge of each grid.
GRIDS = (8, 16, 32, 64)
#: The Gaussian that is applied before anything is looked for, standard deviation as a part of the image's edge: it
#: leaves detail of 64 cells.
BLUR = 1 / 128
#: Width of the border that is taken to be background, as a part of the image's edge.
BORDER = 1 / 16
#: Objects smaller than this part of the image are left out of a mask.
SMALLEST = 1 / 400
#: Differences below this are none.
FLAT = 1e-6
#: Steepness (Sobel, of an image on [0, 1]) that continues an outline, and that begins one; a sharp edge of full
#: contrast has about 3.
WEAK, STRONG = 0.3, 0.6


def blurred(image: Array) -> Array:
    """Return the luminance of an RGB image (H, W, 3) in [0, 1], blurred, (H, W)."""
    grey: Array = _library.filters.gaussian(
        _library.color.rgb2gray(image), sigma=BLUR * max(image.shape[:2]), preserve_range=True
    )
    return grey


def edges(image: Array) -> Array:
    """Return how steep the luminance is, (H, W) in [0, 1]: Sobel's gradient of the blurred image."""
    found: Array = _library.filters.sobel(blurred(image))
    return found


def contours(image: Array) -> Array:
    """Return 1 on outlines and 0 elsewhere, (H, W): Canny's edges of the blurred image, whatever its contrast."""
    grey = blurred(image)
    contrast = float(np.ptp(grey))
    if contrast < FLAT:
        return np.zeros_like(grey)
    found: Array = _library.feature.canny((grey - grey.min()) / contrast, low_threshold=WEAK, high_threshold=STRONG)
    return found.astype(np.float64)


def foreground(image: Array) -> Array:
    """Return 1 where the colour is unlike that of the image's border, 0 elsewhere, (H, W).

    The distance (CIELAB) from the border's median colour is cut where Otsu's method cuts it; small spots are left out.
    An image of one colour is background.
    """
    lab = _library.color.rgb2lab(image)
    width = max(1, round(BORDER * min(image.shape[:2])))
    inside = np.zeros(image.shape[:2], bool)
    inside[width:-width, width:-width] = True
    distance = np.linalg.norm(lab - np.median(lab[~inside], axis=0), axis=-1)
    if np.ptp(distance) < FLAT:
        return np.zeros_like(distance)
    numbered = _library.measure.label(distance > _library.filters.threshold_otsu(distance))
    sizes = np.bincount(numbered.ravel())
    kept = sizes >= SMALLEST * numbered.size
    kept[0] = False
    mask: Array = kept[numbered].astype(np.float64)
    return mask


#: What is computed of an image, by architecture.
TARGETS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    dict(zip(SHAPE_ARCHITECTURES, (blurred, edges, contours, foreground), strict=True))
)


class Outline(nn.Module):
    """From RGB (n, 3, H, W) in [0, 1] to what scikit-image finds in each image, (n, 1, H, W); not differentiable."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.find = TARGETS[architecture]

    def forward(self, images: Tensor) -> Tensor:
        """Look at one image after the other, on the CPU, in float64."""
        if images.is_meta:  # only shapes are asked for
            return images[:, :1]
        pictures = images.detach().permute(0, 2, 3, 1).cpu().numpy().astype(np.float64).clip(0.0, 1.0)
        found = np.stack([self.find(picture) for picture in pictures])[:, None]
        return torch.from_numpy(found.astype(np.float32)).to(images.device)


class Shape(nn.Module):
    """The outline, then its mean in the cells of every grid: the children `grid<g>` are the layers."""

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.outline = Outline(architecture)
        for cells in GRIDS:
            self.add_module(f"grid{cells}", nn.AdaptiveAvgPool2d(cells))

    def forward(self, images: Tensor) -> Tensor:
        """Return the finest grid, after all the others."""
        outline, found = self.outline(images), images
        for cells in GRIDS:
            found = self.get_submodule(f"grid{cells}")(outline)
        return found


def layers() -> dict[str, str]:
    """Return module paths by layer name."""
    return {f"grid{cells}": f"grid{cells}" for cells in GRIDS}
