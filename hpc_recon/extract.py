"""Extract the features of every stimulus: the activations of the study's layers, and their reference statistics.

Features that were computed elsewhere (`features` of a network) are read from files: a layer is a group of its own.

A group is a block of neighbouring layers whose features of 48 stimuli fit in 1 GiB. Blocks are cut from all layers of
the architecture, so that decoding more layers later leaves the other blocks as they are. A tile is one block of 48
stimuli: one row of shards.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core.config import FEATURES_ONLY, Network, Study
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.exchange.true_features import LayerFiles
    from hpc_recon.nets.blocks import Block

#: Features of one tile, all layers of its block, float32; a constant of the format (docs/store_format.md).
BLOCK_BYTES = 2**30
#: Seconds to open and parse a file of features, and bytes a second then: 9 ms a v7.3 file of 250 kB, norms and shards
#: included, on two busy cores (benchmarks/bench_export.py), 4 ms of 400 kB and 2 ms in v5 (benchmarks/bench_trees.py).
FILE_SECONDS, FILE_BYTES_PER_SECOND = 6e-3, 1e8
#: Copies of one file in memory while it is read: its bytes, unpacked, as an array, and that in float32.
FILE_COPIES = 4


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a block of layers and 48 stimuli.

    Raises
    ------
    StudyError
        If an architecture, a layer or a weights file is wrong, files of features do not fit the study, or a file of
        units does not fit a layer.
    MissingStore
        If the stimuli do not exist yet.
    """
    from hpc_recon.nets import zoo
    from hpc_recon.stores import layout

    n_stimuli = shapes.n_stimuli()
    for name, network in study.networks.items():  # before hours of extraction, not after
        found = _unit_shapes(name, network, shapes.image_size())
        for layer, unit_shape in found.items():
            study.n_decoded(zoo.n_units(unit_shape), layer)
    tiles = []
    for name, network in study.networks.items():
        if network.features is not None:
            tiles += _plan_files(study, name, n_stimuli)
            continue
        for block in _blocks(network, shapes.image_size()):
            upstream = (f"{study.source_verb}/stimuli",)
            group = Group("extract", (name, block.name), _settings(network, block), upstream)
            for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
                need = _need(network, block, shapes.image_size(), n=stop - start)
                tiles.append(Tile(group, "extract", start, stop, need))
    return tiles


