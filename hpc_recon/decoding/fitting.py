"""Stages `fit` and `out_of_fold`: one range of a layer's units, streamed through in blocks.

While one block of units is fitted the features of the next one are read, so that memory does not grow with the number
of units of a tile beyond its results.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.tiles import Group, Tile, ranges
from hpc_recon.decoding import choosing, estimators, inputs
from hpc_recon.numerics import decoder, needs, stats, xp
from hpc_recon.stores import arrays, decoders, layout, shapes

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.numerics.choice import Choice


def create(study: Study, group: Group, *, k: int) -> None:
    """Create the arrays of one layer's decoders (or predictions); nothing happens where identical ones exist.

    They are cut as the plan has it: by the most voxels that may be chosen, not by the `k` that are.
    """
    split, roi, decoded_name, layer = place = inputs.names(group)
    workspace, sizes = layout.workspace_of(study), shapes.read(study)
    n_units = study.n_decoded(sizes.n_units(study.network_of(decoded_name), layer), layer)
    widest = 0 if study.fit.decode else study.fit.most_voxels(sizes.n_voxels(split, roi))
    cut = decoders.cut(workspace, place, n_units=n_units, width=widest)
    parts: dict[str, tuple[int, str]] = {"stats": (3, "float32")}
    if study.fit.per_unit:
        parts["alpha"] = (1, "float32")
    if not study.fit.decode:
        parts |= {"voxel": (k, layout.voxel_dtype(sizes.n_voxels(split, roi))), "weight": (k, "float32")}
    for part, (width, dtype) in parts.items():
        ref = layout.decoder(split, roi, decoded_name, layer, part)
        arrays.create(workspace, ref, shape=(n_units, width), dtype=dtype, geometry=cut(width), made_by=group.key)
    for dataset in study.test_datasets(split) if study.fit.decode else []:
        n = sizes.n_items(split, dataset)
        ref, geometry = layout.decoded(split, roi, dataset, decoded_name, layer), layout.decoded_geometry(n, n_units)
        arrays.create(workspace, ref, shape=(n, n_units), dtype="float32", geometry=geometry, made_by=group.key)


def blocks(study: Study, tile: Tile, rows: Array) -> Iterator[tuple[slice, Array]]:
    """Yield ranges of a tile's units, from 0, with their features (n_stimuli, n); the next ones are read meanwhile."""
    units = inputs.units_of(study, tile.group)
    spans = ranges(tile.stop - tile.start, needs.UNITS_AT_ONCE)

    def read(span: tuple[int, int]) -> Array:
        return inputs.features(study, tile.group, rows, units, tile.start + span[0], tile.start + span[1])

    with ThreadPoolExecutor(1, thread_name_prefix="read-features") as reader:
        ahead = reader.submit(read, spans[0])
        for i, span in enumerate(spans):
            block = ahead.result()
            if i + 1 < len(spans):
                ahead = reader.submit(read, spans[i + 1])
            yield slice(*span), xp.module().asarray(block)


@functools.cache
def compile_kernels() -> None:
    """Compile (or load) what fits and predicts units on a few numbers, once in a process.

    The compiler keeps the arguments of a first call until the next collection of garbage: with real ones a batch of
    systems would stand in memory twice (measured: 730 instead of 410 MiB at k = 500). A GPU's kernels are others.
    """
    if xp.module() is not np:
        return
    samples = np.random.default_rng(0).standard_normal((12, 6), np.float32)
    known = stats.brain_statistics(samples, np.arange(12) % 6, n_threads=1)
    assert known.gram is not None, "there are repeats"
    known.gram.setflags(write=False)  # as a mapped file is: another type to the compiler
    units = decoder.fit_units(known, samples[:6, :2], n_voxels=3, alpha=1.0, n_threads=1)
    decoder.predict_units(samples[:2], units, n_threads=1)


