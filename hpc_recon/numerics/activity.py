"""Which voxels respond at all: a selection by the size of the response, before anything is known of units.

It looks at the training samples alone, at no stimulus and no unit, so test data have no say in it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.stats import mean_and_scale


def most_active(X: Array, n: int, *, by: Literal["mean", "t"] = "mean") -> Array:
    """Return the n voxels of the largest response over samples.

    Parameters
    ----------
    X : (n_samples, n_voxels), n_samples >= 2, raw, finite
        Responses against rest, or a z-statistic for each sample.
    n
        Voxels; if fewer are not constant, all of these are returned.
    by
        `mean`: the mean over samples; of z-statistics that ranks as their combined z, sum / sqrt(n_samples), does.
        `t`: the mean divided by its standard error, for responses that are no statistics yet.

    Returns
    -------
    (m,) int64, ascending, m <= n
        Of equal responses the lower number is taken; constant voxels never are.

    Examples
    --------
    >>> X = np.array([[1.0, 5.0, 3.0, 9.0], [2.0, 1.0, 3.1, 9.0]])
    >>> most_active(X, 2).tolist(), most_active(X, 2, by="t").tolist()
    ([1, 2], [0, 2])
    """
    return largest(*mean_and_scale(X), n, by=by)


def largest(mean: Array, scale: Array, n: int, *, by: Literal["mean", "t"]) -> Array:
    """Return `most_active` where the mean and deviation of each voxel are known, whatever the degrees of freedom.

    Parameters
    ----------
    mean, scale : (n_voxels,)
        `scale` is 0 for constant voxels.
    """
    size = mean if by == "mean" else np.divide(mean, scale, out=np.zeros_like(mean), where=scale > 0)
    ranked = np.argsort(np.where(scale > 0, -size, np.inf), kind="stable")
    return np.sort(ranked[: min(n, int((scale > 0).sum()))]).astype(np.int64)
