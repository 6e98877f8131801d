"""Extract the features of every stimulus: the activations of the study's layers, and their reference statistics.

A group is a block of neighbouring layers whose features of 48 stimuli fit in 1 GiB. Blocks are cut from all layers of
the architecture, so that decoding more layers later leaves the other blocks as they are. A tile is one block of 48
stimuli: one row of shards.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core.config import Network, Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges

if TYPE_CHECKING:
    from hpc_recon.core.array import Array

#: Features of one tile, all layers of its block, float32; a constant of the format (docs/store_format.md).
BLOCK_BYTES = 2**30
#: Reading and writing stores, and starting a tile, on a laptop's disk.
BYTES_PER_SECOND = 2e8
START_SECONDS = 0.3


@dataclass(frozen=True)
class Block:
    """Neighbouring layers of a network; `chosen` are those that the study decodes, in network order."""

    network: str
    first: str
    last: str
    chosen: tuple[str, ...]

    @property
    def path(self) -> tuple[str, str]:
        """Its group's path."""
        return (self.network, f"{self.first}..{self.last}")


def blocks(name: str, network: Network, *, image_size: tuple[int, int]) -> list[Block]:
    """Cut all layers of an architecture into blocks, and return those that hold a layer of the study.

    Raises
    ------
    StudyError
        If a layer of the study is unknown; all of them are named.
    """
    from hpc_recon.nets import zoo
    from hpc_recon.stores import layout

    zoo.check_layers(network, image_size=image_size)
    found: list[list[str]] = []
    size = 0
    for layer, tap in zoo.structure(network, image_size=image_size).taps.items():
        own = array_bytes(layout.STIMULI_PER_SHARD, *tap.unit_shape)
        if not found or size + own > BLOCK_BYTES:
            found.append([])
            size = 0
        found[-1].append(layer)
        size += own
    cut = [Block(name, group[0], group[-1], tuple(x for x in group if x in network.layers)) for group in found]
    return [block for block in cut if block.chosen]


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a block of layers and 48 stimuli.

    Raises
    ------
    StudyError
        If an architecture, a layer or a weights file is wrong.
    MissingStore
        If the stimuli do not exist yet.
    """
    from hpc_recon.stores import layout

    n_stimuli = shapes.n_stimuli()
    tiles = []
    for name, network in study.networks.items():
        for block in blocks(name, network, image_size=shapes.image_size()):
            group = Group("extract", block.path, _settings(network, block), (f"{study.source_verb}/stimuli",))
            for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
                need = _need(network, block, shapes.image_size(), n=stop - start)
                tiles.append(Tile(group, "extract", start, stop, need))
    return tiles


def _settings(network: Network, block: Block) -> str:
    """Return what the features of a block depend on; the weights by content, not by place."""
    from hpc_recon.nets.identity import identity

    return canonical({**identity(network), "dtype": network.dtype, "layers": list(block.chosen)})


def _need(network: Network, block: Block, image_size: tuple[int, int], *, n: int) -> Need:
    """Project a tile of `n` stimuli."""
    from hpc_recon.nets import costs, zoo
    from hpc_recon.stores import layout

    structure = zoo.structure(network, image_size=image_size)
    units = {layer: zoo.n_units(structure.taps[layer].unit_shape) for layer in block.chosen}
    itemsize = 4 if network.dtype == "float32" else 2
    weights = 4 * structure.n_parameters
    batch = costs.micro_batch(structure, block.chosen) * costs.forward_bytes(structure, block.chosen)
    bytes_out = array_bytes(n, sum(units.values()) + 3 * len(units), itemsize=itemsize)
    # Norms are computed in float64, one layer at a time, before that layer is written.
    largest = max(units.values())
    layer = max(shard_bytes(n, largest, itemsize=itemsize), array_bytes(n, largest, itemsize=16))
    return Need(
        host_bytes=costs.TORCH_BYTES + 2 * weights + batch + array_bytes(n, sum(units.values())) + layer,
        device_bytes=weights + batch,
        bytes_in=n * image_size[0] * image_size[1] * 3 + weights,
        bytes_out=bytes_out,
        files_out=sum(-(-count // layout.units_per_shard(count)) + 1 for count in units.values()),
        seconds=START_SECONDS + n * costs.forward_seconds(structure, block.chosen) + bytes_out / BYTES_PER_SECOND,
    )


def prepare(study: Study) -> None:
    """Create the arrays of features and of their statistics, and warn of weights that are not the published ones.

    Raises
    ------
    StudyError
        If weights are missing; nothing is downloaded.
    """
    from hpc_recon.nets import weights, zoo
    from hpc_recon.stores import arrays, layout
    from hpc_recon.stores import shapes as store_shapes

    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    n_stimuli, image_size = shapes.n_stimuli(), shapes.image_size()
    for name, network in study.networks.items():
        weights.require(network)
        advice = weights.advice(network)
        if advice is not None:
            warnings.warn(advice, stacklevel=2)
        unit_shapes = zoo.unit_shapes(network, image_size=image_size)
        for block in blocks(name, network, image_size=image_size):
            made_by = Group("extract", block.path).key
            for layer in block.chosen:
                n_units = zoo.n_units(unit_shapes[layer])
                arrays.create(
                    workspace,
                    layout.features(name, layer),
                    shape=(n_stimuli, n_units),
                    dtype=network.dtype,
                    geometry=layout.feature_geometry(n_stimuli, n_units),
                    made_by=made_by,
                    attributes={"unit_shape": list(unit_shapes[layer])},
                )
                arrays.create(
                    workspace,
                    layout.norms(name, layer),
                    shape=(n_stimuli, 3),
                    dtype="float32",
                    geometry=layout.row_geometry(n_stimuli, 3),
                    made_by=made_by,
                )


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write the features of one block of layers for 48 stimuli; return the files.

    Raises
    ------
    DataError
        If a feature is not finite; names layer, range of units and count, and nothing is written.
    """
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, images, layout

    workspace = layout.workspace_of(study)
    name = tile.group.path[0]
    network = study.networks[name]
    pictures = images.read_images(workspace, slice(tile.start, tile.stop))
    image_size = (pictures.shape[1], pictures.shape[2])
    block = next(b for b in blocks(name, network, image_size=image_size) if b.path == tile.group.path)
    found = features_of(network, block.chosen, pictures)
    for layer, (values, _) in found.items():
        require_finite(values, layer=f"{name}/{layer}", dtype=network.dtype)
    files = []
    for layer in block.chosen:
        values, unit_shape = found.pop(layer)
        norms = corrections.reference_statistics(values, unit_shape)
        files += arrays.write(workspace, layout.features(name, layer), (tile.start, 0), values.astype(network.dtype))
        files += arrays.write(workspace, layout.norms(name, layer), (tile.start, 0), norms.astype("float32"))
    return files


