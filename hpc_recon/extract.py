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

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Group, Shapes, Tile, ranges


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a block of layers and 48 stimuli, or one a layer and 48 stimuli where features come from files.

    Raises
    ------
    StudyError
        If an architecture, a layer or a weights file is wrong, files of features do not fit the study, or a file of
        units does not fit a layer.
    MissingStore
        If the stimuli do not exist yet.
    """
    from hpc_recon.extraction import blocks, from_files, reference
    from hpc_recon.nets import zoo
    from hpc_recon.stores import layout

    n_stimuli, image_size = shapes.n_stimuli(), shapes.image_size()
    for name, network in study.networks.items():  # before hours of extraction, not after
        for layer, unit_shape in from_files.unit_shapes(name, network, image_size).items():
            study.n_decoded(zoo.n_units(unit_shape), layer)
    tiles = []
    for name, network in study.networks.items():
        if network.features is not None:
            tiles += from_files.plan(study, name, n_stimuli)
        else:
            upstream = (f"{study.source_verb}/stimuli",)
            for block in blocks.of_network(network, image_size):
                group = Group("extract", (name, block.name), blocks.settings(network, block), upstream)
                for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
                    need = blocks.need(network, block, image_size, n=stop - start)
                    tiles.append(Tile(group, "extract", start, stop, need))
        tiles += reference.plan(name, network, image_size)
    return tiles


def prepare(study: Study) -> None:
    """Create the arrays of features and of their statistics, and warn of weights that are not the published ones.

    Raises
    ------
    StudyError
        If weights are missing; nothing is downloaded.
    """
    from hpc_recon.extraction import blocks, from_files, reference, writing
    from hpc_recon.nets import weights
    from hpc_recon.stores import layout
    from hpc_recon.stores import shapes as store_shapes

    workspace, shapes = layout.workspace_of(study), store_shapes.read(study)
    n_stimuli, image_size = shapes.n_stimuli(), shapes.image_size()
    for name, network in study.networks.items():
        made_by = {layer: layer for layer in network.layers}
        if network.features is None:
            weights.require(network)
            advice = weights.advice(network)
            if advice is not None:
                warnings.warn(advice, stacklevel=2)
            made_by = {layer: block.name for block in blocks.of_network(network, image_size) for layer in block.chosen}
        for layer, unit_shape in from_files.unit_shapes(name, network, image_size).items():
            key = Group("extract", (name, made_by[layer])).key
            writing.create(workspace, network, (name, layer), unit_shape, n_stimuli=n_stimuli, made_by=key)
        reference.prepare(workspace, name, network)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write the features of one block of layers for 48 stimuli; return the files.

    Raises
    ------
    DataError
        If a feature is not finite; names layer, range of units and count, and nothing is written.
    """
    from hpc_recon.extraction import from_files, reference

    if tile.group.path[1] == reference.REFERENCE:
        return reference.work(study, tile)
    if study.networks[tile.group.path[0]].features is not None:
        return from_files.work(study, tile)
    return _compute(study, tile)


def _compute(study: Study, tile: Tile) -> list[Path]:
    """Run the network over 48 stimuli and write the layers of one block."""
    from hpc_recon.extraction import blocks, writing
    from hpc_recon.nets import features
    from hpc_recon.stores import images, layout

    name, workspace = tile.group.path[0], layout.workspace_of(study)
    network = study.networks[name]
    pictures = images.read_images(workspace, slice(tile.start, tile.stop))
    image_size = (pictures.shape[1], pictures.shape[2])
    block = next(b for b in blocks.of_network(network, image_size) if b.name == tile.group.path[1])
    found = features.compute(network, block.chosen, pictures=pictures)
    for layer, (values, _) in found.items():
        features.require_finite(values, layer=f"{name}/{layer}", dtype=network.dtype)
    files = []
    for layer in block.chosen:
        values, unit_shape = found.pop(layer)
        files += writing.write(workspace, network, (name, layer), values, start=tile.start, unit_shape=unit_shape)
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("extract", argv)


if __name__ == "__main__":
    raise SystemExit(main())
