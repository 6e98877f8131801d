"""Choice of the number of voxels and the ridge penalty by cross-validation inside the training set.

Folds hold out whole stimuli (never one repeat of a stimulus that another repeat trains), and everything is fitted
again in each fold: z-scoring of voxels and units, selection, weights. One ranking of the voxels serves every k,
and one set of k x k systems every alpha.

The score is the explained variance of held-out stimuli, 1 - sum((y - p)^2) / sum((y - m)^2), over all units and folds,
m being the mean over the training folds: predicting that scores 0. Each unit is divided by its standard deviation over
all training stimuli, so that units count alike; dividing by that of the training folds would let a unit that is
nearly constant there outweigh all others (pixels at the border of digits did). The correlation, which is reported
beside it, does not see how far predictions are shrunken, and so hardly distinguishes large penalties.

The score of the chosen candidate is the best of many, so it is slightly optimistic; `choose_nested` chooses for each
fold without looking at it, which is what honest predictions (`numerics.out_of_fold`) need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.memory import array_bytes
from hpc_recon.numerics.decoder import UNIT_BLOCK
from hpc_recon.numerics.fold_scores import PATTERN_NUMBERS, Predict, UnitScores, ridge_predictor, score_fold
from hpc_recon.numerics.folds import Fold
from hpc_recon.numerics.needs import (
    GATHER_PER_SECOND,
    GEMM_PER_SECOND,
    SLACK_BYTES,
    SOLVE_PER_SECOND,
    SORT_PER_SECOND,
    solve_bytes,
)
from hpc_recon.numerics.ridge import batch_size
from hpc_recon.numerics.stats import DIRECT_SAMPLES, mean_and_scale, require_finite_units
from hpc_recon.numerics.xp import namespace, to_numpy


@dataclass(frozen=True)
class Choice:
    """The chosen values, and the scores of all candidates."""

    n_voxels: int
    #: The best common penalty.
    alpha: float
    #: Candidates, ascending.
    n_voxels_grid: tuple[int, ...]
    alpha_grid: tuple[float, ...]
    #: (candidates of n_voxels, candidates of alpha), float64: over all units, held-out stimuli and folds.
    explained_variance: Array
    #: The same shape: correlation over the held-out stimuli of a fold, averaged over units and folds.
    correlation: Array
    n_folds: int
    #: Units that were not constant in at least one fold.
    n_units: int
    #: Sentences for the user, such as a choice at the edge of its grid.
    warnings: tuple[str, ...]
    #: Penalty of each unit (n_units,), float64, where each has its own; the largest of the grid for constant units.
    unit_alpha: Array | None = None

    @property
    def penalty(self) -> float | Array:
        """The penalty to fit with: one number, or one of each unit (n_units,)."""
        return self.alpha if self.unit_alpha is None else self.unit_alpha

    @property
    def setting(self) -> tuple[int, float | Array]:
        """Number of voxels and penalty, as `out_of_fold.predict_chosen` takes them."""
        return self.n_voxels, self.penalty

    def as_dict(self) -> dict[str, object]:
        """Return plain Python values, for JSON; one row per candidate in `table`, units counted per penalty."""
        table = [
            {
                "n_voxels": k,
                "alpha": alpha,
                "explained_variance": float(self.explained_variance[i, j]),
                "correlation": float(self.correlation[i, j]),
            }
            for i, k in enumerate(self.n_voxels_grid)
            for j, alpha in enumerate(self.alpha_grid)
        ]
        content: dict[str, object] = {"n_voxels": self.n_voxels, "alpha": self.alpha, "score": "explained_variance"}
        content["per"] = "layer" if self.unit_alpha is None else "unit"
        if self.unit_alpha is not None:
            counts = [int((self.unit_alpha == alpha).sum()) for alpha in self.alpha_grid]
            content["units_of_alpha"] = [
                {"alpha": alpha, "units": n} for alpha, n in zip(self.alpha_grid, counts, strict=True)
            ]
        content |= {"folds": self.n_folds, "units": self.n_units, "warnings": list(self.warnings)}
        return content | {"table": table}


def deal_folds(n_stimuli: int, n_folds: int, *, seed: int, option: str = "fit.folds") -> Array:
    """Return the fold of each stimulus (n_stimuli,) int64: sizes differ by one at most.

    Parameters
    ----------
    option
        Key of the study that says how many folds, for the error.

    Raises
    ------
    DataError
        If there are fewer stimuli than two in each fold.

    Examples
    --------
    >>> np.bincount(deal_folds(11, 3, seed=0)).tolist()
    [4, 4, 3]
    """
    if n_folds < 2 or n_stimuli < 2 * n_folds:
        most = n_stimuli // 2
        remedy = f"set {option} to at most {most}" if most >= 2 else "give four training stimuli or more"
        raise DataError(
            f"cross-validation needs at least two folds and two stimuli in each, got {n_stimuli} training stimuli for "
            f"{n_folds} folds; {remedy}"
        )
    return np.random.default_rng(seed).permutation(np.arange(n_stimuli) % n_folds)


def choose(
    folds: Iterable[Fold],
    Y: Array,
    *,
    n_voxels: Sequence[int],
    alphas: Sequence[float],
    per: Literal["layer", "unit"] = "layer",
    penalize_bias: bool = False,
    n_threads: int | None = None,
    predictor: Callable[[Fold], Predict] | None = None,
) -> Choice:
    """Choose the number of voxels and the penalty with the largest held-out explained variance.

    Parameters
    ----------
    folds
        See `numerics.folds.make_folds`; together they hold out every row of Y once. One is looked at at a time.
    Y : (n_stimuli, n_units), raw, finite
        A sample of units, or all of them; the same library as the folds.
    n_voxels, alphas
        Candidates; one value each is allowed. Numbers above the usable voxels mean all usable voxels.
    per
        `layer`: one penalty for all units. `unit`: one for each, at the number of voxels that is best with a common
        penalty.
    penalize_bias
        As in `decoder.fit_decoder`.
    n_threads
        Default: what the worker may use; 1 with cupy. The result does not depend on it.
    predictor
        Another estimator: prepares one fold and returns the function that predicts a block of units for each
        candidate (`fold_scores.Predict`). Default: the best voxels of each unit, ridge.

    Returns
    -------
    Choice
        On equal scores the smaller k, then the larger alpha: the simpler model.

    Raises
    ------
    DataError
        If values of Y are not finite, a row of Y is held out never or twice, or no unit varies (per layer; per unit all
        get the largest penalty).

    Notes
    -----
    Memory: `choose_bytes`, time: `choose_seconds`.
    """
    ks, penalties = tuple(sorted(set(n_voxels))), tuple(sorted(set(alphas)))
    table = UnitScores.empty(len(ks), len(penalties), n_units=Y.shape[1])
    require_finite_units(Y)
    _, whole_scale = mean_and_scale(Y)
    held = np.zeros(Y.shape[0], np.int64)
    n_folds = 0
    for fold in folds:
        predict = predictor(fold) if predictor else ridge_predictor(fold, ks, penalties)
        parts = [(slice(None), whole_scale, table)]
        score_fold(fold, Y, predict, alphas=penalties, penalize_bias=penalize_bias, parts=parts, n_threads=n_threads)
        held[to_numpy(fold.test_rows)] += 1
        n_folds += 1
        del fold, predict  # else its Gram matrix lives on while the next one is made
    require_held_out(held, times=1)
    return _best(table, ks, penalties, per=per, n_folds=n_folds)


def choose_nested(
    pairs: Iterable[Fold],
    Y: Array,
    *,
    fold_of_stimulus: Array,
    n_voxels: Sequence[int],
    alphas: Sequence[float],
    per: Literal["layer", "unit"] = "layer",
    penalize_bias: bool = False,
    n_threads: int | None = None,
    predictor: Callable[[Fold], Predict] | None = None,
) -> tuple[Choice, ...]:
    """Choose for each fold by cross-validation over the other folds, so that its own stimuli have no say.

    Parameters
    ----------
    pairs
        See `numerics.folds.make_pairs`: what is fitted without folds i and j scores fold j for the choice of fold i,
        and fold i for that of fold j.
    fold_of_stimulus : (n_stimuli,) int
        The fold of each row of Y, as it was given to `make_pairs`.

    Returns
    -------
    One `Choice` for each fold. The other parameters and errors are those of `choose`; units are weighed by their
    standard deviation over the rows outside the fold.
    """
    ks, penalties = tuple(sorted(set(n_voxels))), tuple(sorted(set(alphas)))
    n_folds = int(np.max(fold_of_stimulus)) + 1
    require_finite_units(Y)
    tables = [UnitScores.empty(len(ks), len(penalties), n_units=Y.shape[1]) for _ in range(n_folds)]
    xp, dealt = namespace(Y), np.asarray(fold_of_stimulus)
    scales = [mean_and_scale(Y[xp.asarray(np.flatnonzero(dealt != fold))])[1] for fold in range(n_folds)]
    held = np.zeros(Y.shape[0], np.int64)
    for pair in pairs:
        rows = to_numpy(pair.test_rows)
        i, j = np.unique(dealt[rows])
        parts = [
            (xp.asarray(np.flatnonzero(dealt[rows] == scored)), scales[chosen], tables[chosen])
            for scored, chosen in ((i, j), (j, i))
        ]
        predict = predictor(pair) if predictor else ridge_predictor(pair, ks, penalties)
        score_fold(pair, Y, predict, alphas=penalties, penalize_bias=penalize_bias, parts=parts, n_threads=n_threads)
        held[rows] += 1
        del pair, predict
    require_held_out(held, times=n_folds - 1)
    return tuple(_best(table, ks, penalties, per=per, n_folds=n_folds - 1) for table in tables)


def require_held_out(held: Array, *, times: int) -> None:
    """Raise unless every row of Y was held out this often; `held` counts (n_stimuli,)."""
    wrong = np.flatnonzero(held != times)
    if len(wrong):
        raise DataError(
            f"the folds must hold out every row of Y {'once' if times == 1 else f'{times} times'}, but {len(wrong)} of "
            f"{len(held)} are not (first: row {wrong[0]}, {held[wrong[0]]} times); every row must be shown in a sample"
        )


def _best(
    table: UnitScores,
    ks: tuple[int, ...],
    alphas: tuple[float, ...],
    *,
    per: Literal["layer", "unit"],
    n_folds: int,
) -> Choice:
    """Return the choice that the scores make."""
    whole = table.total.sum()
    n_units = table.total.shape[0]
    varies = table.total > 0
    if not varies.any():
        if per == "layer":
            raise DataError(f"none of the {n_units} units varies over the training stimuli; nothing can be chosen")
        nothing = np.zeros((len(ks), len(alphas)))  # the units of one range may well be constant, all of them
        largest = np.full(n_units, alphas[-1], np.float64)
        return Choice(ks[0], alphas[-1], ks, alphas, nothing, nothing, n_folds, 0, (), largest)
    explained = 1.0 - table.errors.sum(axis=-1) / whole
    correlation = table.correlations.sum(axis=-1) / max(int(table.n_correlations.sum()), 1)
    best = max(np.ndindex(explained.shape), key=lambda at: (explained[at], -at[0], at[1]))
    notes, unit_alpha, reached = _edge_notes("n_voxels", ks, best[0]), None, float(explained[best])
    if per == "unit":
        errors = table.errors[best[0]]  # (n_alphas, n_units)
        last = len(alphas) - 1 - errors[::-1].argmin(axis=0)  # of equal scores the larger alpha
        at = np.where(varies, last, len(alphas) - 1)
        unit_alpha = np.asarray(alphas, np.float64)[at]
        reached = float(1.0 - errors.min(axis=0).sum() / whole)
        notes += _unit_edge_notes(alphas, at[varies])
    else:
        notes += _edge_notes("alpha", alphas, best[1])
    if reached <= 0:
        notes.append(f"no candidate predicts held-out stimuli better than their mean (best: {reached:.4f})")
    chosen = (ks[best[0]], alphas[best[1]], ks, alphas)
    return Choice(*chosen, explained, correlation, n_folds, int(varies.sum()), tuple(notes), unit_alpha)


def _edge_notes(name: str, grid: Sequence[float], at: int) -> list[str]:
    """Return a warning if the best value is the first or the last of its grid."""
    if len(grid) < 2 or 0 < at < len(grid) - 1:
        return []
    side = "smallest" if at == 0 else "largest"
    return [f"the chosen {name} {grid[at]:g} is the {side} of its grid of {len(grid)}; a wider grid may do better"]


def _unit_edge_notes(grid: Sequence[float], at: Array) -> list[str]:
    """Return a warning for each end of the grid of alphas that units chose, with their number."""
    ends = [("smallest", 0), ("largest", len(grid) - 1)] if len(grid) > 1 else []
    return [
        f"{n:,} of {len(at):,} units chose the {side} alpha of the grid, {grid[end]:g}; a wider grid may do better"
        for side, end in ends
        if (n := int((at == end).sum()))
    ]


def choose_bytes(
    n_units: int, *, n_stimuli: int, n_test: int, n_voxels: int, k: int, n_k: int, n_alphas: int, n_threads: int
) -> int:
    """Return the peak bytes of `choose`, without its inputs: the folds (`folds.folds_bytes`) and Y.

    The tables (two float64 numbers a candidate and unit; for `choose_nested` as often as there are folds), and a fold's
    patterns, transposed. For each thread, for a block of units: products, their absolute values, a partly sorted
    copy and a mask (n_voxels each); targets in float64 and float32; voxel numbers and products of the ranking; the
    systems, gathered or in float64; or, with few samples, all of them transposed and those of a batch's voxels; the
    weights of every alpha; the patterns gathered; and four float64 copies of the predictions.
    """
    tables = 8 * n_units * (2 * n_k * n_alphas + 4)
    ranking = 14 * UNIT_BLOCK * n_voxels + 4 * 8 * UNIT_BLOCK * (n_stimuli + k)
    solving = solve_bytes(k, n_units=UNIT_BLOCK)
    if n_stimuli <= max(k, DIRECT_SAMPLES):
        direct = array_bytes(n_stimuli, n_voxels + k * batch_size(k, n_samples=n_stimuli))
        solving = max(solving, solve_bytes(k, n_units=1, plain=True) + direct)
    weights = array_bytes(UNIT_BLOCK, k * n_alphas) + max(4 * PATTERN_NUMBERS, array_bytes(k, n_test))
    predictions = 4 * array_bytes(UNIT_BLOCK, n_k * n_alphas * n_test, itemsize=8)
    block = ranking + solving + weights + predictions
    return tables + array_bytes(n_test, n_voxels) + n_threads * block + SLACK_BYTES


def choose_seconds(
    n_units: int, *, n_stimuli: int, n_voxels: int, ks: Sequence[int], n_alphas: int, n_folds: int, n_threads: int
) -> float:
    """Return the seconds of `choose`: for each fold a ranking, and for each k a gather and a solution per alpha."""
    ranking = 2 * n_stimuli * n_voxels / GEMM_PER_SECOND + n_voxels / SORT_PER_SECOND
    solving = sum(k**2 / 2 / GATHER_PER_SECOND + n_alphas * k**3 / 3 / SOLVE_PER_SECOND for k in ks)
    return n_folds * n_units * (ranking + solving) / n_threads
