"""Stage `converters` of `convert`: one block of one pair is fitted to the paired training samples."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from hpc_recon.conversion import blocks, pairing, reading, spaces
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import Convert, owner, seen_by
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics import alignment, converter, transport, voxel_weights
from hpc_recon.numerics.stats import mean_and_scale, standardise
from hpc_recon.stores import layout


def pairs(study: Study, split: str) -> pairing.Paired:
    """Return the paired training samples of a split of converted samples.

    Raises
    ------
    DataError
        As `pairing.pair`.
    """
    source, target = (reading.presented(study, subject) for subject in (seen_by(split), owner(split)))
    return pairing.pair(source, target, **reading.rules(study, split))


def penalties(study: Study, n_pairs: int) -> tuple[float, ...]:
    """Return the penalties to choose from; none where the method is not ridge.

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


def require_repeats(paired: pairing.Paired, split: str) -> None:
    """Raise unless the paired samples hold repeats of a stimulus, which reliability is measured by.

    Raises
    ------
    DataError
        With the number of samples.
    """
    if not paired.repeat.any():
        raise DataError(
            f"convert.weighting: reliability needs repeats of stimuli, but each of the {len(paired.source)} paired "
            f"samples of {split} shows another; set equal, or give more samples"
        )


def gains(study: Study, X: Array, stimulus: Array) -> Array | None:
    """Return what z-scored source voxels are multiplied by before they are penalised; None: all are alike.

    Raises
    ------
    DataError
        If no repeats agree in any voxel.
    """
    options = blocks.options_of(study)
    share = voxel_weights.reliability(X, stimulus, of_means=options.average) if options.weighs else None
    return None if share is None else voxel_weights.gains(share)


def write_block(study: Study, tile: Tile) -> list[Path]:
    """Fit and write one block of a pair, and what was chosen for it."""
    split = tile.group.path[-1]
    options, where = blocks.options_of(study), blocks.voxels(study, split)[tile.start]
    if spaces.has_space(study):
        return _by_space(study, tile, where)
    paired = pairs(study, split)
    X = reading.samples(study, seen_by(split), paired.source, where.source)
    Y = reading.samples(study, owner(split), paired.target, where.target)
    candidates, stimulus, n_samples = penalties(study, len(paired.source)), paired.stimulus, len(paired.source)
    gain = gains(study, X, stimulus)
    if options.average:
        X, Y, stimulus = *(pairing.averaged(side, stimulus) for side in (X, Y)), np.unique(stimulus)
    chosen: dict[str, object] = {"pair": split, "block": where.name, "n_samples": n_samples, "n_pairs": len(X)}
    chosen["method"] = options.method
    if not candidates:
        block = _mapped(options, X, Y)
    else:
        n_voxels = None if options.n_voxels == "all" else options.n_voxels
        chosen["weighting"] = "equal" if gain is None else "reliability"
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
                gain=gain,
            )
            alpha = found.alpha
            chosen |= {"alphas": list(found.alphas), "explained_variance": list(found.explained_variance)}
            if alpha in (found.alphas[0], found.alphas[-1]):
                warnings.warn(
                    f"the best penalty of {where.name} of {split} is {alpha:g}, at the end of those tried; try others",
                    stacklevel=2,
                )
        chosen["alpha"] = alpha
        block = converter.fit_block(X, Y, alpha=alpha, n_voxels=n_voxels, gain=gain)
        if options.matches_variance:
            block, chosen["variance_factor"] = converter.match_variance(block, X)
    path = layout.conversion_file(study, split, name=f"chosen-{where.name}.json")
    return [*blocks.write(study, split, where, block, made_by=tile.group.key), write_json(path, chosen)]


def _by_space(study: Study, tile: Tile, where: blocks.Voxels) -> list[Path]:
    """Write one block of a pair by way of the space of all subjects, and who made that."""
    split = tile.group.path[-1]
    R, x, y = spaces.between(study, split, where)
    note: dict[str, object] = {"pair": split, "block": where.name, "n_pairs": len(spaces.together(study).stimulus)}
    note |= {"method": "hyperalignment", "template": study.subjects}
    path = layout.conversion_file(study, split, name=f"chosen-{where.name}.json")
    return [*blocks.write(study, split, where, _block(R, x, y), made_by=tile.group.key), write_json(path, note)]


def _mapped(options: Convert, X: Array, Y: Array) -> converter.Block:
    """Return a map of z-scored samples that has no penalty."""
    x, y = mean_and_scale(X), mean_and_scale(Y)
    Z, T = (standardise(side, mean=mean, scale=scale, dtype=np.float64) for side, (mean, scale) in ((X, x), (Y, y)))
    if options.method == "procrustes":
        R = alignment.procrustes(Z, T)
    elif options.method == "optimal_transport":
        R = transport.transport(Z, T, regularisation=options.regularisation)
    else:
        first, second = alignment.hyperalign([Z, T])
        R = first @ second.T
    return _block(R, x, y)


def _block(R: Array, x: tuple[Array, Array], y: tuple[Array, Array]) -> converter.Block:
    """Return a map of z-scored voxels (n_source, n_target) as a block, with mean and scale of both sides; no bias."""
    voxel = np.arange(len(R), dtype=np.int32)[None]
    return converter.Block(*x, voxel, R.T.astype(np.float32), np.zeros(R.shape[1], np.float32), *y)
