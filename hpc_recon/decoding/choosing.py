"""Stage `choose` of `fit`: voxel number and penalty of each layer by cross-validation inside the training samples."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import read_json, write_json
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.decoding import estimators, inputs
from hpc_recon.numerics import choice, xp
from hpc_recon.stores import arrays, choices, layout, statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpc_recon.core.array import Array
    from hpc_recon.numerics.choice import Choice


def write_choice(study: Study, tile: Tile) -> tuple[list[Path], int]:
    """Choose for a layer, on a random sample of its units; return the file and the voxels that its decoders read."""
    split, roi, _, _ = inputs.names(tile.group)
    Y, n_voxels = _sample(study, tile.group)
    chosen = _choose(study, split, roi, Y, n_voxels=study.fit.voxel_candidates or [n_voxels], per_unit=False)
    for note in chosen.warnings:
        warnings.warn(note, stacklevel=2)
    return [write_json(choice_path(study, tile.group), chosen.as_dict())], min(chosen.n_voxels, n_voxels)


def write_choice_inside(study: Study, tile: Tile) -> list[Path]:
    """Choose for each fold of a layer by cross-validation over the other folds, for out-of-fold predictions."""
    from hpc_recon.numerics import folds

    split, roi, _, _ = inputs.names(tile.group)
    Y, n_voxels = _sample(study, tile.group)
    found, library = inputs.training(study, split, roi), xp.module()
    known, rows = inputs.brain_statistics(study, split, roi)
    dealt = inputs.folds_of_stimuli(study, split, len(rows))
    samples, codes = library.asarray(found.samples), library.asarray(np.searchsorted(rows, found.rows)[found.codes])
    pairs = folds.make_pairs(samples, codes, n_stimuli=len(rows), fold_of_stimulus=dealt)
    del known
    chosen = choice.choose_nested(
        pairs,
        Y,
        fold_of_stimulus=dealt,
        n_voxels=study.fit.voxel_candidates or [n_voxels],
        alphas=study.fit.alpha_candidates,
        penalize_bias=study.fit.penalize_bias,
        predictor=estimators.pair_predictor(study, samples, codes),
    )
    return [write_json(choice_path(study, tile.group), [one.as_dict() for one in chosen])]


def _sample(study: Study, group: Group) -> tuple[Array, int]:
    """Return the features of the training stimuli of at most `fit.choice_units` units, and the ROI's voxels."""
    split, roi, decoded_name, layer = inputs.names(group)
    network, workspace = study.network_of(decoded_name), layout.workspace_of(study)
    units = inputs.units_of(study, group)
    if units is None:
        units = np.arange(arrays.describe(workspace, layout.features(network, layer)).shape[1])
    if len(units) > study.fit.choice_units:
        rng = np.random.default_rng(seed_of(study.seed, "choice", network, layer))
        units = np.sort(rng.choice(units, size=study.fit.choice_units, replace=False))
    rows = statistics.read(workspace, split, roi, "rows")
    n_voxels = len(statistics.read(workspace, split, roi, "mean"))
    return xp.module().asarray(inputs.features(study, group, rows, units, 0, len(units))), n_voxels


def _choose(study: Study, split: str, roi: str, Y: Array, *, n_voxels: Sequence[int], per_unit: bool) -> Choice:
    return choice.choose(
        inputs.folds(study, split, roi),
        Y,
        n_voxels=n_voxels,
        alphas=study.fit.alpha_candidates,
        per="unit" if per_unit else "layer",
        penalize_bias=study.fit.penalize_bias,
        predictor=estimators.fold_predictor(study, split, roi),
    )


def unit_penalties(study: Study, split: str, roi: str, Y: Array, *, k: int) -> Choice:
    """Return the choice of the penalty of each unit (`unit_alpha`) by cross-validation with k voxels.

    Units that do not vary get the largest penalty.
    """
    return _choose(study, split, roi, Y, n_voxels=[k], per_unit=True)


def notes_of(found: Sequence[Choice]) -> list[str]:
    """Return the warnings of choices per unit as those of one choice: units at an end of the grid are counted together.

    Parameters
    ----------
    found
        Of one range of units after the other, with the same candidates.
    """
    grid, n_units = found[0].alpha_grid, sum(one.n_units for one in found)
    smallest, largest = 0, 0
    notes: dict[str, None] = {}
    for one in found:
        assert one.unit_alpha is not None, "chosen per unit"
        constant = len(one.unit_alpha) - one.n_units  # they have the largest penalty without having chosen it
        low = int((one.unit_alpha == grid[0]).sum()) if len(grid) > 1 else 0
        high = int((one.unit_alpha == grid[-1]).sum()) - constant if len(grid) > 1 else 0
        smallest, largest = smallest + low, largest + high
        notes |= dict.fromkeys(one.warnings[(low > 0) + (high > 0) :])  # what comes after its own counts
    ends = [
        f"{n:,} of {n_units:,} units chose the {side} alpha of the grid, {alpha:g}; a wider grid may do better"
        for side, n, alpha in (("smallest", smallest, grid[0]), ("largest", largest, grid[-1]))
        if n
    ]
    return [*ends, *notes]


def choice_path(study: Study, group: Group) -> Path:
    """Return where the choice of a layer lies."""
    return choices.path_of(study, group.path)


def chosen(study: Study, group: Group, *, n_voxels: int) -> tuple[int, float | None]:
    """Return voxel number and penalty of a layer: the study's, or those that the `choose` stage wrote.

    The penalty is None where each unit has its own.
    """
    fit = study.fit
    if not fit.chooses_per_layer:
        k = fit.most_voxels(n_voxels)
        return k, None if fit.per_unit else fit.alpha_candidates[0]
    content = _read_choice(study, group)
    return min(int(content["n_voxels"]), n_voxels), None if fit.per_unit else float(content["alpha"])


def chosen_inside(study: Study, group: Group) -> list[tuple[int, float]]:
    """Return voxel number and penalty of each fold, chosen without its stimuli."""
    return [(int(content["n_voxels"]), float(content["alpha"])) for content in _read_choice(study, group)]


def _read_choice(study: Study, group: Group) -> Any:
    path = choice_path(study, group)
    if not path.exists():
        raise MissingStore(
            f"the choice {path} does not exist; run `python -m hpc_recon.fit --study <study file>` without --only"
        )
    return read_json(path)
