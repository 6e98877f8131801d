"""How well the units of a layer are predicted out of fold: a correlation each, and intervals of their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.fold_scores import deviations
from hpc_recon.numerics.scores import Interval, bootstrap_interval

#: Resamples that are drawn at once: beside the inputs, memory is a few arrays of so many rows.
_RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class ScreenedLayer:
    """Out-of-fold correlations of the units of one layer."""

    #: (n_units,) float64, NaN for a unit that is constant over the stimuli; 0 where only its predictions are.
    correlation: Array
    #: Mean over units, and its interval over units alone: what other units of the layer would give for these stimuli.
    units: Interval
    #: Limits of the mean over units and stimuli: what other units would give for other stimuli of this kind.
    low: float
    high: float


def score(
    predictions: Array,
    Y: Array,
    *,
    fold_of_stimulus: Array,
    confidence: float,
    resamples: int,
    seed: int,
) -> ScreenedLayer:
    """Correlate out-of-fold predictions with the truth, unit by unit.

    Both are taken as deviations from their mean over the stimuli of a fold: else the mean of the training stimuli,
    low where that of the held-out ones is high, would make predictions of nothing correlate negatively.

    Parameters
    ----------
    predictions, Y : (n_stimuli, n_units), numpy
        Each stimulus predicted by decoders fitted without its fold.
    fold_of_stimulus : (n_stimuli,) int
    confidence
        Level of the percentile intervals, in (0, 1).
    resamples
        Of the bootstrap. The combined interval resamples stimuli and units independently; decoders are not fitted
        again, and the means of the folds stay.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if predictions.shape != Y.shape or fold_of_stimulus.shape != Y.shape[:1]:
        raise ValueError(
            f"predictions, truth and folds must have a row for each stimulus, got {predictions.shape}, {Y.shape} and "
            f"{fold_of_stimulus.shape}"
        )
    p, y = np.empty(Y.shape), np.empty(Y.shape)
    for fold in np.unique(fold_of_stimulus):
        rows = fold_of_stimulus == fold
        p[rows], y[rows] = deviations(predictions[rows].astype(np.float64)), deviations(Y[rows].astype(np.float64))
    varies = np.ptp(Y, axis=0) > 0
    p, y = p[:, varies], y[:, varies]
    products = (p * y, p * p, y * y)  # (n_stimuli, units that vary)
    correlation = np.full(Y.shape[1], np.nan)
    correlation[varies] = _correlation(*(each.sum(axis=0) for each in products))
    over_units = bootstrap_interval(correlation, confidence=confidence, resamples=resamples, seed=seed)
    low, high = _combined(products, confidence=confidence, resamples=resamples, seed=seed)
    return ScreenedLayer(correlation, over_units, low, high)


def _correlation(cross: Array, own: Array, truth: Array) -> Array:
    """Return r from sums of products; 0 where nothing varies."""
    norm = np.sqrt(own * truth)
    return np.asarray(np.divide(cross, norm, out=np.zeros_like(norm), where=norm > 0))


def _combined(
    products: tuple[Array, Array, Array], *, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the percentile limits of the mean over resampled stimuli and units; NaN without units."""
    n_stimuli, n_units = products[0].shape
    if n_units == 0:
        return float("nan"), float("nan")
    rng, means = np.random.default_rng(seed), np.empty(resamples)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        n = min(_RESAMPLES_AT_ONCE, resamples - start)
        stimuli = rng.multinomial(n_stimuli, np.full(n_stimuli, 1 / n_stimuli), size=n).astype(np.float64)
        units = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n)  # how often each is drawn
        r = _correlation(*(stimuli @ each for each in products))  # (n, n_units)
        means[start : start + n] = (units * r).sum(axis=1) / n_units
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
