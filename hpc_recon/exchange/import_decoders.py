"""Decoders that were trained elsewhere, read from bdpy's trees of files into the workspace: what one tile does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_recon.core import file_records
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.tiles import Tile
from hpc_recon.exchange import given_decoders
from hpc_recon.formats import decoder_trees
from hpc_recon.stores import arrays, decoders, items, layout, statistics
from hpc_recon.stores import shapes as store_shapes

#: By how much the statistics of two layers of an ROI may differ, in standard deviations: what float32 rounds.
SAME = 1e-5


def require_alike(study: Study) -> None:
    """Raise unless all layers of a split and ROI have the same statistics of its voxels; small files are read.

    Raises
    ------
    DataError
        If they differ, or are of another number of voxels than the ROI has.
    """
    shapes = store_shapes.read(study)
    first: dict[tuple[str, str], tuple[Path, tuple[Array, Array]]] = {}
    for split, roi, network, layer in study.layer_sets():
        found = given_decoders.look(study, shapes, (split, roi, network, layer))
        scaling = _voxel_scaling(found, shapes.n_voxels(split, roi))
        folder, known = first.setdefault((split, roi), (found.folder, scaling))
        _require_same(scaling, known, found.folder, f"those in {folder}")


def _voxel_scaling(found: given_decoders.Found, n_voxels: int) -> tuple[Array, Array]:
    mean, scale = decoder_trees.read_voxel_scaling(found.folder)
    _require_voxels(len(mean), n_voxels, found, "x_mean")
    return mean, scale


def _require_voxels(n: int, n_voxels: int, found: given_decoders.Found, name: str) -> None:
    if n != n_voxels:
        split, roi = found.place[:2]
        raise DataError(
            f"{name} in {found.folder} is of {n} voxels, but {roi} of {split} has {n_voxels}; decode samples with the "
            "voxels that the decoders were trained on, in their order"
        )


def _require_same(own: tuple[Array, Array], known: tuple[Array, Array], folder: Path, others: str) -> None:
    """Raise unless mean and scale of the voxels are those that test data are z-scored with."""
    unit = np.where(known[1] > 0, known[1], 1).astype(np.float64)
    apart = (
        np.maximum(np.abs(own[0] - known[0].astype(np.float64)), np.abs(own[1] - known[1].astype(np.float64))) / unit
    )
    # float32 rounds a mean to its own last digit, however small the deviation is.
    allowed = SAME + np.abs(known[0]) * 2.0**-22 / unit
    differ = int(np.count_nonzero(apart > allowed))
    if differ:
        raise DataError(
            f"x_mean and x_norm in {folder} differ from {others} in {differ} of {len(unit)} voxels, by up to "
            f"{apart.max():.2g} standard deviations; all decoders of an ROI z-score its samples alike: give layers "
            "that were trained on other samples a study of their own"
        )


def create(study: Study, place: tuple[str, str, str, str], k: int, *, projected: int) -> None:
    """Create the arrays of a layer's decoders, as wide as the most weights of a unit.

    Parameters
    ----------
    projected
        The width by which the plan cuts units into tiles.
    """
    split, roi, decoded_name, layer = place
    workspace, sizes = layout.workspace_of(study), store_shapes.read(study)
    n_units = study.n_decoded(sizes.n_units(study.network_of(decoded_name), layer), layer)
    cut = decoders.cut(workspace, place, n_units=n_units, width=projected)
    parts = {
        "stats": (3, "float32"),
        "voxel": (k, layout.voxel_dtype(sizes.n_voxels(split, roi))),
        "weight": (k, "float32"),
    }
    for part, (wide, dtype) in parts.items():
        arrays.create(
            workspace,
            layout.decoder(split, roi, decoded_name, layer, part),
            shape=(n_units, wide),
            dtype=dtype,
            geometry=cut(wide),
            made_by="/".join(("fit", *place)),
        )


def write(study: Study, tile: Tile) -> list[Path]:
    """Read and write what one tile stands for; return the files.

    Raises
    ------
    DataError
        If a file is damaged, or of other voxels or units than the study's.
    """
    if tile.stage == "statistics":
        split, roi, _ = tile.group.path
        return _write_statistics(study, split, roi)
    split, roi, decoded_name, layer = tile.group.path
    found = given_decoders.look(study, store_shapes.read(study), (split, roi, study.network_of(decoded_name), layer))
    return _count(study, found) if tile.stage == "count" else _write_units(study, found, tile.start, tile.stop)


def _write_statistics(study: Study, split: str, roi: str) -> list[Path]:
    shapes = store_shapes.read(study)
    found = given_decoders.first(study, shapes, split, roi)
    mean, scale = _voxel_scaling(found, shapes.n_voxels(split, roi))
    content: Mapping[str, Array] = {
        "mean": mean.astype(np.float64),
        "scale": scale.astype(np.float64),
        "rows": items.training_rows(study, split, required=False),
    }
    folder, files = given_decoders.records(study, (split, roi, "_brain")), found.voxel_files
    record = file_records.record(folder, files, list(files), name="all", redo=given_decoders.redo(split, roi))
    return [*statistics.write(layout.workspace_of(study), split, roi, content), record]


def _scaling(study: Study, found: given_decoders.Found) -> decoder_trees.Scaling:
    """Read the statistics of a layer and compare them with its units and with the voxels' stored statistics."""
    scaling = decoder_trees.read_scaling(found.folder)
    if scaling.unit_shape != found.unit_shape:
        _, _, decoded_name, layer = found.place
        raise DataError(
            f"y_mean in {found.folder} is of units {scaling.unit_shape}, but {decoded_name}/{layer} has "
            f"{found.unit_shape}; decoders of whole layers are read, of the network that the study names"
        )
    workspace, split, roi = layout.workspace_of(study), *found.place[:2]
    known = statistics.read(workspace, split, roi, "mean"), statistics.read(workspace, split, roi, "scale")
    _require_voxels(len(scaling.x_mean), len(known[0]), found, "x_mean")
    _require_same((scaling.x_mean, scaling.x_norm), known, found.folder, "what test data are z-scored with")
    return scaling


