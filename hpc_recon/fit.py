"""Fit decoders: for each unit the voxels that correlate most, then ridge regression.

Three stages. `statistics`: z-scoring, Gram matrix and sums per stimulus of each split and ROI, once for all networks.
`choose` (only with grids in the study): voxel number and penalty of each layer by cross-validation. `fit`: one tile a
shard of units; with `fit.decode: true` the test data are predicted there and then, and no decoders are stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.numerics.choice import Choice
    from hpc_recon.numerics.stats import BrainStatistics


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return the tiles of all stages.

    Raises
    ------
    MissingStore
        If brain samples or features do not exist yet.
    """
    return [*_plan_statistics(study, shapes), *_plan_choices(study, shapes), *_plan_fits(study, shapes)]


def _plan_statistics(study: Study, shapes: Shapes) -> list[Tile]:
    from hpc_recon.numerics import needs

    settings = canonical({"training": study.training_dataset})
    tiles = []
    for split in study.splits():
        n_samples, n_stimuli = _training_sizes(study, shapes, split)
        for roi in study.rois:
            n_voxels = shapes.n_voxels(split, roi)
            upstream = (f"{study.source_verb}/{split}", f"{study.source_verb}/stimuli")
            bytes_in, bytes_out = array_bytes(n_samples, n_voxels), array_bytes(n_voxels, n_voxels + n_stimuli)
            need = Need(
                host_bytes=needs.statistics_tile_bytes(n_samples, n_voxels, n_stimuli=n_stimuli),
                device_bytes=bytes_out + 2 * bytes_in + array_bytes(n_stimuli, n_voxels, itemsize=8),
                bytes_in=bytes_in,
                bytes_out=bytes_out,
                files_out=6,
                seconds=store_seconds(bytes_in + bytes_out)
                + needs.statistics_seconds(n_samples, n_voxels, n_threads=threads.available()),
            )
            tiles.append(Tile(Group("fit", (split, roi, "_brain"), settings, upstream), "statistics", 0, 1, need))
    return tiles


def _plan_choices(study: Study, shapes: Shapes) -> list[Tile]:
    from hpc_recon.numerics import needs

    if not study.fit.has_grids:
        return []
    tiles, n_threads = [], threads.available()
    ks, n_alphas = study.fit.voxel_candidates, len(study.fit.alpha_candidates)
    for group, network, layer in _layer_groups(study, shapes):
        n_samples, n_stimuli = _training_sizes(study, shapes, group.path[0])
        n_voxels = shapes.n_voxels(*group.path[:2])
        n_units = min(study.fit.choice_units, study.n_decoded(shapes.n_units(network, layer)))
        sizes: dict[str, int] = {"n_voxels": n_voxels, "n_stimuli": n_stimuli, "n_threads": n_threads}
        fold_seconds = needs.statistics_seconds(n_samples, n_voxels, n_threads=n_threads) + sum(
            n_alphas * needs.fit_seconds(n_units, k=min(k, n_voxels), **sizes) for k in ks
        )
        bytes_in = array_bytes(n_samples, n_voxels) + array_bytes(n_stimuli, n_units)
        need = Need(
            host_bytes=needs.choice_tile_bytes(
                n_units, n_samples=n_samples, n_voxels=n_voxels, n_stimuli=n_stimuli, k=max(ks), n_alphas=n_alphas
            ),
            bytes_in=bytes_in,
            bytes_out=1024 + 128 * len(ks) * n_alphas,
            files_out=1,
            seconds=store_seconds(bytes_in) + study.fit.folds * fold_seconds,
        )
        tiles.append(Tile(group, "choose", 0, 1, need))
    return tiles


