"""How well converted activity agrees with measured activity: mean correlations of single trials, and their ceiling.

All correlations between R trials of one side and Q of the other are never computed: with profiles standardised to
mean 0 and length 1, their mean is the product of the two mean profiles, and the mean correlation among R trials is
(|sum|^2 - R) / (R (R - 1)).
"""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Voxels whose null distribution is held at a time: 10,000 permutations are 40 MiB then.
_AT_ONCE = 1024


def unit_profiles(trials: Array) -> Array:
    """Return profiles (n_trials, n_points, n_series) with mean 0 and length 1 over the points; NaN where constant."""
    centred = trials.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.sqrt((centred * centred).sum(axis=1, keepdims=True))
    size = np.abs(trials).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Array = centred / np.where(length > 1e-6 * size, length, np.nan)
    return result


def mean_correlation(first: Array, second: Array) -> Array:
    """Return the mean of the correlations of every trial of one side with every trial of the other, (n_series,).

    Parameters
    ----------
    first : (R, n_points, n_series)
    second : (Q, n_points, n_series)
        Single trials: points are stimuli and series voxels (profiles), or the reverse (patterns).

    Raises
    ------
    DataError
        If points or series differ, or there are fewer than two points.
    """
    if first.shape[1:] != second.shape[1:] or first.shape[1] < 2:
        raise DataError(
            f"both sides need the same stimuli and voxels, at least two of them, but are {first.shape} and "
            f"{second.shape}; match them by label first"
        )
    result: Array = (unit_profiles(first).mean(axis=0) * unit_profiles(second).mean(axis=0)).sum(axis=0)
    return result


def noise_ceiling(trials: Array) -> Array:
    """Return the mean correlation among the trials of one side, (n_series,), at least 0; NaN where a trial is constant.

    Raises
    ------
    DataError
        If there is one trial only: repeats cannot be compared.
    """
    return np.maximum(_among(unit_profiles(_repeated(trials)).sum(axis=0), len(trials)), 0.0)


def ceiling_threshold(trials: Array, *, permutations: int, seed: int, percentile: float = 99.0) -> Array:
    """Return what `noise_ceiling` (before it is cut at 0) stays below by chance, (n_series,).

    Each trial's points are permuted on their own, all series alike; the percentile is over the permutations.
    """
    profiles = unit_profiles(_repeated(trials))
    n_trials, n_points, n_series = profiles.shape
    threshold = np.empty(n_series)
    for start in range(0, n_series, _AT_ONCE):
        rng = np.random.default_rng(seed)  # the same permutations for every series
        block = profiles[:, :, start : start + _AT_ONCE].astype(np.float32)
        null = np.empty((permutations, block.shape[2]), np.float32)
        for number in range(permutations):
            order = rng.permuted(np.tile(np.arange(n_points), (n_trials, 1)), axis=1)
            total = block[0, order[0]]
            for trial in range(1, n_trials):
                total += block[trial, order[trial]]
            null[number] = _among(total, n_trials)
        threshold[start : start + _AT_ONCE] = np.percentile(null, percentile, axis=0)
    return threshold


def normalised(correlation: Array, ceiling: Array, threshold: Array) -> Array:
    """Return correlation / ceiling within -1 and 1; NaN where the ceiling is not above its threshold.

    >>> normalised(np.array([0.1, 0.5, 0.1]), np.array([0.2, 0.4, 0.01]), np.array([0.05, 0.05, 0.05])).tolist()
    [0.5, 1.0, nan]
    """
    reliable = (ceiling > threshold) & (ceiling > 0)
    result: Array = np.full(len(correlation), np.nan)
    result[reliable] = np.clip(correlation[reliable] / ceiling[reliable], -1.0, 1.0)
    return result


def _among(total: Array, n_trials: int) -> Array:
    """Return the mean correlation among unit profiles with this sum over trials (n_points, n_series)."""
    result: Array = ((total * total).sum(axis=0) - n_trials) / (n_trials * (n_trials - 1))
    return result


def _repeated(trials: Array) -> Array:
    if trials.ndim != 3 or len(trials) < 2 or trials.shape[1] < 2:
        raise DataError(
            f"a noise ceiling needs two or more trials of two or more stimuli, got {trials.shape}; ingest the test "
            "dataset with repeats: keep"
        )
    return trials
