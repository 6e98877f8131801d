"""Noise ceilings of voxels: how alike a voxel's answers are when the same stimuli are shown again.

Two numbers from trials (n_repeats, n_stimuli, n_voxels), each for every voxel:

- the mean correlation over stimuli of one repeat with another (all pairs): the reliability of a single trial;
- the correlation of the means of two halves of the repeats, stepped up by Spearman and Brown to all of them (by
  2 r / (1 + r) for an even number): the reliability of the mean of all repeats. No model can correlate with that mean
  better than its square root.
"""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.scores import profile_correlation

#: Random halves that are averaged.
SPLITS = 20


def by_repeat(codes: Array) -> Array:
    """Return which samples are the first of each stimulus, the second, ..., (n_repeats, n_stimuli) int64.

    Samples beyond the number that every stimulus has are left out.

    Parameters
    ----------
    codes : (n_samples,) int
        The stimulus of each sample, from 0 without gaps.

    Examples
    --------
    >>> by_repeat(np.array([0, 1, 1, 0, 1])).tolist()
    [[0, 1], [3, 2]]
    """
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    first = np.cumsum(counts) - counts
    return np.asarray(order[first[None, :] + np.arange(counts.min())[:, None]], np.int64)


def repeat_correlation(trials: Array) -> Array:
    """Return the mean correlation of a repeat with another, (n_voxels,) float64.

    With each repeat z-scored over stimuli, z_r (n_stimuli,), the sum of the correlations of all pairs is
    (|sum_r z_r|^2 / n_stimuli - n_repeats): no pair is formed.

    Parameters
    ----------
    trials : (n_repeats, n_stimuli, n_voxels), finite

    Returns
    -------
    Array
        In [-1 / (n_repeats - 1), 1]; NaN for a voxel that does not vary in some repeat.

    Raises
    ------
    DataError
        For fewer than two repeats or three stimuli.
    """
    _require_enough(trials)
    n_repeats, n_stimuli, n_voxels = trials.shape
    total, constant = np.zeros((n_stimuli, n_voxels)), np.zeros(n_voxels, bool)
    for one in trials:
        z = one.astype(np.float64)
        mean = z.mean(axis=0)
        z -= mean
        deviation = np.sqrt((z * z).mean(axis=0))
        flat = deviation <= 1e-6 * np.abs(mean)  # float32 keeps seven digits: rounding
        constant |= flat
        total += z / np.where(flat, 1.0, deviation)
    r = ((total * total).sum(axis=0) / n_stimuli - n_repeats) / (n_repeats * (n_repeats - 1))
    return np.where(constant, np.nan, r)


def split_half(trials: Array, *, seed: int, splits: int = SPLITS) -> Array:
    """Return the reliability of the mean of all repeats, (n_voxels,) float64.

    The correlation of the means of two random halves (of an odd number of repeats one is left out), averaged over
    splits, then stepped up from the repeats of a half to all. Correlations of 0 or less give 0.

    Parameters
    ----------
    trials : (n_repeats, n_stimuli, n_voxels), finite

    Returns
    -------
    Array
        In [0, 1]; NaN for a voxel whose mean does not vary in some half.

    Raises
    ------
    DataError
        For fewer than two repeats or three stimuli.
    """
    _require_enough(trials)
    half = len(trials) // 2
    rng = np.random.default_rng(seed)
    total = np.zeros(trials.shape[2])
    for _ in range(splits):
        order = rng.permutation(len(trials))
        one, other = (trials[order[a:b]].mean(axis=0, dtype=np.float64) for a, b in ((0, half), (half, 2 * half)))
        total += profile_correlation(one, other)
    return stepped_up(total / splits, len(trials) / half)


def stepped_up(r: Array, times: float) -> Array:
    """Return m r / (1 + (m - 1) r), the reliability of a mean of `times` (m) as many repeats; 0 where r is 0 or less.

    Examples
    --------
    >>> stepped_up(np.array([0.5, -0.2]), 2).round(3).tolist(), stepped_up(np.array([0.5]), 3).tolist()
    ([0.667, 0.0], [0.75])
    """
    kept = np.where(r < 0, 0.0, r)  # NaN stays
    return np.asarray(times * kept / (1 + (times - 1) * kept))


def _require_enough(trials: Array) -> None:
    if trials.ndim != 3 or trials.shape[0] < 2 or trials.shape[1] < 3:
        raise DataError(
            "a noise ceiling needs two repeats or more of three stimuli or more, got (repeats, stimuli, voxels) "
            f"{trials.shape}; leave this dataset out"
        )