def _plan_fits(study: Study, shapes: Shapes) -> list[Tile]:
    from hpc_recon.numerics import needs
    from hpc_recon.stores import layout

    tiles = []
    for group, network, layer in _layer_groups(study, shapes):
        split, roi = group.path[:2]
        n_voxels, (_, n_stimuli) = shapes.n_voxels(split, roi), _training_sizes(study, shapes, split)
        items = [shapes.n_items(split, name) for name in study.test_datasets(split)] if study.fit.decode else []
        k = min(max(study.fit.voxel_candidates), n_voxels)
        n_units = study.n_decoded(shapes.n_units(network, layer))
        for start, stop in ranges(n_units, layout.units_per_shard(n_units)):
            n = stop - start
            bytes_in = array_bytes(n_stimuli, n) + array_bytes(n_voxels, n_voxels + n_stimuli)
            bytes_out = array_bytes(n, 3) + (
                array_bytes(n, sum(items)) if items else needs.decoder_bytes(n, k, n_voxels)
            )
            need = Need(
                host_bytes=needs.fit_tile_bytes(n, n_voxels=n_voxels, n_stimuli=n_stimuli, k=k, n_items=items),
                device_bytes=needs.device_bytes(min(n, needs.UNITS_AT_ONCE), n_voxels=n_voxels, n_stimuli=n_stimuli),
                bytes_in=bytes_in,
                bytes_out=bytes_out,
                files_out=1 + (len(items) or 2),
                seconds=store_seconds(bytes_in + bytes_out)
                + needs.fit_seconds(n, n_voxels=n_voxels, n_stimuli=n_stimuli, k=k, n_threads=threads.available()),
            )
            tiles.append(Tile(group, "fit", start, stop, need))
    return tiles


def _training_sizes(study: Study, shapes: Shapes, split: str) -> tuple[int, int]:
    """Return the number of training samples, and the most stimuli that they can show."""
    n_samples = shapes.n_samples(split, study.training_dataset)
    return n_samples, min(n_samples, shapes.n_stimuli())


def _layer_groups(study: Study, shapes: Shapes) -> list[tuple[Group, str, str]]:
    """Return the group of each split, ROI, network and layer, with the network's own name and the layer's."""
    groups = []
    for split, roi, network, layer in study.layer_sets():
        path = (split, roi, study.decoded_name(network), layer)
        upstream = (f"fit/{split}/{roi}/_brain", f"{study.source_verb}/{split}", shapes.made_by(network, layer))
        groups.append((Group("fit", path, _settings(study, split), upstream), network, layer))
    return groups


def _settings(study: Study, split: str) -> str:
    """Return what decoders depend on."""
    fit = study.fit
    settings: dict[str, object] = {
        "estimator": fit.estimator,
        "n_voxels": fit.voxel_candidates,
        "alpha": fit.alpha_candidates,
        "penalize_bias": fit.penalize_bias,
        "decode": fit.decode,
    }
    if fit.has_grids:
        settings |= {"folds": fit.folds, "choice_units": fit.choice_units}
    if fit.decode:
        settings |= {"datasets": study.test_datasets(split), "average": study.decode.average}
    if fit.has_grids or study.units is not None:
        settings |= {"units": study.units, "seed": study.seed}
    return canonical(settings)


def prepare(study: Study) -> None:
    """Create the arrays of decoders; with grids the choice creates them, which first knows their width."""
    from hpc_recon.stores import shapes as store_shapes

    shapes = store_shapes.read(study)
    for group, network, layer in _layer_groups(study, shapes):
        if not study.fit.has_grids or study.fit.decode:
            k = min(study.fit.voxel_candidates[0], shapes.n_voxels(*group.path[:2]))
            _create(study, group, n_units=study.n_decoded(shapes.n_units(network, layer)), k=k)


def _create(study: Study, group: Group, *, n_units: int, k: int) -> None:
    """Create the arrays of one layer; nothing happens where identical ones exist."""
    from hpc_recon.stores import arrays, layout, shapes

    split, roi, decoded_name, layer = group.path
    workspace, sizes = layout.workspace_of(study), shapes.read(study)
    parts = {"stats": (3, "float32")}
    if not study.fit.decode:
        parts |= {"voxel": (k, layout.voxel_dtype(sizes.n_voxels(split, roi))), "weight": (k, "float32")}
    for part, (width, dtype) in parts.items():
        ref, geometry = layout.decoder(split, roi, decoded_name, layer, part), layout.unit_geometry(n_units, width)
        arrays.create(workspace, ref, shape=(n_units, width), dtype=dtype, geometry=geometry, made_by=group.key)
    for dataset in study.test_datasets(split) if study.fit.decode else []:
        n = sizes.n_items(split, dataset)
        ref, geometry = layout.decoded(split, roi, dataset, decoded_name, layer), layout.decoded_geometry(n, n_units)
        arrays.create(workspace, ref, shape=(n, n_units), dtype="float32", geometry=geometry, made_by=group.key)


