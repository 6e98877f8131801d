"""Choice of the number of voxels and the ridge penalty by cross-validation inside the training set.

Folds hold out whole stimuli (never one repeat of a stimulus that another repeat trains), and everything is fitted
again in each fold: z-scoring of voxels and units, selection, weights. One ranking of the voxels serves every k,
and one set of k x k systems every alpha.

The score is the explained variance of held-out stimuli, 1 - sum((y - p)^2) / sum((y - m)^2), over all units and folds,
m being the mean over the training folds: predicting that scores 0. Each unit is divided by its standard deviation over
all training stimuli, so that units count alike; dividing by that of the training folds would let a unit that is
nearly constant there outweigh all others (pixels at the border of digits did). The correlation, which is reported
beside it, does not see how far predictions are shrunken, and so hardly distinguishes large penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import ridge
from hpc_recon.numerics.decoder import UNIT_BLOCK, scores, standardised_targets
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import BrainStatistics, average_by, brain_statistics, mean_and_scale, standardise
from hpc_recon.numerics.voxels import ranked_voxels
from hpc_recon.numerics.xp import namespace, to_numpy


@dataclass(frozen=True)
class Choice:
    """The chosen values, and the scores of all candidates."""

    n_voxels: int
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

    def as_dict(self) -> dict[str, object]:
        """Return plain Python values, for JSON; one row per candidate in `table`."""
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
        chosen = {"n_voxels": self.n_voxels, "alpha": self.alpha, "score": "explained_variance"}
        return {**chosen, "folds": self.n_folds, "units": self.n_units, "warnings": list(self.warnings), "table": table}


@dataclass(frozen=True)
class _Sums:
    """Additive parts of the scores of one block of units in one fold; arrays (n_k, n_alpha) or plain numbers."""

    errors: Array
    total: float
    correlations: Array
    n_correlations: int

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.errors + other.errors,
            self.total + other.total,
            self.correlations + other.correlations,
            self.n_correlations + other.n_correlations,
        )


def deal_folds(n_stimuli: int, n_folds: int, *, seed: int) -> Array:
    """Return the fold of each stimulus (n_stimuli,) int64: sizes differ by one at most.

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
        raise DataError(
            f"cross-validation needs at least two folds and two stimuli in each, got {n_stimuli} training stimuli for "
            f"{n_folds} folds; set fit.folds to at most {max(n_stimuli // 2, 2)}"
        )
    return np.random.default_rng(seed).permutation(np.arange(n_stimuli) % n_folds)


def choose(
    X: Array,
    Y: Array,
    *,
    stimulus: Array,
    n_voxels: Sequence[int],
    alphas: Sequence[float],
    n_folds: int,
    seed: int,
    n_threads: int | None = None,
) -> Choice:
    """Choose the number of voxels and the penalty with the largest held-out explained variance.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
        Training samples.
    Y : (n_stimuli, n_units), raw, finite
        A sample of units; the same library as X.
    stimulus : (n_samples,) int
        Row of Y of each sample; every row must occur.
    n_voxels, alphas
        Candidates; one value each is allowed. Numbers above the usable voxels mean all usable voxels.
    n_folds
        Folds of stimuli. Held-out repeats are averaged before they are predicted, as test data are.
    seed
        Deals the stimuli to folds.

    Returns
    -------
    Choice
        On equal scores the smaller k, then the larger alpha: the simpler model.

    Raises
    ------
    DataError
        If there are too few stimuli for the folds, or no unit varies.

    Notes
    -----
    Memory: `numerics.needs.choice_bytes`. The result does not depend on `n_threads`.
    """
    ks, penalties = tuple(sorted(set(n_voxels))), tuple(sorted(set(alphas)))
    shown = int((namespace(stimulus).bincount(stimulus, minlength=Y.shape[0]) > 0).sum())
    if shown != Y.shape[0]:
        raise DataError(f"every row of Y must be shown in a sample, but {Y.shape[0] - shown} of {Y.shape[0]} are not")
    folds = deal_folds(Y.shape[0], n_folds, seed=seed)
    total: _Sums | None = None
    varying = np.zeros(Y.shape[1], bool)
    for fold in range(n_folds):
        sums, units = _score_fold(
            X, Y, stimulus=stimulus, held_out=folds == fold, ks=ks, alphas=penalties, n_threads=n_threads
        )
        total = sums if total is None else total + sums
        varying |= units
    if total is None or not total.total > 0:
        raise DataError(f"none of the {Y.shape[1]} units varies over the training stimuli; nothing can be chosen")
    explained = 1.0 - total.errors / total.total
    correlation = total.correlations / max(total.n_correlations, 1)
    best = max(np.ndindex(explained.shape), key=lambda at: (explained[at], -at[0], at[1]))
    notes = _edge_notes("n_voxels", ks, best[0]) + _edge_notes("alpha", penalties, best[1])
    if explained[best] <= 0:
        notes.append(f"no candidate predicts held-out stimuli better than their mean (best: {explained[best]:.4f})")
    chosen, n_units = (ks[best[0]], penalties[best[1]]), int(varying.sum())
    return Choice(*chosen, ks, penalties, explained, correlation, n_folds, n_units, tuple(notes))


