"""Features that come from files instead of a network: what they must be like, and the tiles that read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_recon.core import file_records
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.network_options import FEATURES_ONLY, Network
from hpc_recon.core.tiles import Group, Need, Tile, ranges, store_seconds
from hpc_recon.extraction import given_arrays, given_files, writing
from hpc_recon.nets import features, zoo
from hpc_recon.stores import images, layout

#: Seconds to open and parse a file of features, and bytes a second then: 9 ms a v7.3 file of 250 kB, norms and shards
#: included, on two busy cores (benchmarks/bench_export.py), 4 ms of 400 kB and 2 ms in v5 (benchmarks/bench_trees.py).
FILE_SECONDS, FILE_BYTES_PER_SECOND = 6e-3, 1e8
#: Copies of one file in memory while it is read: its bytes, unpacked, as an array, and that in float32.
FILE_COPIES = 4


def unit_shapes(name: str, network: Network, image_size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the unit shape of each layer; that of files must be the architecture's where this is known."""
    if network.features is None:
        return zoo.unit_shapes(network, image_size=image_size)
    stored = {layer: found.unit_shape for layer, found in _look(name, network, None).items()}
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


def plan(study: Study, name: str, n_stimuli: int) -> list[Tile]:
    """Return one tile a layer and 48 stimuli of a network whose features are read."""
    network, tiles = study.networks[name], []
    for layer, found in _look(name, network, _table(study)).items():
        same = given_files.identity(layout.workspace_of(study), found)
        settings = given_files.settings(network, found, identity=same)
        group = Group("extract", (name, layer), settings, (f"{study.source_verb}/stimuli",))
        for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD):
            n, units = stop - start, found.n_units
            itemsize = 4 if network.dtype == "float32" else 2
            bytes_in, bytes_out = array_bytes(n, units), array_bytes(n, units + 3, itemsize=itemsize)
            need = Need(
                host_bytes=bytes_in
                + found.whole_bytes
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


def _look(name: str, network: Network, table: images.StimulusTable | None) -> Mapping[str, given_files.Given]:
    """Find a network's files, or its arrays."""
    assert network.features is not None, "asked of networks with files only"
    if network.features.arrays:
        return given_arrays.look(name, network, table)
    return given_files.look(name, network, None if table is None else table.labels)


def _table(study: Study) -> images.StimulusTable | None:
    """Return all stimuli; None where only their number is declared, which is a dry run."""
    try:
        return images.read_table(layout.workspace_of(study))
    except MissingStore:
        return None


def work(study: Study, tile: Tile) -> list[Path]:
    """Read the features of one layer and 48 stimuli from files; return what was written.

    Raises
    ------
    DataError
        If a feature is too large for the stored type.
    """
    name, layer = tile.group.path
    network, workspace = study.networks[name], layout.workspace_of(study)
    table = images.read_table(workspace)
    found = _look(name, network.model_copy(update={"layers": (layer,)}), table)[layer]
    part = table.labels[tile.start : tile.stop]
    # What the files are is noted before they are read: a change in between is then seen by the next plan.
    source = given_files.record(workspace, found, part, start=tile.start)
    values = found.read(part)
    if network.transform == "abs":
        np.abs(values, out=values)
    features.require_finite(values, layer=f"{name}/{layer}", dtype=network.dtype)
    written = writing.write(workspace, network, (name, layer), values, start=tile.start, unit_shape=found.unit_shape)
    return [*written, source]