def work(study: Study, tile: Tile) -> list[Path]:
    """Compute and write one tile; return the files."""
    if tile.stage == "statistics":
        return _write_statistics(study, tile)
    return _write_choice(study, tile) if tile.stage == "choose" else _write_fit(study, tile)


def _write_statistics(study: Study, tile: Tile) -> list[Path]:
    from hpc_recon.numerics import stats, xp
    from hpc_recon.stores import layout, statistics

    split, roi, _ = tile.group.path
    samples, rows, codes = _training(study, split, roi)
    library = xp.module()
    found = stats.brain_statistics(library.asarray(samples), library.asarray(codes), n_stimuli=len(rows))
    names = ("mean", "scale", "sums", "counts", *(() if found.gram is None else ("gram",)))
    content = {name: xp.to_numpy(getattr(found, name)) for name in names}
    return statistics.write(layout.workspace_of(study), split, roi, {**content, "rows": rows})


def _training(study: Study, split: str, roi: str) -> tuple[Array, Array, Array]:
    """Read the training samples, the rows of their distinct stimuli (ascending), and each sample's place among them."""
    import numpy as np

    from hpc_recon.stores import brain, layout

    workspace = layout.workspace_of(study)
    read = brain.read_brain(workspace, split, study.training_dataset, roi)
    rows, codes = np.unique(brain.stimulus_rows(workspace, read.labels), return_inverse=True)
    return read.samples, rows.astype(np.int64), codes.astype(np.int64)


def _write_choice(study: Study, tile: Tile) -> list[Path]:
    import numpy as np

    from hpc_recon.core.files import write_json
    from hpc_recon.numerics import choice, xp
    from hpc_recon.stores import arrays, layout

    split, roi, _, layer = tile.group.path
    workspace, network = layout.workspace_of(study), study.network_of(tile.group.path[2])
    samples, rows, codes = _training(study, split, roi)
    features = layout.features(network, layer)
    n_all = arrays.describe(workspace, features).shape[1]
    units = unit_sample(study, network, layer, n_all)
    units = np.arange(n_all) if units is None else units
    n_units = len(units)
    if n_units > study.fit.choice_units:
        rng = np.random.default_rng(seed_of(study.seed, "choice", network, layer))
        units = np.sort(rng.choice(units, size=study.fit.choice_units, replace=False))
    library = xp.module()
    chosen: Choice = choice.choose(
        library.asarray(samples),
        library.asarray(arrays.read(workspace, features, rows, units)),
        stimulus=library.asarray(codes),
        n_voxels=study.fit.voxel_candidates,
        alphas=study.fit.alpha_candidates,
        n_folds=study.fit.folds,
        seed=seed_of(study.seed, "folds", split),
    )
    for note in chosen.warnings:
        warnings.warn(note, stacklevel=2)
    if not study.fit.decode:
        _create(study, tile.group, n_units=n_units, k=min(chosen.n_voxels, samples.shape[1]))
    return [write_json(_choice_path(workspace, tile.group), chosen.as_dict())]


def _choice_path(workspace: Path, group: Group) -> Path:
    return workspace.joinpath("choices", *group.path[:-1], f"{group.path[-1]}.json")


def _chosen(study: Study, workspace: Path, group: Group) -> tuple[int, float]:
    """Return voxel number and penalty: the study's, or those that the `choose` stage wrote."""
    from hpc_recon.core.errors import MissingStore
    from hpc_recon.core.files import read_json

    if not study.fit.has_grids:
        return study.fit.voxel_candidates[0], study.fit.alpha_candidates[0]
    path = _choice_path(workspace, group)
    if not path.exists():
        raise MissingStore(
            f"the choice {path} does not exist; run `python -m hpc_recon.fit --study <study file>` without --only"
        )
    content = read_json(path)
    return int(content["n_voxels"]), float(content["alpha"])


def _read_statistics(workspace: Path, split: str, roi: str) -> tuple[BrainStatistics, Array]:
    """Return the statistics in the library that the worker computes with, and the rows of the training stimuli."""
    from hpc_recon.numerics import stats, xp
    from hpc_recon.stores import statistics

    library = xp.module()
    mean, scale, sums, counts, rows = (
        statistics.read(workspace, split, roi, name) for name in ("mean", "scale", "sums", "counts", "rows")
    )
    gram = None
    if statistics.has_gram(workspace, split, roi):
        mapped = statistics.read(workspace, split, roi, "gram", mapped=True)
        gram = mapped if xp.namespace(mapped) is library else library.asarray(mapped)
    parts = [library.asarray(array) for array in (mean, scale, sums, counts)]
    return stats.BrainStatistics(int(counts.sum()), parts[0], parts[1], gram, parts[2], parts[3]), rows


