"""How much of a voxel's variance is signal, from repeats: what a voxel of a converter's source may count for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.stats import BrainStatistics
from hpc_recon.numerics.xp import namespace

#: Voxels whose squares are summed at a time.
_AT_ONCE = 1024


def reliability(X: Array, stimulus: Array, *, of_means: bool) -> Array | None:
    """Return the share of signal in the variance of each voxel (n_voxels,) float64 in [0, 1]; None without repeats.

    One-way analysis of variance: with mean squares B between and W within stimuli, the means of a stimulus's samples
    have the reliability 1 - W / B, cut at 0. That of single samples follows by Spearman and Brown's formula.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    stimulus : (n_samples,) int
        What each sample shows.
    of_means
        Of the means of each stimulus's samples, else of single samples.

    Raises
    ------
    DataError
        If there are fewer than two stimuli.

    Examples
    --------
    >>> X = np.array([[1.0, 1.0], [1.0, 3.0], [5.0, 1.0], [5.0, 3.0]])
    >>> reliability(X, np.array([0, 0, 1, 1]), of_means=True).tolist()  # the second varies within stimuli alone
    [1.0, 0.0]
    """
    order = np.argsort(stimulus, kind="stable")
    _, first, counts = np.unique(stimulus[order], return_index=True, return_counts=True)
    if len(counts) < 2:
        raise DataError(f"reliability needs two stimuli or more, got {len(counts)}; give more paired samples")
    freedom = len(stimulus) - len(counts)
    if freedom == 0:
        return None
    mean_count = (len(stimulus) - (counts.astype(np.float64) ** 2).sum() / len(stimulus)) / (len(counts) - 1)
    found = np.zeros(X.shape[1])
    for start in range(0, X.shape[1], _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        own = X[order, part].astype(np.float64)
        own -= own.mean(axis=0)
        means = np.add.reduceat(own, first, axis=0) / counts[:, None]
        among = (counts[:, None] * means * means).sum(axis=0)
        left = np.maximum((own * own).sum(axis=0) - among, 0.0)
        between, within = among / (len(counts) - 1), left / freedom
        # What rounding leaves of a constant voxel is no signal.
        varies = between > 1e-12 * np.abs(X[:, part]).max(axis=0).astype(np.float64) ** 2
        found[part] = np.where(varies, np.clip(1 - within / np.where(varies, between, 1), 0, 1), 0)
    return found if of_means else found / (found + mean_count * (1 - found))


def gains(share: Array) -> Array:
    """Return what z-scored voxels are multiplied by before a ridge regression, whose mean square is 1.

    So a penalty shrinks as much in all as it does without gains, and a voxel the less the more reliable it is.

    Parameters
    ----------
    share : (n_voxels,)
        `reliability`.

    Raises
    ------
    DataError
        If it is 0 in all voxels.

    >>> gains(np.array([0.6, 0.8])).round(3).tolist()
    [0.849, 1.131]
    """
    size = float(np.sqrt(np.mean(share**2)))
    if size == 0:
        raise DataError(
            f"no repeat of a stimulus agrees with another in any of {len(share)} voxels, so none is more reliable; set "
            "convert.weighting: equal, or check the labels"
        )
    result: Array = share / size
    return result


def weighted(brain: BrainStatistics, gain: Array | None) -> BrainStatistics:
    """Return statistics by which voxels are z-scored, then multiplied by a gain (n_voxels,); None: as they are.

    The scale is divided by the gain, and 0 where the gain is 0, as that of constant voxels is. There is no Gram matrix.
    """
    if gain is None:
        return brain
    xp = namespace(brain.scale)
    gain = xp.asarray(gain)
    scale = xp.where(gain > 0, brain.scale / xp.where(gain > 0, gain, 1), 0)
    sums = (brain.sums * gain).astype(brain.sums.dtype)
    return replace(brain, scale=scale, sums=sums, gram=None)
