"""What `fit` does where decoded features come from files: the statistics of reference stimuli, and no decoders.

Scores and norm corrections ask for the mean and the standard deviation of each unit over the training stimuli. They
are taken from the features of the training dataset's own stimuli; a decoder's bias is 0, and it has no voxels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.decoding import fitting, inputs
from hpc_recon.numerics import needs, xp
from hpc_recon.numerics.stats import mean_and_scale
from hpc_recon.stores import arrays, items, layout, statistics
from hpc_recon.stores import shapes as store_shapes


def tiles(study: Study, shapes: Shapes) -> Iterator[Tile]:
    """Yield a tile a split and ROI that names the training stimuli, then one a shard of units.

    Raises
    ------
    MissingStore
        If stimuli or features do not exist yet.
    """
    n_stimuli = shapes.n_stimuli()
    settings = canonical({"decoded": "elsewhere", "reference": study.training_dataset})
    for split in study.splits():
        for roi in study.rois:
            group = Group("fit", (split, roi, "_brain"), settings, (f"{study.source_verb}/stimuli",))
            need = Need(bytes_out=array_bytes(n_stimuli, itemsize=8), files_out=1, seconds=store_seconds(0))
            yield Tile(group, "statistics", 0, 1, need)
    for group, network, layer in _groups(study, shapes):
        n_units = study.n_decoded(shapes.n_units(network, layer), layer)
        for start, stop in ranges(n_units, layout.units_per_shard(n_units)):
            n, at_once = stop - start, min(stop - start, needs.UNITS_AT_ONCE)
            need = Need(
                host_bytes=shard_bytes(n_stimuli, at_once, itemsize=8) + array_bytes(n, 3, itemsize=8),
                bytes_in=array_bytes(n_stimuli, n),
                bytes_out=array_bytes(n, 3),
                files_out=1,
                seconds=store_seconds(array_bytes(n_stimuli, n)),
            )
            yield Tile(group, "fit", start, stop, need)


def _groups(study: Study, shapes: Shapes) -> Iterator[tuple[Group, str, str]]:
    for split, roi, network, layer in study.layer_sets():
        settings: dict[str, object] = {"decoded": "elsewhere"}
        if study.units is not None:
            settings |= {"units": study.units, "seed": study.seed}
        path = (split, roi, study.decoded_name(network), layer)
        upstream = (f"fit/{split}/{roi}/_brain", shapes.made_by(network, layer))
        yield Group("fit", path, canonical(settings), upstream), network, layer


def create(study: Study) -> None:
    """Create the arrays of the units' statistics."""
    workspace, sizes = layout.workspace_of(study), store_shapes.read(study)
    for group, network, layer in _groups(study, sizes):
        n_units = study.n_decoded(sizes.n_units(network, layer), layer)
        split, roi, decoded_name, _ = group.path
        arrays.create(
            workspace,
            layout.decoder(split, roi, decoded_name, layer, "stats"),
            shape=(n_units, 3),
            dtype="float32",
            geometry=layout.unit_geometry(n_units, 3),
            made_by=group.key,
        )


def write(study: Study, tile: Tile) -> list[Path]:
    """Write which stimuli are the reference, or mean and standard deviation (ddof 1) of a range of units over them."""
    workspace = layout.workspace_of(study)
    if tile.stage == "statistics":
        split, roi, _ = tile.group.path
        return statistics.write(workspace, split, roi, {"rows": items.training_rows(study, split)})
    split, roi, decoded_name, layer = inputs.names(tile.group)
    rows = statistics.read(workspace, split, roi, "rows")
    stats = np.zeros((tile.stop - tile.start, 3), np.float32)  # bias, mean, scale
    for units, Y in fitting.blocks(study, tile, rows):
        mean, scale = mean_and_scale(Y)
        stats[units, 1], stats[units, 2] = xp.to_numpy(mean), xp.to_numpy(scale)
    return arrays.write(workspace, layout.decoder(split, roi, decoded_name, layer, "stats"), (tile.start, 0), stats)
