"""Features of a sample of units, for `screen` (training stimuli alone) and `power`: straight from the taps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_recon.core import file_records
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.network_options import Network
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.extraction import from_files, given_arrays, given_files
from hpc_recon.nets import costs, features, weights, zoo
from hpc_recon.nets.identity import identity
from hpc_recon.stores import arrays, images, layout


@dataclass(frozen=True)
class Candidate:
    """One network of a comparison."""

    name: str
    network: Network
    #: Sampled unit numbers of each layer, (n,) int64 ascending.
    units: Mapping[str, Array]
    #: The command that they are for.
    verb: Literal["screen", "power"] = "screen"

    def place(self, layer: str) -> layout.Ref:
        """Return where the sampled features of a layer lie."""
        return (layout.screened if self.verb == "screen" else layout.powered)(self.name, layer)


def candidate(
    study: Study,
    name: str,
    network: Network,
    image_size: tuple[int, int],
    *,
    verb: Literal["screen", "power"] = "screen",
    n_sampled: int | None = None,
) -> Candidate:
    """Return a network with the sample of its units: that which a study with `units: N` decodes.

    Parameters
    ----------
    n_sampled
        Units a layer; default: `screen.units`.

    Raises
    ------
    StudyError
        If the architecture or a layer is wrong, or files of features do not fit.
    """
    units = {}
    shapes = from_files.unit_shapes(name, network, image_size)
    for layer in network.layers:
        n_units = zoo.n_units(shapes[layer])
        rng = np.random.default_rng(seed_of(study.seed, "units", name, layer))
        drawn = rng.choice(n_units, size=min(n_sampled or study.screen.units, n_units), replace=False)
        units[layer] = np.sort(drawn).astype(np.int64)
    return Candidate(name, network, units, verb)


def _group(study: Study, wanted: Candidate, given: Mapping[str, given_files.Given]) -> Group:
    """Return the group of a network's sampled features, which are computed or `given`."""
    network, source = wanted.network, dict[str, object]()
    if network.features is None:
        source = dict(identity(network))
    else:
        for layer, found in given.items():
            source[layer] = given_files.identity(layout.workspace_of(study), found)
    settings: dict[str, object] = {
        "source": source,
        "dtype": network.dtype,
        "transform": network.transform,
        "units": {layer: len(own) for layer, own in wanted.units.items()},
        "seed": study.seed,
        "training": study.training_dataset,
        "samples": study.fit.samples,
    }
    if wanted.verb == "power":
        settings["tests"] = study.test_datasets()
    upstream = (f"{study.source_verb}/stimuli", *(f"{study.source_verb}/{subject}" for subject in study.subjects))
    return Group(wanted.verb, ("features", wanted.name), canonical(settings), upstream)


def _given(study: Study, wanted: Candidate, labels: tuple[str, ...] | None) -> Mapping[str, given_files.Given]:
    """Find the files that hold the features of some stimuli, or the arrays, which hold those of all, by layer."""
    network = wanted.network
    assert network.features is not None, "asked of networks with files only"
    if not network.features.arrays:
        return given_files.look(wanted.name, network, labels)
    table = None if labels is None else images.read_table(layout.workspace_of(study))
    return given_arrays.look(wanted.name, network, table)


def tiles(
    study: Study, wanted: Candidate, *, n_stimuli: int, labels: tuple[str, ...] | None, image_size: tuple[int, int]
) -> list[Tile]:
    """Return one tile of 48 stimuli after another.

    Parameters
    ----------
    labels
        Of the stimuli; None where they are not known yet, which is a dry run.
    """
    given = {} if wanted.network.features is None else _given(study, wanted, labels)
    own, whole = _group(study, wanted, given), max((found.whole_bytes for found in given.values()), default=0)
    return [
        Tile(own, "features", start, stop, _need(wanted, stop - start, image_size, whole_bytes=whole))
        for start, stop in ranges(n_stimuli, layout.STIMULI_PER_SHARD)
    ]


