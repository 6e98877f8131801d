"""Which units of a layer count in the loss: channels, regions and masks from files (`reconstruct: masks:`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import LayerMask
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import option_files


def apply(given: Targets, options: IcnnOptions, shapes: Mapping[str, tuple[int, ...]]) -> Targets:
    """Return the targets without the units that the masks leave out; masked layers then have unit numbers.

    Parameters
    ----------
    shapes
        By layer: (channels, height, width) or (n_units,) of the whole layer.

    Raises
    ------
    DataError
        If a mask does not fit its layer, or leaves nothing of it; all layers are named.
    """
    features, index, weights = dict(given.features), dict(given.unit_index), dict(given.unit_weights)
    problems = []
    for layer, shape in shapes.items():
        mask = options.mask_of(layer)
        if mask is None or layer not in features:
            continue
        try:
            kept = units(mask, shape, layer=layer)
        except DataError as error:
            problems.append(str(error))
            continue
        known = given.index_of(layer)
        chosen = kept if known is None else kept[known]
        if not chosen.any():
            problems.append(f"the mask of layer {layer} leaves none of its {len(chosen)} decoded units; widen it")
            continue
        index[layer] = np.flatnonzero(kept) if known is None else known[chosen]
        features[layer] = features[layer][:, chosen]
        if (own := weights.get(layer)) is not None:
            weights[layer] = own[chosen]
    if problems:
        raise DataError("; ".join(problems))
    return Targets(given.names, features, given.start, given.seed, index, weights)


def units(mask: LayerMask, shape: tuple[int, ...], *, layer: str) -> Array:
    """Return which units of a layer a mask keeps, bool (n_units,), C order of (channel, y, x).

    Raises
    ------
    DataError
        If channels do not exist, a region is asked of a layer without space or holds no unit, or a file does not fit.
    """
    kept = np.ones(shape, bool)
    if mask.channels is not None:
        absent = [channel for channel in mask.channels if channel >= shape[0]]
        if absent:
            raise DataError(f"layer {layer} has channels 0 to {shape[0] - 1}, but its mask names {absent}")
        kept[[c for c in range(shape[0]) if c not in mask.channels]] = False
    if mask.region is not None:
        kept &= _region(mask.region, shape, layer=layer)
    if mask.file is not None:
        kept &= _from_file(mask.file, shape, layer=layer)
    return kept.ravel()


def _region(region: tuple[float, float, float, float], shape: tuple[int, ...], *, layer: str) -> Array:
    """Return the places whose middle lies in the region, (1, height, width)."""
    if len(shape) != 3:
        raise DataError(f"a region is cut out of maps, but layer {layer} has the shape {shape}; mask layers with maps")
    top, left, bottom, right = region
    rows, columns = ((np.arange(n) + 0.5) / n for n in shape[1:])
    inside: Array = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
    if not inside.any():
        raise DataError(
            f"the region {list(region)} holds no place of layer {layer}, whose maps are {shape[1]} x {shape[2]}; "
            "widen it"
        )
    return inside[None]


def _from_file(path: Path, shape: tuple[int, ...], *, layer: str) -> Array:
    found = option_files.numbers(path, what=f"the mask {path} of layer {layer}", remedy="give a .npy of 0 and 1")
    if found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise DataError(f"the mask {path} of layer {layer} must hold 0 and 1 alone; give a .npy of these")
    if found.shape == shape:
        return found.astype(bool)
    if found.ndim == 2 and len(shape) == 3:
        return _centred(found.astype(bool), (shape[1], shape[2]))[None]
    raise DataError(
        f"the mask {path} has the shape {found.shape}, but layer {layer} has {shape}; give one of this shape"
        + (", or of height and width" if len(shape) == 3 else "")
    )


def _centred(mask: Array, size: tuple[int, int]) -> Array:
    """Cut a mask to a size around its middle; what it does not reach counts."""
    result = np.ones(size, bool)
    spans = [(min(a, b), (a - min(a, b)) // 2, (b - min(a, b)) // 2) for a, b in zip(mask.shape, size, strict=True)]
    (height, top, to_top), (width, left, to_left) = spans
    result[to_top : to_top + height, to_left : to_left + width] = mask[top : top + height, left : left + width]
    return result