def _read(found: given_decoders.Found, number: int, n_voxels: int) -> decoder_trees.DecoderRows:
    """Read one file of weights, which must be of the ROI's voxels and the layer's units."""
    rows, shape = decoder_trees.read_pair(found.pairs[number], start=number * found.per_file)
    if shape != (n_voxels, *found.inner):
        raise DataError(
            f"{found.pairs[number][0]} has W {shape}, but {n_voxels} voxels and units {found.inner} are "
            f"{(n_voxels, *found.inner)}; decode with the voxels and the network that the decoders were trained on"
        )
    return rows


def _count(study: Study, found: given_decoders.Found) -> list[Path]:
    """Check all files of a layer, create its arrays, and record what was read."""
    n_voxels, k = len(_scaling(study, found).x_mean), 1
    for number in range(len(found.pairs)):
        k = max(k, _read(found, number, n_voxels).voxel.shape[1])
    create(study, found.place, k, projected=given_decoders.projected_width(found, n_voxels))
    folder, files = given_decoders.records(study, found.place), found.files
    return [file_records.record(folder, files, list(files), name="all", redo=given_decoders.redo(*found.place))]


def _write_units(study: Study, found: given_decoders.Found, start: int, stop: int) -> list[Path]:
    """Write the decoders of some units: bias, mean and scale, voxel numbers, weights."""
    split, roi, decoded_name, layer = found.place
    workspace = layout.workspace_of(study)
    scaling = _scaling(study, found)
    sample = unit_sample(study, study.network_of(decoded_name), layer, math.prod(found.unit_shape))
    unit = np.arange(start, stop) if sample is None else sample[start:stop]
    refs = {part: layout.decoder(split, roi, decoded_name, layer, part) for part in ("voxel", "weight", "stats")}
    k, dtype = arrays.describe(workspace, refs["weight"]).shape[1], arrays.describe(workspace, refs["voxel"]).dtype
    made: dict[str, Array] = {
        "voxel": np.full((len(unit), k), np.iinfo(dtype).max, dtype),
        "weight": np.zeros((len(unit), k), np.float32),
        "stats": np.stack([np.zeros(len(unit)), scaling.y_mean[unit], scaling.y_norm[unit]], axis=1).astype(np.float32),
    }
    for number in np.unique(unit // found.per_file):
        rows = _read(found, int(number), len(scaling.x_mean))
        own = np.flatnonzero(unit // found.per_file == number)
        place, wide = unit[own] - rows.start, rows.voxel.shape[1]
        if wide > k:
            raise DataError(
                f"{found.pairs[number][0]} has a unit with {wide} weights, after {k} were counted; it changed"
            )
        used = rows.voxel[place] != decoder_trees.UNUSED
        made["voxel"][own, :wide] = np.where(used, rows.voxel[place], np.iinfo(dtype).max)
        made["weight"][own, :wide] = rows.weight[place]
        made["stats"][own, 0] = rows.bias[place]
        del rows
    return [file for part, ref in refs.items() for file in arrays.write(workspace, ref, (start, 0), made[part])]
