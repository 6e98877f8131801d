"""How much each unit counts, from how well decoders predicted stimuli that they had not seen (`fit.out_of_fold`).

Decoded features are averages over what a brain response may mean: shrunken towards the training mean, more so where
less was decoded. `residual` weighs squared differences by the inverse of what decoding leaves. `calibrated` describes
the decoder as a measurement: of a unit with true z-score t it says r^2 t + noise of variance r^2 (1 - r^2), r being its
out-of-fold correlation (that of a calibrated decoder, whose predictions have deviation r). The likeliest t is then the
decoded z-score / r^2, with precision r^2 / (1 - r^2): shrinkage is undone, and units that say little count little.
"""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array

#: Residual variances below this share of a layer's median are raised to it: a constant unit would take all weight.
_FLOOR = 1e-3
#: Units whose r^2 is smaller count for nothing: their decoded values would be enlarged without limit.
_LEAST_SHARE = 0.01
#: r^2 is taken to be at most this, so that no unit takes all weight.
_MOST_SHARE = 0.99


def residual_weights(residual_variance: Array) -> Array:
    """Return 1 / residual variance, scaled to a mean of 1 over units, (n_units,) float32.

    Parameters
    ----------
    residual_variance
        (n_units,), mean squared difference of true and out-of-fold features.
    """
    variance = np.asarray(residual_variance, np.float64)
    positive = variance[variance > 0]
    floor = _FLOOR * float(np.median(positive)) if positive.size else 1.0
    weights = 1.0 / np.maximum(variance, floor)
    return np.asarray(weights / weights.mean(), np.float32)


def calibrated(features: Array, *, correlation: Array, mean: Array, scale: Array) -> tuple[Array, Array]:
    """Return decoded features with their shrinkage undone, and weights of units scaled to a mean of 1.

    Parameters
    ----------
    features
        Decoded, (n, n_units), not norm-corrected.
    correlation
        Out of fold, (n_units,).
    mean, scale
        Of the training features, (n_units,).

    Returns
    -------
    Array
        (n, n_units) float32: `mean + (f - mean) / r^2`; unchanged for units that count for nothing.
    Array
        (n_units,) float32: `r^2 / (1 - r^2) / scale^2`; 0 where r <= 0.1 or the unit is constant. All 0 if there is no
        other unit.
    """
    r = np.asarray(correlation, np.float64)
    share = np.minimum(r**2, _MOST_SHARE)
    counts = (r > 0) & (share >= _LEAST_SHARE) & (np.asarray(scale) > 0)
    safe = np.where(counts, share, 1.0)
    enlarged = mean + (np.asarray(features, np.float64) - mean) / safe
    weights = np.where(counts, safe / np.where(counts, 1.0 - share, 1.0) / np.where(counts, scale, 1.0) ** 2, 0.0)
    if weights.any():
        weights = weights / weights.mean()
    return np.asarray(enlarged, np.float32), np.asarray(weights, np.float32)
