"""Which voxels a unit's decoder reads: the k with the largest absolute correlation, ties by voxel number."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.xp import namespace

#: A multiple of the columns that any processor's BLAS takes at a time (4 to 48).
EQUAL_COLUMNS = 96


def products_of(targets: Array, sums: Array) -> Array:
    """Return targets @ sums (n_units, n_voxels), with the same bits for equal voxels, wherever they stand.

    Parameters
    ----------
    targets : (n_units, n_stimuli)
    sums : (n_stimuli, n_voxels), the same type and library

    Notes
    -----
    BLAS computes the last few columns, those that do not fill its registers, in another way, and equal voxels would
    not tie (measured: in 58 of 250 random problems in float64, 6 in float32). So these columns are computed again
    with those before them, or filled up with zeros.
    """
    if namespace(targets) is not np or sums.shape[1] % EQUAL_COLUMNS == 0:
        whole: Array = targets @ sums
        return whole
    n = sums.shape[1]
    products = np.empty((len(targets), n), dtype=targets.dtype)
    main = n - n % EQUAL_COLUMNS
    if main:
        np.matmul(targets, sums[:, :main], out=products[:, :main])
        last = sums[:, n - EQUAL_COLUMNS :]
    else:
        last = np.zeros((len(sums), EQUAL_COLUMNS), dtype=sums.dtype)
        last[:, EQUAL_COLUMNS - n :] = sums
    products[:, main:] = (targets @ last)[:, main - n :]
    return products


def top_voxels(score: Array, k: int) -> Array:
    """Return the numbers of the k largest scores of each row, ascending; of equal scores the lower number wins.

    Parameters
    ----------
    score : (n_units, n_voxels), no NaN
        Give unusable voxels a score below all others (-1 where scores are absolute values).
    k
        At most n_voxels.

    Returns
    -------
    (n_units, k) int64

    Notes
    -----
    One partial sort finds each row's k-th largest score; what lies above it is taken, and of the scores equal to it
    the first ones until there are k. Rows are independent of each other.

    Examples
    --------
    >>> import numpy as np
    >>> top_voxels(np.array([[1.0, 3.0, 1.0, 2.0, 1.0]]), 3).tolist()
    [[0, 1, 3]]
    """
    xp = namespace(score)
    n_units, n_voxels = score.shape
    if not 1 <= k <= n_voxels:
        raise ValueError(f"k must be between 1 and the number of voxels {n_voxels}, got {k=}")
    number: Array
    if n_units == 0 or k == n_voxels:
        number = xp.repeat(xp.arange(n_voxels)[None], n_units, axis=0)
        return number[:, :k]
    threshold = xp.partition(score, n_voxels - k, axis=1)[:, n_voxels - k, None]
    chosen = score >= threshold  # (n_units, n_voxels); more than k where scores tie at the threshold
    tied = xp.flatnonzero(chosen.sum(axis=1) > k)
    if len(tied):
        above = score[tied] > threshold[tied]
        equal = score[tied] == threshold[tied]
        places = k - above.sum(axis=1, keepdims=True)
        chosen[tied] = above | (equal & (xp.cumsum(equal, axis=1) <= places))
    number = xp.flatnonzero(chosen).reshape(n_units, k)  # row by row, so ascending within each
    number -= xp.arange(n_units)[:, None] * n_voxels
    return number


def ranked_voxels(score: Array, k: int) -> Array:
    """Return the numbers of the k largest scores of each row, best first; of equal scores the lower number first.

    The first j of them are `top_voxels(score, j)` in another order: one ranking serves every k.

    Examples
    --------
    >>> import numpy as np
    >>> ranked_voxels(np.array([[1.0, 3.0, 1.0, 2.0, 1.0]]), 4).tolist()
    [[1, 3, 0, 2]]
    """
    xp = namespace(score)
    chosen = top_voxels(score, k)
    order = xp.argsort(-xp.take_along_axis(score, chosen, axis=1), axis=1, kind="stable")
    ranked: Array = xp.take_along_axis(chosen, order, axis=1)
    return ranked
