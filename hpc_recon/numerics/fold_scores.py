"""Scores of units on the held-out stimuli of a fold: predictions of every candidate, their errors and correlations.

Everything about the units is fitted again in each fold too: their mean and standard deviation, their voxels, their
weights. One ranking of the voxels serves every k, and one set of k x k systems every alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.numerics import ridge
from hpc_recon.numerics.decoder import UNIT_BLOCK, scores, standardised_targets
from hpc_recon.numerics.folds import Fold
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import CONSTANT, standardise
from hpc_recon.numerics.voxels import ranked_voxels
from hpc_recon.numerics.xp import namespace, to_numpy

#: Numbers of held-out patterns that are gathered at a time for the prediction of a few units: 16 MiB of float32.
PATTERN_NUMBERS = 1 << 22
#: The same on a GPU, which wants many units at once: 512 MiB.
DEVICE_PATTERN_NUMBERS = 1 << 27

#: One block of units: z-scored targets (n_units, n_train) to predictions (n_k, n_alphas, n_test, n_units), intercept
#: left out, on the same scale.
Predict: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class UnitScores:
    """Scores of units on held-out stimuli, which add up over folds; float64, numpy.

    Units that are constant in training count nothing: all their numbers are 0.
    """

    #: Sum of squared errors and of squared deviations from the training mean, in variances over all stimuli.
    errors: Array  # (..., n_units), one for each candidate
    total: Array  # (n_units,)
    #: Sum of correlations over the held-out stimuli, and how many there are: it is not defined for a constant.
    correlations: Array  # (..., n_units)
    n_correlations: Array  # (n_units,) int64

    @classmethod
    def empty(cls, *candidates: int, n_units: int) -> UnitScores:
        """Return scores to which nothing has been added yet, for a table of candidates of this shape."""
        table = (*candidates, n_units)
        return cls(np.zeros(table), np.zeros(n_units), np.zeros(table), np.zeros(n_units, np.int64))

    def add(self, other: UnitScores, units: slice) -> None:
        """Add the scores of one fold to a range of units."""
        self.errors[..., units] += other.errors
        self.total[units] += other.total
        self.correlations[..., units] += other.correlations
        self.n_correlations[units] += other.n_correlations


def score_predictions(predicted: Array, truth: Array, *, scale: Array, whole_scale: Array) -> UnitScores:
    """Return the scores of predictions of held-out stimuli.

    Parameters
    ----------
    predicted : (..., n_test, n_units)
        On the units' z-scored scale: (raw - mean) / scale, mean and scale over the training rows. Leading axes are
        candidates, such as (n_alphas,).
    truth : (n_test, n_units)
        On the same scale.
    scale, whole_scale : (n_units,)
        Standard deviation of each unit over the training rows, and over all rows.
    """
    xp = namespace(predicted, truth, scale, whole_scale)
    varies = scale > 0
    weight = xp.where(varies, (scale / xp.where(whole_scale > 0, whole_scale, 1.0)) ** 2, 0.0)
    truth = truth.astype(xp.float64)
    p = predicted.astype(xp.float64)
    errors = weight * ((truth - p) ** 2).sum(axis=-2)
    centred, p = deviations(truth), deviations(p)
    squares = (centred * centred).sum(axis=0)
    defined = varies & (squares > 0)
    norm = xp.sqrt((p * p).sum(axis=-2) * squares)
    products = (p * centred).sum(axis=-2)
    correlations = xp.where(defined & (norm > 0), products / xp.where(norm > 0, norm, 1.0), 0.0)
    sums = (errors, weight * (truth * truth).sum(axis=0), correlations, defined.astype(xp.int64))
    return UnitScores(*(to_numpy(array) for array in sums))


def deviations(values: Array) -> Array:
    """Return the deviations of (..., n, n_units) values from their mean over n; 0 where they are constant.

    Constant is the rule of `stats.mean_and_scale`. The mean of equal numbers may differ from them in the last bit,
    and correlations of what is then left would be any number.
    """
    xp = namespace(values)
    mean = values.mean(axis=-2, keepdims=True)
    deviation = values - mean
    squares = (deviation * deviation).sum(axis=-2, keepdims=True)
    result: Array = xp.where(squares > values.shape[-2] * (CONSTANT * mean) ** 2, deviation, 0.0)
    return result


def ridge_predictor(fold: Fold, ks: Sequence[int], alphas: Sequence[float]) -> Predict:
    """Return the predictions of each unit from its best voxels, for each k and alpha."""
    xp = namespace(fold.test_patterns)
    brain = fold.brain
    patterns = xp.ascontiguousarray(fold.test_patterns.T)  # (n_voxels, n_test): a voxel's patterns are one piece

    def predict(targets: Array) -> Array:
        score, products = scores(brain, targets)
        ranking = ranked_voxels(score, min(max(ks), brain.n_usable))
        predicted: Array = xp.empty((len(ks), len(alphas), patterns.shape[1], len(targets)), dtype=targets.dtype)
        for i, k in enumerate(ks):
            chosen = xp.sort(ranking[:, :k], axis=1)
            rhs = xp.take_along_axis(products, chosen, axis=1)
            weights, _ = ridge.solve(brain, chosen, rhs=rhs, targets=targets, alphas=alphas)
            predicted[i] = _predicted(patterns, chosen, weights)
        return predicted

    return predict


def _predicted(patterns: Array, chosen: Array, weights: Array) -> Array:
    """Return (n_alphas, n_test, n_units) predictions without intercepts, from weights (n_alphas, n_units, k).

    The patterns of a unit's voxels are gathered once and serve all penalties: k instead of n_voxels numbers each.
    """
    xp = namespace(patterns, weights)
    n_alphas, n_units, k = weights.shape
    n_test = patterns.shape[1]
    predicted: Array = xp.empty((n_units, n_alphas, n_test), dtype=weights.dtype)
    size = max(1, (PATTERN_NUMBERS if xp is np else DEVICE_PATTERN_NUMBERS) // (k * n_test))
    for start in range(0, n_units, size):
        units = slice(start, start + size)
        xp.matmul(weights[:, units].transpose(1, 0, 2), patterns[chosen[units]], out=predicted[units])
    return predicted.transpose(1, 2, 0)


def score_fold(
    fold: Fold,
    Y: Array,
    predict: Predict,
    *,
    alphas: Sequence[float],
    penalize_bias: bool,
    parts: Sequence[tuple[slice | Array, Array, UnitScores]],
    n_threads: int | None,
) -> None:
    """Fit without the held-out stimuli, block by block of units, and add the scores of each part to its table.

    Parameters
    ----------
    fold
        See `numerics.folds`.
    Y : (n_stimuli, n_units), raw, finite
    predict
        Such as `ridge_predictor(fold, ...)`.
    alphas, penalize_bias
        The second axis of the predictions; they decide the intercepts, as in `decoder.fit_decoder`.
    parts
        Places of some of the held-out stimuli, the scale of each unit by which its errors are weighed (n_units,), and
        the table that their scores go to.
    n_threads
        Default: what the worker may use; 1 with cupy. The result does not depend on it: no two blocks write one unit.
    """
    xp = namespace(fold.test_patterns, Y)
    counts = fold.brain.counts.astype(xp.float64)
    divisors = xp.asarray([fold.brain.n_samples + (alpha if penalize_bias else 0.0) for alpha in alphas])

    def score_block(start: int) -> None:
        units = slice(start, start + UNIT_BLOCK)
        targets, mean, scale = standardised_targets(Y[fold.train_rows, units], dtype=fold.brain.sums.dtype)
        truth = standardise(Y[fold.test_rows, units], mean=mean, scale=scale, dtype=xp.float64)  # (n_test, units)
        # (n_alphas, units), not 0 where repeats are unbalanced; not a product, whose last bits would vary.
        intercepts = (targets * counts).sum(axis=1) / divisors[:, None]
        predicted = predict(targets) + intercepts[:, None, :]
        for places, whole_scale, table in parts:
            own = predicted[:, :, places]
            table.add(score_predictions(own, truth[places], scale=scale, whole_scale=whole_scale[units]), units)

    count = 1 if xp is not np else n_threads or threads.available()
    for_each(score_block, range(0, Y.shape[1], UNIT_BLOCK), n_threads=count)