def _edge_notes(name: str, grid: Sequence[float], at: int) -> list[str]:
    """Return a warning if the best value is the first or the last of its grid."""
    if len(grid) < 2 or 0 < at < len(grid) - 1:
        return []
    side = "smallest" if at == 0 else "largest"
    return [f"the chosen {name} {grid[at]:g} is the {side} of its grid of {len(grid)}; a wider grid may do better"]


def _score_fold(
    X: Array,
    Y: Array,
    *,
    stimulus: Array,
    held_out: Array,
    ks: Sequence[int],
    alphas: Sequence[float],
    n_threads: int | None,
) -> tuple[_Sums, Array]:
    """Fit without the held-out stimuli and score them; also which units vary."""
    xp = namespace(X, Y, stimulus)
    held = xp.asarray(held_out)
    place = xp.where(held, xp.cumsum(held) - 1, xp.cumsum(~held) - 1)  # row of a stimulus among its own kind
    test_sample = held[stimulus]
    train = xp.flatnonzero(~test_sample)
    n_train = int((~held_out).sum())
    brain = brain_statistics(X[train], place[stimulus[train]], n_stimuli=n_train, n_threads=n_threads)
    test = xp.flatnonzero(test_sample)
    patterns, _ = average_by(X[test], place[stimulus[test]], n=int(held_out.sum()))
    Z = standardise(patterns, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)  # (n_test, n_voxels)
    rows = xp.flatnonzero(~held), xp.flatnonzero(held)

    def score_block(start: int) -> tuple[_Sums, Array]:
        units = slice(start, start + UNIT_BLOCK)
        return _score_block(brain, Y[:, units], rows=rows, Z=Z, ks=ks, alphas=alphas)

    count = 1 if xp is not np else n_threads or threads.available()
    blocks = for_each(score_block, range(0, Y.shape[1], UNIT_BLOCK), n_threads=count)
    sums = blocks[0][0]
    for other, _ in blocks[1:]:
        sums = sums + other
    return sums, np.concatenate([varies for _, varies in blocks])


def _score_block(
    brain: BrainStatistics,
    Y: Array,
    *,
    rows: tuple[Array, Array],
    Z: Array,
    ks: Sequence[int],
    alphas: Sequence[float],
) -> tuple[_Sums, Array]:
    """Score every candidate on one block of units; units that are constant in training do not count.

    `rows` are the training and the held-out rows of Y, `Z` the held-out brain patterns.
    """
    xp = namespace(Y)
    targets, mean, scale = standardised_targets(Y[rows[0]], dtype=brain.sums.dtype)
    varies = scale > 0
    truth = standardise(Y[rows[1]], mean=mean, scale=scale, dtype=xp.float64).T[varies]  # (units, n_test)
    _, whole = mean_and_scale(Y)
    weight = (scale[varies] / whole[varies])[:, None] ** 2  # from the folds' variance to that of all stimuli
    score, products = scores(brain, targets)
    ranking = ranked_voxels(score, min(max(ks), brain.n_usable))
    intercept = ((targets @ brain.counts.astype(xp.float64)) / brain.n_samples)[varies, None]
    centred = truth - truth.mean(axis=1, keepdims=True)
    defined = (centred * centred).sum(axis=1) > 0  # the correlation of a constant is not defined
    errors, correlations = np.empty((len(ks), len(alphas))), np.empty((len(ks), len(alphas)))
    for i, k in enumerate(ks):
        chosen = xp.sort(ranking[:, :k], axis=1)
        rhs = xp.take_along_axis(products, chosen, axis=1)
        weights, _ = ridge.solve(brain, chosen, rhs=rhs, targets=targets, alphas=alphas)
        for j in range(len(alphas)):
            predicted = _predict(Z, chosen, weights[j])[varies] + intercept  # (units, n_test)
            errors[i, j] = float((weight * (truth - predicted) ** 2).sum())
            correlations[i, j] = float(_correlations(predicted[defined], centred[defined]).sum())
    sums = _Sums(errors, float((weight * truth * truth).sum()), correlations, int(defined.sum()))
    return sums, to_numpy(varies)


def _predict(Z: Array, chosen: Array, weight: Array) -> Array:
    """Return (n_units, n_test) predictions on the z-scored scale, float64."""
    xp = namespace(Z, weight)
    dense = xp.zeros((weight.shape[0], Z.shape[1]), dtype=weight.dtype)
    dense[xp.arange(len(chosen))[:, None], chosen] = weight
    predicted: Array = (dense @ Z.T).astype(xp.float64)
    return predicted


def _correlations(predicted: Array, centred: Array) -> Array:
    """Return the correlation of each row with centred rows; a constant prediction has correlation 0."""
    xp = namespace(predicted)
    p = predicted - predicted.mean(axis=1, keepdims=True)
    norm = xp.sqrt((p * p).sum(axis=1) * (centred * centred).sum(axis=1))
    correlation: Array = xp.where(norm > 0, (p * centred).sum(axis=1) / xp.where(norm > 0, norm, 1.0), 0.0)
    return correlation