def _unit_shapes(name: str, network: Network, image_size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the unit shape of each layer; that of files must be the architecture's where this is known."""
    from hpc_recon.exchange import true_features
    from hpc_recon.nets import zoo

    if network.features is None:
        return zoo.unit_shapes(network, image_size=image_size)
    stored = {layer: found.unit_shape for layer, found in true_features.look(name, network, None).items()}
    if network.architecture == FEATURES_ONLY:
        return stored
    known = zoo.unit_shapes(network, image_size=image_size)
    height, width = zoo.input_size(network, image_size)
    problems = [
        f"{name}: {layer} has units {shape} in its files, but {network.architecture} has {known[layer]} for images of "
        f"{height} x {width} pixels; "
        + (
            "the axes of the files are reversed, write them again"
            if shape == known[layer][::-1]
            else "set image_size to that of the network that the files come from (often 224), or use its files"
        )
        for layer, shape in stored.items()
        if shape != known[layer]
    ]
    if problems:
        raise StudyError("networks", problems)
    return known


def _plan_files(study: Study, name: str, n_stimuli: int) -> list[Tile]:
    """Return one tile a layer and 48 stimuli of a network whose features are read."""
    from hpc_recon.exchange import file_records, true_features
    from hpc_recon.stores import layout

    network, tiles = study.networks[name], []
    for layer, found in true_features.look(name, network, _labels(study)).items():
        same = true_features.identity(layout.workspace_of(study), found)
        settings = true_features.settings(network, found, identity=same)
        group = Group("extract", (name, layer), settings, (f"{study.source_verb}/stimuli",))
        for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
            n, units = stop - start, found.n_units
            itemsize = 4 if network.dtype == "float32" else 2
            bytes_in, bytes_out = array_bytes(n, units), array_bytes(n, units + 3, itemsize=itemsize)
            need = Need(
                host_bytes=bytes_in
                + max(
                    shard_bytes(n, units, itemsize=itemsize),
                    array_bytes(n, units, itemsize=16),
                    2 * file_records.AT_ONCE * FILE_COPIES * array_bytes(units),
                ),
                bytes_in=bytes_in,
                bytes_out=bytes_out,
                files_out=-(-units // layout.units_per_shard(units)) + 2,
                seconds=store_seconds(bytes_out) + n * FILE_SECONDS + bytes_in / FILE_BYTES_PER_SECOND,
            )
            tiles.append(Tile(group, "extract", start, stop, need))
    return tiles


def _labels(study: Study) -> tuple[str, ...] | None:
    """Return the labels of all stimuli; None where only their number is declared, which is a dry run."""
    from hpc_recon.stores import images, layout

    try:
        return images.read_table(layout.workspace_of(study)).labels
    except MissingStore:
        return None


def _blocks(network: Network, image_size: tuple[int, int]) -> list[Block]:
    """Return the blocks of layers that hold a layer of the study."""
    from hpc_recon.nets import blocks
    from hpc_recon.stores import layout

    return blocks.cut(network, image_size=image_size, max_units=BLOCK_BYTES // array_bytes(layout.STIMULI_PER_SHARD))


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
        seconds=store_seconds(bytes_out) + n * costs.forward_seconds(structure, block.chosen),
    )


def prepare(study: Study) -> None:
    """Create the arrays of features and of their statistics, and warn of weights that are not the published ones.

    Raises
    ------
    StudyError
        If weights are missing; nothing is downloaded.
    """
    from hpc_recon.nets import weights
    from hpc_recon.stores import layout
    from hpc_recon.stores import shapes as store_shapes

    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    n_stimuli, image_size = shapes.n_stimuli(), shapes.image_size()
    for name, network in study.networks.items():
        unit_shapes = _unit_shapes(name, network, image_size)
        if network.features is not None:
            for layer in network.layers:
                group = Group("extract", (name, layer))
                _create(workspace, network, (name, layer), unit_shapes[layer], n_stimuli=n_stimuli, made_by=group.key)
            continue
        weights.require(network)
        advice = weights.advice(network)
        if advice is not None:
            warnings.warn(advice, stacklevel=2)
        for block in _blocks(network, image_size):
            made_by = Group("extract", (name, block.name)).key
            for layer in block.chosen:
                _create(workspace, network, (name, layer), unit_shapes[layer], n_stimuli=n_stimuli, made_by=made_by)


def _create(
    workspace: Path,
    network: Network,
    place: tuple[str, str],
    unit_shape: tuple[int, ...],
    *,
    n_stimuli: int,
    made_by: str,
) -> None:
    """Create the arrays of one layer."""
    from hpc_recon.nets import zoo
    from hpc_recon.stores import arrays, layout

    n_units = zoo.n_units(unit_shape)
    arrays.create(
        workspace,
        layout.features(*place),
        shape=(n_stimuli, n_units),
        dtype=network.dtype,
        geometry=layout.feature_geometry(n_stimuli, n_units),
        made_by=made_by,
        attributes={"unit_shape": list(unit_shape)},
    )
    arrays.create(
        workspace,
        layout.norms(*place),
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
    name = tile.group.path[0]
    network = study.networks[name]
    if network.features is not None:
        return _read_files(study, tile)
    from hpc_recon.nets import features
    from hpc_recon.stores import images, layout

    workspace = layout.workspace_of(study)
    pictures = images.read_images(workspace, slice(tile.start, tile.stop))
    image_size = (pictures.shape[1], pictures.shape[2])
    block = next(b for b in _blocks(network, image_size) if b.name == tile.group.path[1])
    found = features.compute(network, block.chosen, pictures=pictures)
    for layer, (values, _) in found.items():
        features.require_finite(values, layer=f"{name}/{layer}", dtype=network.dtype)
    files = []
    for layer in block.chosen:
        values, unit_shape = found.pop(layer)
        files += _write(workspace, network, (name, layer), values, start=tile.start, unit_shape=unit_shape)
    return files


def _write(
    workspace: Path,
    network: Network,
    place: tuple[str, str],
    values: Array,
    *,
    start: int,
    unit_shape: tuple[int, ...],
) -> list[Path]:
    """Write features (n, n_units) of one layer from a row on, and their norms."""
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout

    norms = corrections.reference_statistics(values, unit_shape)
    return [
        *arrays.write(workspace, layout.features(*place), (start, 0), values.astype(network.dtype)),
        *arrays.write(workspace, layout.norms(*place), (start, 0), norms.astype("float32")),
    ]


def _read_files(study: Study, tile: Tile) -> list[Path]:
    """Read the features of one layer and 48 stimuli from files; return what was written."""
    import numpy as np

    from hpc_recon.exchange import true_features
    from hpc_recon.stores import images, layout

    name, layer = tile.group.path
    network, workspace = study.networks[name], layout.workspace_of(study)
    labels = images.read_table(workspace).labels
    found: LayerFiles = true_features.look(name, network.model_copy(update={"layers": (layer,)}), labels)[layer]
    part = labels[tile.start : tile.stop]
    # What the files are is noted before they are read: a change in between is then seen by the next plan.
    source = true_features.record(workspace, found, part, start=tile.start)
    values = found.read(part)
    if network.transform == "abs":
        np.abs(values, out=values)
    written = _write(workspace, network, (name, layer), values, start=tile.start, unit_shape=found.unit_shape)
    return [*written, source]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("extract", argv)


if __name__ == "__main__":
    raise SystemExit(main())
