"""Features of pictures as numpy arrays: batches, device and threads are taken care of here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.network_options import Network
from hpc_recon.core.tiles import ranges
from hpc_recon.nets import costs, devices, taps, zoo


def compute(
    network: Network, layers: Sequence[str], *, pictures: Array, units: Mapping[str, Array] | None = None
) -> dict[str, tuple[Array, tuple[int, ...]]]:
    """Return the activations of `layers` and their unit shapes.

    Parameters
    ----------
    pictures
        (n, H, W, 3) uint8 RGB.
    units
        By layer the numbers of the units that are kept, (n_units,) int64; the others never leave the micro-batch.
        Default: all.

    Returns
    -------
    dict
        By layer: (n, n_units) float32 in C order of (channel, y, x), and the unit shape.

    Notes
    -----
    Images pass in micro-batches, whose activations stay below `costs.MICRO_BATCH_BYTES`.
    """
    image_size = (pictures.shape[1], pictures.shape[2])
    device = devices.choose()
    net = zoo.load(network, image_size=image_size, device=device)
    shapes = {layer: net.taps[layer].unit_shape for layer in layers}
    widths = {layer: zoo.n_units(shape) if units is None else len(units[layer]) for layer, shape in shapes.items()}
    kept = {layer: torch.from_numpy(own).to(device) for layer, own in (units or {}).items()}
    result = {layer: np.empty((len(pictures), width), np.float32) for layer, width in widths.items()}
    structure = zoo.structure(network, image_size=image_size)
    step = costs.micro_batch(structure, layers)
    with devices.settings(step * costs.forward_units(structure, layers)), torch.inference_mode():
        for start, stop in ranges(len(pictures), step):
            # A copy: what is read from a store may be read-only, which torch does not accept.
            batch = torch.from_numpy(pictures[start:stop].transpose(0, 3, 1, 2).copy()).to(device)
            for layer, values in taps.activations(net, batch.float() / 255.0, layers).items():
                flat = values.flatten(start_dim=1)
                result[layer][start:stop] = (flat[:, kept[layer]] if layer in kept else flat).cpu().numpy()
    return {layer: (values, shapes[layer]) for layer, values in result.items()}


def require_finite(values: Array, *, layer: str, dtype: str) -> None:
    """Raise `DataError` if a feature is NaN or infinite, or too large for the stored type.

    Parameters
    ----------
    values
        (n, n_units) float32.
    dtype
        `float32` or `float16`.
    """
    limit = float(np.finfo(dtype).max)
    bad = ~(np.abs(values) <= limit)
    count = int(np.count_nonzero(bad))
    if count == 0:
        return
    units = np.flatnonzero(bad.any(axis=0))
    nan = int(np.count_nonzero(~np.isfinite(values)))
    if nan:
        remedy = "the network overflows with these weights: use other weights, or shallower layers"
    else:
        remedy = f"they exceed {limit:.0f}, the largest {dtype}: set dtype: float32 for this network"
    raise DataError(
        f"features must be finite as {dtype}, but {count} of {values.size} values of {layer} are not "
        f"({nan} NaN or infinite), in units {units[0]} to {units[-1]}; {remedy}"
    )