def write_fit(study: Study, tile: Tile) -> list[Path]:
    """Fit one range of units; store the decoders, or with `fit.decode` only what they predict."""
    split, roi, decoded_name, layer = inputs.names(tile.group)
    known, rows = inputs.brain_statistics(study, split, roi)
    estimator, predict = estimators.estimator(study, tile.group, known=known), estimators.predictor(study)
    n_voxels = len(known.mean)
    k, alpha = choosing.chosen(study, tile.group, n_voxels=n_voxels)
    if tile.start == 0 and study.fit.n_voxels != "all":
        for note in decoder.usable_voxels_note(known, k):
            warnings.warn(note, stacklevel=2)
    n_units, width = tile.stop - tile.start, 0 if study.fit.decode else k
    test = inputs.test_patterns(study, split, roi) if study.fit.decode else {}
    dtype = np.dtype(layout.voxel_dtype(n_voxels))
    results: dict[str, Array] = {"stats": np.empty((n_units, 3), np.float32)}
    if study.fit.per_unit:
        results["alpha"] = np.empty((n_units, 1), np.float32)
    if width:
        results["voxel"] = np.full((n_units, width), np.iinfo(dtype).max, dtype)
        results["weight"] = np.zeros((n_units, width), np.float32)
    predicted = {dataset: np.empty((len(Z), n_units), np.float32) for dataset, Z in test.items()}
    choices: list[Choice] = []
    for units, Y in blocks(study, tile, rows):
        penalty: float | Array | None = alpha
        if penalty is None:
            choices.append(choosing.unit_penalties(study, split, roi, Y, k=k))
            penalty = xp.module().asarray(choices[-1].penalty)
            results["alpha"][units, 0] = xp.to_numpy(penalty)
        found = estimator.fit(Y, n_voxels=k, alpha=penalty, first=tile.start + units.start)
        _keep(results, units, found)
        stored = decoder.from_table(found.voxel, found.weight, xp.module().asarray(results["stats"][units]))
        for dataset, Z in test.items():
            predicted[dataset][:, units] = xp.to_numpy(predict(Z, stored))
    for note in choosing.notes_of(choices) if choices else []:
        warnings.warn(note, stacklevel=2)
    workspace, files = layout.workspace_of(study), []
    for part, values in results.items():
        ref = layout.decoder(split, roi, decoded_name, layer, part)
        files += arrays.write(workspace, ref, (tile.start, 0), values)
    for dataset, values in predicted.items():
        ref = layout.decoded(split, roi, dataset, decoded_name, layer)
        files += arrays.write(workspace, ref, (0, tile.start), values)
    return files


def _keep(results: dict[str, Array], units: slice, found: decoder.UnitDecoders) -> None:
    """Copy fitted decoders into the rows of the results."""
    for i, column in enumerate((found.bias, found.y_mean, found.y_scale)):
        results["stats"][units, i] = xp.to_numpy(column)
    if "voxel" in results:
        results["voxel"][units, : found.voxel.shape[1]] = xp.to_numpy(found.voxel)
        results["weight"][units, : found.voxel.shape[1]] = xp.to_numpy(found.weight)


def create_out_of_fold(study: Study, group: Group, *, n_stimuli: int) -> None:
    """Create the arrays of one layer's out-of-fold predictions; nothing happens where identical ones exist."""
    split, roi, decoded_name, layer = inputs.names(group)
    workspace, sizes = layout.workspace_of(study), shapes.read(study)
    n_units = study.n_decoded(sizes.n_units(study.network_of(decoded_name), layer), layer)
    geometries = {
        "features": ((n_stimuli, n_units), layout.decoded_geometry(n_stimuli, n_units)),
        "stats": ((n_units, 2), layout.unit_geometry(n_units, 2)),
    }
    for part, (shape, geometry) in geometries.items():
        ref = layout.out_of_fold(split, roi, decoded_name, layer, part)
        arrays.create(workspace, ref, shape=shape, dtype="float32", geometry=geometry, made_by=group.key)


def write_out_of_fold(study: Study, tile: Tile) -> list[Path]:
    """Predict each training stimulus of a range of units by decoders that never saw it; store what is left over too."""
    from hpc_recon.numerics import out_of_fold

    split, roi, decoded_name, layer = inputs.names(tile.group)
    known, rows = inputs.brain_statistics(study, split, roi)
    n_voxels, n_units = len(known.mean), tile.stop - tile.start
    del known
    settings = choosing.chosen_inside(study, tile.group) if study.fit.has_grids else None
    predictions, stats = np.empty((len(rows), n_units), np.float32), np.empty((n_units, 2), np.float32)
    for units, Y in blocks(study, tile, rows):
        folds = inputs.folds(study, split, roi)
        own = estimators.fold_estimator(study, tile.group, first=tile.start + units.start)
        bias = study.fit.penalize_bias
        if settings is None:
            k, alpha = study.fit.most_voxels(n_voxels), study.fit.alpha_candidates[0]
            found = out_of_fold.predict(folds, Y, n_voxels=k, alpha=alpha, penalize_bias=bias, predict_fold=own)
        else:
            found = out_of_fold.predict_chosen(folds, Y, settings=settings, penalize_bias=bias, predict_fold=own)
        predictions[:, units] = xp.to_numpy(found.predictions)
        stats[units, 0], stats[units, 1] = xp.to_numpy(found.residual_variance), xp.to_numpy(found.correlation)
    workspace, files = layout.workspace_of(study), []
    for part, values, start in (("features", predictions, (0, tile.start)), ("stats", stats, (tile.start, 0))):
        files += arrays.write(workspace, layout.out_of_fold(split, roi, decoded_name, layer, part), start, values)
    return files