def plan(
    study: Study,
    shapes: Shapes,
    candidates: Mapping[str, Candidate],
    *,
    rows: Callable[[Study], Array],
    most: Callable[[], int],
) -> tuple[list[Tile], dict[str, dict[str, int]]]:
    """Return the tiles of all networks, and how many units of each network and layer are sampled.

    Parameters
    ----------
    rows
        Returns the rows of the stimuli in the stimulus table, int64 ascending.
    most
        Returns how many stimuli there are at most, for a dry run where there is no table yet.

    Raises
    ------
    MissingStore
        If neither is known.
    """
    try:
        found = rows(study)
        every = images.read_table(layout.workspace_of(study)).labels
        n_stimuli, labels = len(found), tuple(every[row] for row in found)
    except MissingStore:  # a dry run from declared sizes; else the shapes raise the same
        n_stimuli, labels = most(), None
    size, planned = shapes.image_size(), list[Tile]()
    for wanted in candidates.values():
        planned += tiles(study, wanted, n_stimuli=n_stimuli, labels=labels, image_size=size)
    return planned, {name: {layer: len(n) for layer, n in one.units.items()} for name, one in candidates.items()}


def _need(wanted: Candidate, n: int, image_size: tuple[int, int], *, whole_bytes: int) -> Need:
    """Project a tile of n stimuli; `whole_bytes` are those of what can only be read as a whole."""
    network, units = wanted.network, sum(len(own) for own in wanted.units.values())
    written = array_bytes(n, units)
    if network.features is not None:
        whole = max(zoo.n_units(s) for s in from_files.unit_shapes(wanted.name, network, image_size).values())
        read = array_bytes(n, whole)
        return Need(
            host_bytes=whole_bytes
            + 2 * read
            + 2 * written
            + 2 * file_records.AT_ONCE * from_files.FILE_COPIES * array_bytes(whole),
            bytes_in=read * len(wanted.units),
            bytes_out=written,
            files_out=len(wanted.units),
            seconds=store_seconds(written)
            + len(wanted.units) * (n * from_files.FILE_SECONDS + read / from_files.FILE_BYTES_PER_SECOND),
        )
    structure, layers = zoo.structure(network, image_size=image_size), tuple(wanted.units)
    batch = costs.micro_batch(structure, layers) * costs.forward_bytes(structure, layers)
    parameters = 4 * structure.n_parameters
    return Need(
        host_bytes=costs.TORCH_BYTES + 2 * parameters + batch + 2 * written,
        device_bytes=parameters + batch,
        bytes_in=n * image_size[0] * image_size[1] * 3 + parameters,
        bytes_out=written,
        files_out=len(layers),
        seconds=store_seconds(written) + n * costs.forward_seconds(structure, layers),
    )


def create(study: Study, wanted: Candidate, *, n_stimuli: int) -> None:
    """Create the arrays of a network's sampled features; missing weights are an error before anything is computed."""
    if wanted.network.features is None:
        weights.require(wanted.network)
    for layer, own in wanted.units.items():
        arrays.create(
            layout.workspace_of(study),
            wanted.place(layer),
            shape=(n_stimuli, len(own)),
            dtype=wanted.network.dtype,
            geometry=layout.feature_geometry(n_stimuli, len(own)),
            made_by=f"{wanted.verb}/features/{wanted.name}",
        )


def write(study: Study, tile: Tile, wanted: Candidate, rows: Array) -> list[Path]:
    """Compute or read the sampled features of one tile, and write them.

    Parameters
    ----------
    rows
        Of all these stimuli in the stimulus table, int64 ascending; only those of the tile are looked at.

    Raises
    ------
    DataError
        If a feature is not finite; names the layer, and nothing is written.
    """
    workspace, files = layout.workspace_of(study), list[Path]()
    found = dict(_values(study, wanted, rows[tile.start : tile.stop]))
    for layer, values in found.items():
        features.require_finite(values, layer=f"{wanted.name}/{layer}", dtype=wanted.network.dtype)
    for layer, values in found.items():
        ref = wanted.place(layer)
        files += arrays.write(workspace, ref, (tile.start, 0), values.astype(wanted.network.dtype))
    return files


def _values(study: Study, wanted: Candidate, rows: Array) -> Iterator[tuple[str, Array]]:
    """Yield the sampled features (n_rows, n) float32 of each layer."""
    workspace, network = layout.workspace_of(study), wanted.network
    if network.features is None:
        pictures = images.read_images(workspace, rows)
        found = features.compute(network, network.layers, pictures=pictures, units=wanted.units)
        yield from ((layer, values) for layer, (values, _) in found.items())
        return
    every = images.read_table(workspace).labels
    labels = tuple(every[row] for row in rows)
    for layer, files in _given(study, wanted, labels).items():
        values = files.read(labels)[:, wanted.units[layer]]
        yield layer, np.abs(values) if network.transform == "abs" else values
