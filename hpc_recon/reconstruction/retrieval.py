"""Training images whose features are most like the decoded ones (method `retrieval`): a dataset a tile.

Likeness is Pearson's r over the units of a layer, z-scored with their mean and deviation over the training stimuli;
mean over layers. A layer is read some units at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.retrieval_options import RetrievalOptions
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.numerics import nearness, scores, stats
from hpc_recon.reconstruction import writing
from hpc_recon.stores import arrays, images, items, layout, provenance
from hpc_recon.stores import shapes as store_shapes

#: Units that are held at once.
UNITS = 8192


def _options(study: Study, variant: str) -> RetrievalOptions:
    options = study.reconstruct[variant]
    assert isinstance(options, RetrievalOptions), options.method
    return options


def plan(study: Study, shapes: Shapes, variant: str) -> list[Tile]:
    """Return one tile for each split, ROI and dataset."""
    options, tiles = _options(study, variant), []
    layers = study.layers_of(options)
    settings = {"layers": list(layers), "mean_of": options.mean_of, "average": study.decode.average}
    units = sum(study.n_decoded(shapes.n_units(options.network, layer), layer) for layer in layers)
    for split, roi, dataset in study.image_sets(variant):
        upstream = [f"{study.source_verb}/stimuli", f"extract/{options.network}"]
        upstream += [] if study.decode.files else [study.brain_key(split)]
        upstream += study.decode_keys(variant, split, roi)
        group = Group("reconstruct", (variant, split, roi, dataset), canonical(settings), tuple(upstream))
        n, m = shapes.n_items(split, dataset), shapes.n_stimuli()
        read = array_bytes(n + m, units) + n * options.mean_of * array_bytes(*shapes.image_size(), 3, itemsize=1)
        need = Need(
            host_bytes=shard_bytes(n + m, UNITS) + 3 * array_bytes(n + m, UNITS, itemsize=8) + 5 * array_bytes(n, m),
            bytes_in=read,
            bytes_out=n * array_bytes(*shapes.image_size(), 3),
            files_out=3 * n,
            seconds=store_seconds(read) + 2e-10 * n * m * units,
        )
        tiles.append(Tile(group, "reconstruct", 0, n, need))
    return tiles


def prepare(study: Study, variants: Sequence[str]) -> None:
    """Look whether features were decoded from what is there now.

    Raises
    ------
    ChangedStudy
        If they were made from an earlier version of something.
    DataError
        If an image shall be the mean of more training images than there are.
    """
    look = provenance.Provenance(layout.workspace_of(study))
    for variant in variants:
        look.require_decoded(study, variant)
        wanted = _options(study, variant).mean_of
        for split in dict.fromkeys(split for split, _, _ in study.image_sets(variant)):
            n = len(items.training_rows(study, split))
            if wanted > n:
                raise DataError(
                    f"{variant}: mean_of asks for {wanted} training images, but there are {n} of {split}; ask for fewer"
                )


def work(study: Study, tile: Tile) -> list[Path]:
    """Write, for each item, the training image or the mean of those that are most like it; return the files."""
    variant, split, roi, dataset = tile.group.path
    place = (split, roi, dataset)
    options, workspace = _options(study, variant), layout.workspace_of(study)
    rows, shown = items.training_rows(study, split), items.read_shown(study, split, dataset)
    layers, n = study.layers_of(options), len(shown.names)
    like = (_likeness(study, place, (options.network, layer), n, rows) for layer in layers)
    best = nearness.nearest(like, options.mean_of)
    table, files = images.read_table(workspace), []
    for name, chosen in zip(shown.names, rows[best], strict=True):
        made = images.read_images(workspace, np.sort(chosen)).mean(axis=0, dtype=np.float64) / 255
        record = {"item": name, "variant": variant, "options": options.model_dump(mode="json"), "losses": []}
        record["retrieved"] = [table.labels[row] for row in chosen]
        path = layout.image_file(study, variant, *place, name)
        files += writing.write(study, path, made.astype(np.float32), record)
    return files


def _likeness(study: Study, place: tuple[str, str, str], key: tuple[str, str], n: int, rows: Array) -> Array:
    """Return correlations of a layer's n decoded items with training stimuli, (n, rows)."""
    network, layer = key
    workspace, where = layout.workspace_of(study), layout.decoded(*place, study.decoded_name(network), layer)
    n_units = store_shapes.read(study).n_units(network, layer)
    index = unit_sample(study, network, layer, n_units)
    index = np.arange(n_units) if index is None else index
    found = scores.products(np.empty((n, 0)), np.empty((len(rows), 0)))
    for start, stop in ranges(len(index), UNITS):
        true = items.true_features(study, network, layer, rows, index[start:stop])
        decoded = arrays.read(workspace, where, None, slice(start, stop))
        mean, scale = stats.mean_and_scale(true)
        found += nearness.with_training({"": decoded}, true, mean=mean, scale=scale)[""]
    return found.correlation()
