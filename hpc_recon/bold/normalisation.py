"""Label-free normalisation of samples within runs or sessions, and how much of the variance the session explains.

Neither looks at a label. A test set that is normalised with its own statistics uses all its samples to predict each of
them; that is transductive and must be said with every score, so it is part of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Part of the voxel variance that the session may explain before a warning: issue of pooled sessions, our choice.
SESSION_VARIANCE_LIMIT = 0.05
#: Voxels handled at a time, so that temporaries stay small beside the samples.
_BLOCK = 1024


@dataclass(frozen=True)
class Normalised:
    """What `normalise_groups` did: samples changed in place, groups and (group, voxel) pairs without spread."""

    n_groups: int
    n_constant: int


def _groups(groups: Array, n_samples: int) -> tuple[Array, Array]:
    """Return the group number of each sample and the samples of each group."""
    if groups.shape != (n_samples,):
        raise DataError(f"there are {n_samples} samples, but groups of shape {groups.shape}. One is needed a sample.")
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return member, sizes


def normalise_groups(samples: Array, groups: Array) -> Normalised:
    """Z-score each voxel within each group of samples (a run or a session), in place.

    ``(x - mean) / SD`` with the mean and the SD (ddof 1) of the group's samples, in float64. A voxel without spread in
    a group becomes 0 there and is counted.

    Parameters
    ----------
    samples
        (n_samples, n_voxels) float32 or float64; **overwritten**.
    groups
        (n_samples,) anything that sorts: the run or session of each sample.

    Raises
    ------
    DataError
        If a group has fewer than two samples, or the groups are not one a sample.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0], [10.0], [30.0]])
    >>> normalise_groups(x, np.array([1, 1, 2, 2])).n_groups, x.ravel().round(3).tolist()
    (2, [-0.707, 0.707, -0.707, 0.707])
    """
    member, sizes = _groups(groups, len(samples))
    if sizes.min() < 2:
        raise DataError(
            f"{int((sizes < 2).sum())} of {sizes.size} groups have a single sample, which has no standard deviation."
            " Normalise by session instead of by run, or not at all."
        )
    n_constant = 0
    for group in range(sizes.size):
        rows = np.flatnonzero(member == group)
        for start in range(0, samples.shape[1], _BLOCK):
            block = np.s_[start : start + _BLOCK]
            part = samples[rows, block].astype(np.float64)  # (samples of the group, voxels of the block)
            # Numbers that are all equal have a mean that rounding moves, so ask the values, not their SD.
            constant = part.min(axis=0) == part.max(axis=0)
            centred, spread = part - part.mean(axis=0), part.std(axis=0, ddof=1)
            samples[rows, block] = np.divide(centred, spread, out=np.zeros_like(part), where=~constant)
            n_constant += int(constant.sum())
    return Normalised(int(sizes.size), n_constant)


def explained_by(samples: Array, groups: Array) -> float:
    """Return eta squared: the part of each voxel's variance between groups, averaged over voxels.

    ``sum_g n_g (mean_g - mean)^2 / sum_i (x_i - mean)^2``. Constant voxels are left out. Without any effect its
    expectation is (n_groups - 1) / (n_samples - 1), which is not small for few samples: see `chance_explained`.

    Parameters
    ----------
    samples
        (n_samples, n_voxels).
    groups
        (n_samples,) e.g. the session of each sample.

    Returns
    -------
    A number from 0 to 1; 0 if there is one group, or no voxel varies.

    Examples
    --------
    >>> explained_by(np.array([[0.0], [2.0], [2.0], [4.0]]), np.array([1, 1, 2, 2]))
    0.5
    """
    member, sizes = _groups(groups, len(samples))
    if sizes.size < 2:
        return 0.0
    membership = (member == np.arange(sizes.size)[:, np.newaxis]).astype(np.float64)  # (groups, samples)
    total, n_voxels = 0.0, 0
    for start in range(0, samples.shape[1], _BLOCK):
        part = samples[:, start : start + _BLOCK].astype(np.float64)
        varies = part.min(axis=0) != part.max(axis=0)
        part = part[:, varies] - part[:, varies].mean(axis=0)
        means = (membership @ part) / sizes[:, np.newaxis]  # (groups, voxels)
        between = (sizes[:, np.newaxis] * means**2).sum(axis=0)
        total += float((between / (part**2).sum(axis=0)).sum())
        n_voxels += int(varies.sum())
    return total / n_voxels if n_voxels else 0.0


def chance_explained(groups: Array) -> float:
    """Return the eta squared to expect of groups that make no difference: (n_groups - 1) / (n_samples - 1).

    Examples
    --------
    >>> chance_explained(np.array([1, 1, 2, 2, 3]))
    0.5
    """
    return (np.unique(groups).size - 1) / max(len(groups) - 1, 1)
