"""Stage `converters` of `convert`: one block of one pair is fitted to the paired training samples."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from hpc_recon.conversion import blocks, pairing
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics import alignment, converter
from hpc_recon.numerics.stats import mean_and_scale, standardise
from hpc_recon.stores import arrays, images, layout, tables


def presented(study: Study, subject: str) -> pairing.Presented:
    """Read what the training samples of a subject show, and when."""
    ref = layout.samples_columns(subject, study.training_dataset)
    columns = tables.read_checked(layout.workspace_of(study), ref)
    when = {name: [float(x) for x in columns[name]] for name in ("session", "run") if _complete(columns.get(name))}
    return pairing.Presented(subject, tuple(str(label) for label in columns["label"]), when)


def _complete(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(x, (int, float)) for x in values)


def pairs(study: Study, split: str) -> pairing.Paired:
    """Return the paired training samples of a split of converted samples.

    Raises
    ------
    DataError
        As `pairing.pair`.
    """
    options, table = blocks.options_of(study), images.read_table(layout.workspace_of(study))
    return pairing.pair(
        presented(study, seen_by(split)),
        presented(study, owner(split)),
        categories=dict(zip(table.labels, table.category, strict=True)),
        n_pairs=options.samples,
        common=options.stimuli == "common",
        shuffle_seed=seed_of(study.seed, "convert", split) if options.shuffle else None,
    )


def penalties(study: Study, n_pairs: int) -> tuple[float, ...]:
    """Return the penalties to choose from; none for orthogonal maps.

    Raises
    ------
    DataError
        If none was published for that number of pairs.
    """
    options = blocks.options_of(study)
    if options.method != "ridge":
        return ()
    if options.alpha != "published":
        return options.alpha
    return (converter.published_alpha("whole" if len(options.blocks) == 1 else "subareas", n_pairs),)


def write_block(study: Study, tile: Tile) -> list[Path]:
    """Fit and write one block of a pair, and what was chosen for it."""
    split = tile.group.path[-1]
    options, where, paired = blocks.options_of(study), blocks.voxels(study, split)[tile.start], pairs(study, split)
    X = _samples(study, seen_by(split), paired.source, where.source)
    Y = _samples(study, owner(split), paired.target, where.target)
    candidates, stimulus = penalties(study, len(paired.source)), paired.stimulus
    if options.average:
        X, Y, stimulus = *(pairing.averaged(side, stimulus) for side in (X, Y)), np.unique(stimulus)
    chosen: dict[str, object] = {"pair": split, "block": where.name, "n_pairs": len(X), "method": options.method}
    if not candidates:
        block = _orthogonal(options.method, X, Y)
    else:
        n_voxels = None if options.n_voxels == "all" else options.n_voxels
        alpha = candidates[0]
        if len(candidates) > 1:
            found = converter.choose_alpha(
                X,
                Y,
                stimulus,
                alphas=candidates,
                n_folds=options.folds,
                seed=seed_of(study.seed, "convert-folds", split),
                n_voxels=n_voxels,
            )
            alpha = found.alpha
            chosen |= {"alphas": list(found.alphas), "explained_variance": list(found.explained_variance)}
            if alpha in (found.alphas[0], found.alphas[-1]):
                warnings.warn(
                    f"the best penalty of {where.name} of {split} is {alpha:g}, at the end of those tried; try others",
                    stacklevel=2,
                )
        chosen["alpha"] = alpha
        block = converter.fit_block(X, Y, alpha=alpha, n_voxels=n_voxels)
    path = layout.conversion_file(study, split, name=f"chosen-{where.name}.json")
    return [*blocks.write(study, split, where, block, made_by=tile.group.key), write_json(path, chosen)]


def _orthogonal(method: str, X: Array, Y: Array) -> converter.Block:
    """Return an orthogonal map of z-scored samples as a block; there is no bias."""
    (x_mean, x_scale), (y_mean, y_scale) = mean_and_scale(X), mean_and_scale(Y)
    Z = standardise(X, mean=x_mean, scale=x_scale, dtype=np.float64)
    T = standardise(Y, mean=y_mean, scale=y_scale, dtype=np.float64)
    if method == "procrustes":
        R = alignment.procrustes(Z, T)
    else:
        first, second = alignment.hyperalign([Z, T])
        R = first @ second.T
    voxel = np.arange(X.shape[1], dtype=np.int32)[None]
    bias = np.zeros(Y.shape[1], np.float32)
    return converter.Block(x_mean, x_scale, voxel, R.T.astype(np.float32), bias, y_mean, y_scale)


def _samples(study: Study, subject: str, rows: Array, voxels: Array) -> Array:
    """Read some training samples and voxels of a subject (n_pairs, n_voxels) float32, in the order of the pairs."""
    ref = layout.samples(subject, study.training_dataset)
    found = arrays.read(layout.workspace_of(study), ref, None, voxels)
    return found if np.array_equal(rows, np.arange(len(found))) else found[rows]
