"""Accuracy of a convolution by filter: means over the positions at which each filter was applied."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array


def by_filter(profiles: Array, filters: Array) -> tuple[Array, Array, Array]:
    """Return each filter, the mean of its units' profile correlations, and how many units that are.

    Parameters
    ----------
    profiles
        (n_units,) correlations; NaN where a unit is constant, which does not count.
    filters
        (n_units,) int: the filter (output channel) of each unit.

    Returns
    -------
    tuple of Array
        (n_filters,) int64 filters that have a unit, ascending; (n_filters,) float64 means, NaN where no unit counts;
        (n_filters,) int64 numbers of units that count.

    Raises
    ------
    ValueError
        If there are more or fewer profiles than filters.

    Examples
    --------
    >>> [found.tolist() for found in by_filter(np.array([0.25, np.nan, 0.75, 0.5]), np.array([0, 0, 2, 2]))]
    [[0, 2], [0.25, 0.625], [1, 2]]
    """
    if profiles.ndim != 1 or profiles.shape != filters.shape:
        raise ValueError(f"profiles and filters must be (n_units,) both, got {profiles.shape} and {filters.shape}")
    present, place = np.unique(filters, return_inverse=True)
    known = ~np.isnan(profiles)
    n = np.bincount(place[known], minlength=len(present))
    total = np.bincount(place[known], weights=profiles[known], minlength=len(present))
    mean = np.divide(total, n, out=np.full(len(present), np.nan), where=n > 0)
    return present.astype(np.int64), mean, n.astype(np.int64)