def features_of(network: Network, layers: Sequence[str], pictures: Array) -> dict[str, tuple[Array, tuple[int, ...]]]:
    """Return the activations of `layers` and their unit shapes.

    Parameters
    ----------
    pictures
        (n, H, W, 3) uint8.

    Returns
    -------
    dict
        By layer: (n, n_units) float32 in C order of (channel, y, x), and the unit shape.

    Notes
    -----
    Images pass in micro-batches, whose activations stay below `costs.MICRO_BATCH_BYTES`.
    """
    import numpy as np
    import torch

    from hpc_recon.nets import costs, devices, taps, zoo

    image_size = (pictures.shape[1], pictures.shape[2])
    device = devices.choose()
    net = zoo.load(network, image_size=image_size, device=device)
    shapes = {layer: net.taps[layer].unit_shape for layer in layers}
    result = {layer: np.empty((len(pictures), zoo.n_units(shape)), np.float32) for layer, shape in shapes.items()}
    structure = zoo.structure(network, image_size=image_size)
    step = costs.micro_batch(structure, layers)
    with devices.settings(step * costs.forward_units(structure, layers)), torch.inference_mode():
        for start, stop in ranges(len(pictures), step):
            # A copy: what is read from a store may be read-only, which torch does not accept.
            batch = torch.from_numpy(pictures[start:stop].transpose(0, 3, 1, 2).copy()).to(device)
            for layer, values in taps.activations(net, batch.float() / 255.0, layers).items():
                result[layer][start:stop] = values.flatten(start_dim=1).cpu().numpy()
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
    import numpy as np

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("extract", argv)


if __name__ == "__main__":
    raise SystemExit(main())