def _write_fit(study: Study, tile: Tile) -> list[Path]:
    """Fit one range of units, block by block; store the decoders, or with `fit.decode` only what they predict."""
    import numpy as np

    from hpc_recon.numerics import decoder, needs, xp
    from hpc_recon.stores import arrays, layout

    split, roi, decoded_name, layer = tile.group.path
    workspace = layout.workspace_of(study)
    brain, rows = _read_statistics(workspace, split, roi)
    n_voxels, alpha = _chosen(study, workspace, tile.group)
    if tile.start == 0:
        for note in decoder.usable_voxels_note(brain, n_voxels):
            warnings.warn(note, stacklevel=2)
    features = _read_features(study, tile, rows)  # (n_stimuli, units)
    n_units, k, library = features.shape[1], min(n_voxels, len(brain.mean)), xp.module()
    table = np.empty((n_units, 3), np.float32)
    test = _test_samples(study, split, roi, brain=brain) if study.fit.decode else {}
    predicted = {dataset: np.empty((len(Z), n_units), np.float32) for dataset, Z in test.items()}
    width = 0 if study.fit.decode else k
    dtype = np.dtype(layout.voxel_dtype(len(brain.mean)))
    voxel = np.full((n_units, width), np.iinfo(dtype).max, dtype)
    weight = np.zeros((n_units, width), np.float32)
    for start, stop in ranges(n_units, needs.UNITS_AT_ONCE):
        block = library.asarray(features[:, start:stop])
        found = decoder.fit_units(brain, block, n_voxels=k, alpha=alpha, penalize_bias=study.fit.penalize_bias)
        for i, column in enumerate((found.bias, found.y_mean, found.y_scale)):
            table[start:stop, i] = xp.to_numpy(column)
        if width:
            voxel[start:stop, : found.voxel.shape[1]] = xp.to_numpy(found.voxel)
            weight[start:stop, : found.voxel.shape[1]] = xp.to_numpy(found.weight)
        stored = decoder.from_table(found.voxel, found.weight, library.asarray(table[start:stop]))
        for dataset, Z in test.items():
            predicted[dataset][:, start:stop] = xp.to_numpy(decoder.predict_units(Z, stored))
    del features
    first = (tile.start, 0)
    files = []
    for part, values in {"stats": table, **({"voxel": voxel, "weight": weight} if width else {})}.items():
        files += arrays.write(workspace, layout.decoder(split, roi, decoded_name, layer, part), first, values)
    for dataset, values in predicted.items():
        ref = layout.decoded(split, roi, dataset, decoded_name, layer)
        files += arrays.write(workspace, ref, (0, tile.start), values)
    return files


def _read_features(study: Study, tile: Tile, rows: Array) -> Array:
    """Read the features of the training stimuli for a tile's units, in the stored type."""
    from hpc_recon.stores import arrays, layout

    workspace, network = layout.workspace_of(study), study.network_of(tile.group.path[2])
    ref = layout.features(network, tile.group.path[3])
    units = unit_sample(study, network, tile.group.path[3], arrays.describe(workspace, ref).shape[1])
    columns = slice(tile.start, tile.stop) if units is None else units[tile.start : tile.stop]
    whole = int(rows[-1]) - int(rows[0]) + 1 == len(rows)  # the usual case, and the faster one
    return arrays.read(workspace, ref, slice(int(rows[0]), int(rows[-1]) + 1) if whole else rows, columns)


def _test_samples(study: Study, split: str, roi: str, *, brain: BrainStatistics) -> dict[str, Array]:
    """Return the samples of each test dataset, z-scored with the training statistics (n_items, n_voxels)."""
    from hpc_recon.numerics import stats, xp
    from hpc_recon.stores import brain as store

    library = xp.module()
    return {
        dataset: stats.standardise(
            library.asarray(store.read_items(study, split, dataset, roi).samples),
            mean=brain.mean,
            scale=brain.scale,
            dtype="float32",
        )
        for dataset in study.test_datasets(split)
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from hpc_recon.run import cli

    return cli.main("fit", argv)


if __name__ == "__main__":
    raise SystemExit(main())
