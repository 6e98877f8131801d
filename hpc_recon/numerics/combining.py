"""Several predictions of the same numbers joined into one: weights for each number, fitted on honest predictions.

A shape is decoded from several areas. Their predictions of a cell are joined linearly, each cell with weights of its
own, fitted on predictions out of fold, in which no decoder had seen the image it predicts. What is fitted here is
cross-fitted too (`crossed`): a row is joined by weights that were fitted without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

Kind = Literal["ridge", "nonnegative", "average", "first"]


@dataclass(frozen=True)
class Combiner:
    """Weights of the sources of each number.

    Attributes
    ----------
    weights
        (n_sources, n_units) float64.
    offset
        (n_units,) float64, added to the weighted sum.
    """

    weights: Array
    offset: Array

    def apply(self, predictions: Array) -> Array:
        """Return the joined predictions (n, n_units) float32 of several ones (n_sources, n, n_units)."""
        return np.asarray(np.einsum("snu,su->nu", predictions, self.weights) + self.offset, np.float32)


def fit(predictions: Array, truth: Array, *, kind: Kind, alpha: float = 1.0) -> Combiner:
    """Fit the weights of each number.

    Parameters
    ----------
    predictions : (n_sources, n, n_units), finite
        What each source predicts.
    truth : (n, n_units)
        What it should be.
    kind
        ``ridge``: minimises sum((y - p w)^2) / var(y) + alpha |w - 1/n_sources|^2 for numbers and predictions less
        their means; so with little to learn from it is the average of the sources, corrected for their means.
        ``nonnegative``: least squares with weights >= 0 of the same. ``average``: weights 1 / n_sources, nothing is
        fitted. ``first``: the first source alone.

    Raises
    ------
    DataError
        If the shapes do not belong together.
    """
    if predictions.ndim != 3 or predictions.shape[1:] != truth.shape or not len(truth):
        raise DataError(
            f"predictions must be (sources, rows, units) of the rows and units of the truth, got {predictions.shape} "
            f"and {truth.shape}; read both by the same rows"
        )
    n_sources, n_units = len(predictions), truth.shape[1]
    if kind in ("average", "first"):
        weights = np.full((n_sources, n_units), 1.0 / n_sources)
        if kind == "first":
            weights[:] = (np.arange(n_sources) == 0)[:, None]
        return Combiner(weights, np.zeros(n_units))
    means, mean = predictions.mean(axis=1, dtype=np.float64), truth.mean(axis=0, dtype=np.float64)
    P = (predictions - means[:, None]).transpose(2, 1, 0)  # (units, rows, sources)
    y = (truth - mean).T[..., None]  # (units, rows, 1)
    weights = _ridge(P, y, alpha) if kind == "ridge" else _nonnegative(P, y)
    return Combiner(weights, mean - (weights * means).sum(axis=0))


def _ridge(P: Array, y: Array, alpha: float) -> Array:
    """Return ridge weights (sources, units) that are drawn towards the average."""
    n_sources = P.shape[2]
    variance = np.einsum("urk->u", y**2) / y.shape[1]
    gram = P.transpose(0, 2, 1) @ P + (alpha * variance)[:, None, None] * np.eye(n_sources)
    right = (P.transpose(0, 2, 1) @ y)[..., 0] + (alpha * variance / n_sources)[:, None]
    varies = variance > 0
    weights = np.full(right.shape, 1.0 / n_sources)
    weights[varies] = np.linalg.solve(gram[varies], right[varies][..., None])[..., 0]
    return np.ascontiguousarray(weights.T)


def _nonnegative(P: Array, y: Array) -> Array:
    """Return weights (sources, units) that are not negative."""
    return np.stack([nnls(own, wanted[:, 0])[0] for own, wanted in zip(P, y, strict=True)], axis=1)


def held_and_rest(folds: Sequence[Array], n: int) -> list[tuple[Array, Array]]:
    """Return for each fold its row numbers and those of all other folds.

    Raises
    ------
    DataError
        If the folds do not hold each of the `n` rows once.
    """
    held = np.concatenate(folds)
    if not np.array_equal(np.sort(held), np.arange(n)):
        raise DataError(f"folds must hold each of {n} rows once, but hold {len(held)}; deal them anew")
    return [(rows, np.setdiff1d(held, rows)) for rows in folds]


def crossed(predictions: Array, truth: Array, *, folds: Sequence[Array], kind: Kind, alpha: float = 1.0) -> Array:
    """Return the joined predictions (n, n_units) float32 of each row by weights that were fitted without its fold.

    Parameters
    ----------
    folds
        Row numbers of each fold; together every row once, and all rows of an image in one of them.

    Raises
    ------
    DataError
        If the folds do not hold every row once.
    """
    found = np.empty(truth.shape, np.float32)
    for rows, rest in held_and_rest(folds, len(truth)):
        found[rows] = fit(predictions[:, rest], truth[rest], kind=kind, alpha=alpha).apply(predictions[:, rows])
    return found
