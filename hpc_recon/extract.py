"""Extract the features of every stimulus: the activations of the study's layers, and their reference statistics.

A group is a block of neighbouring layers whose features of 48 stimuli fit in 1 GiB. Blocks are cut from all layers of
the architecture, so that decoding more layers later leaves the other blocks as they are. A tile is one block of 48
stimuli: one row of shards.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core.config import Network, Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, digest, ranges, store_seconds

if TYPE_CHECKING:
    from hpc_recon.nets.blocks import Block

#: Name of the group that measures the reference images of a network, beside its blocks of layers.
REFERENCE = "_reference"
#: Features of one tile, all layers of its block, float32; a constant of the format (docs/store_format.md).
BLOCK_BYTES = 2**30


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a block of layers and 48 stimuli.

    Raises
    ------
    StudyError
        If an architecture, a layer or a weights file is wrong, or a file of units does not fit a layer.
    MissingStore
        If the stimuli do not exist yet.
    """
    from hpc_recon.nets import zoo
    from hpc_recon.stores import layout

    n_stimuli = shapes.n_stimuli()
    for network in study.networks.values():  # before hours of extraction, not after
        for layer, unit_shape in zoo.unit_shapes(network, image_size=shapes.image_size()).items():
            study.n_decoded(zoo.n_units(unit_shape), layer)
    tiles = []
    for name, network in study.networks.items():
        for block in _blocks(network, shapes.image_size()):
            upstream = (f"{study.source_verb}/stimuli",)
            group = Group("extract", (name, block.name), _settings(network, block), upstream)
            for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
                need = _need(network, block, shapes.image_size(), n=stop - start)
                tiles.append(Tile(group, "extract", start, stop, need))
        tiles += _plan_reference(name, network, shapes.image_size())
    return tiles


def _plan_reference(name: str, network: Network, image_size: tuple[int, int]) -> list[Tile]:
    """Return the tiles that measure the reference images of a network: one for 48 images, all layers."""
    from hpc_recon.formats import labfiles
    from hpc_recon.nets import reference
    from hpc_recon.nets.identity import identity
    from hpc_recon.stores import layout

    if network.reference is None:
        return []
    settings: dict[str, object] = {"layers": list(network.layers)}
    if network.reference.file is not None:
        _statistics_of_file(name, network)
        settings |= {"file": labfiles.sha256(network.reference.file), "statistic": network.reference.statistic}
        return [Tile(Group("extract", (name, REFERENCE), canonical(settings)), "reference", 0, 1, Need(files_out=1))]
    assert network.reference.folder is not None, "the study was validated"
    paths = reference.image_files(network.reference.folder)
    content = digest({path.name: labfiles.sha256(path) for path in paths})
    settings |= {**identity(network), "images": len(paths), "content": content}
    group, tiles = Group("extract", (name, REFERENCE), canonical(settings)), []
    for start, stop in ranges(len(paths), layout.STIMULI_PER_SHARD):
        needs = [_need(network, block, image_size, n=stop - start) for block in _blocks(network, image_size)]
        need = Need(
            host_bytes=max(need.host_bytes for need in needs),
            device_bytes=max(need.device_bytes for need in needs),
            bytes_in=sum(path.stat().st_size for path in paths[start:stop]) + needs[0].bytes_in,
            bytes_out=array_bytes(stop - start, 3 * len(network.layers)),
            files_out=len(network.layers),
            seconds=sum(need.seconds for need in needs),
        )
        tiles.append(Tile(group, "reference", start, stop, need))
    return tiles


def _statistics_of_file(name: str, network: Network) -> dict[str, float]:
    """Return what the lab's file says of each layer of a network.

    Raises
    ------
    StudyError
        If the file has no statistics of a layer.
    """
    from hpc_recon.nets import reference

    assert network.reference is not None, "asked for networks with a reference"
    assert network.reference.file is not None, "asked for references in files"
    found = reference.read_std_file(network.reference.file)
    absent = [layer for layer in network.layers if layer not in found]
    if absent:
        raise StudyError(
            f"networks.{name}.reference",
            [
                f"{network.reference.file} has no statistics of {', '.join(absent)}; it has {', '.join(found)}: decode "
                "these, or give a folder of images"
            ],
        )
    return {layer: found[layer] for layer in network.layers}


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
    from hpc_recon.nets import reference, weights, zoo
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
        for block in _blocks(network, image_size):
            made_by = Group("extract", (name, block.name)).key
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
        if network.reference is not None and network.reference.folder is not None:
            n_images = len(reference.image_files(network.reference.folder))
            for layer in network.layers:
                arrays.create(
                    workspace,
                    layout.reference(name, layer),
                    shape=(n_images, 3),
                    dtype="float32",
                    geometry=layout.row_geometry(n_images, 3),
                    made_by=Group("extract", (name, REFERENCE)).key,
                )


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write the features of one block of layers for 48 stimuli; return the files.

    Raises
    ------
    DataError
        If a feature is not finite; names layer, range of units and count, and nothing is written.
    """
    from hpc_recon.nets import features
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, images, layout

    if tile.group.path[1] == REFERENCE:
        return _measure(study, tile)
    workspace = layout.workspace_of(study)
    name = tile.group.path[0]
    network = study.networks[name]
    pictures = images.read_images(workspace, slice(tile.start, tile.stop))
    image_size = (pictures.shape[1], pictures.shape[2])
    block = next(b for b in _blocks(network, image_size) if b.name == tile.group.path[1])
    found = features.compute(network, block.chosen, pictures=pictures)
    for layer, (values, _) in found.items():
        features.require_finite(values, layer=f"{name}/{layer}", dtype=network.dtype)
    files = []
    for layer in block.chosen:
        values, unit_shape = found.pop(layer)
        norms = corrections.reference_statistics(values, unit_shape)
        files += arrays.write(workspace, layout.features(name, layer), (tile.start, 0), values.astype(network.dtype))
        files += arrays.write(workspace, layout.norms(name, layer), (tile.start, 0), norms.astype("float32"))
    return files


def _measure(study: Study, tile: Tile) -> list[Path]:
    """Write the statistics of reference images, or what a lab's file says of them; return the files."""
    from hpc_recon.nets import features, reference, zoo
    from hpc_recon.numerics import corrections
    from hpc_recon.stores import arrays, layout, tables

    workspace, name = layout.workspace_of(study), tile.group.path[0]
    network = study.networks[name]
    given = network.reference
    assert given is not None, "planned for networks with a reference"
    if given.folder is None:
        found = _statistics_of_file(name, network)
        columns: dict[str, Sequence[str | float]] = {
            "layer": list(found),
            "statistic": [given.statistic] * len(found),
            "value": list(found.values()),
        }
        return [tables.write_table(workspace, layout.reference_table(name), columns, made_by=tile.group.key)]
    pictures = reference.read_images(network, reference.image_files(given.folder)[tile.start : tile.stop])
    image_size = (pictures.shape[1], pictures.shape[2])
    assert image_size == zoo.input_size(network, image_size), "images are read at the size of the network's input"
    files = []
    for block in _blocks(network, image_size):  # one block of layers in memory at a time
        for layer, (values, unit_shape) in features.compute(network, block.chosen, pictures=pictures).items():
            features.require_finite(values, layer=f"{name}/{layer} (reference images)", dtype="float32")
            rows = corrections.reference_statistics(values, unit_shape).astype("float32")  # (n, 3)
            files += arrays.write(workspace, layout.reference(name, layer), (tile.start, 0), rows)
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("extract", argv)


if __name__ == "__main__":
    raise SystemExit(main())
