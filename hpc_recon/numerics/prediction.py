"""Predictions of many units on the CPU, each from its own few voxels: nothing dense is made."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_recon.core.array import Array

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


def weighted_sums(patterns: Array, voxel: Array, weight: Array) -> Array:
    """Return the sum over each unit's voxels of weight times pattern, (n_units, n_items) float32.

    Parameters
    ----------
    patterns : (n_voxels, n_items) float32, C-contiguous
        z-scored items, transposed: an item's neighbours lie together.
    voxel : (n_units, k) int
        Numbers of n_voxels or more mark unused slots.
    weight : (n_units, k) float32

    Examples
    --------
    >>> patterns = np.float32([[1, 2], [10, 20], [100, 200]])
    >>> weighted_sums(patterns, np.array([[0, 2], [1, 3]]), np.float32([[1, 2], [3, 4]])).tolist()
    [[201.0, 402.0], [30.0, 60.0]]
    """
    if patterns.dtype != np.float32 or weight.dtype != np.float32 or voxel.shape != weight.shape:
        raise ValueError(f"weighted_sums needs float32 patterns and weights, got {patterns.dtype} and {weight.dtype}")
    sums = np.zeros((len(voxel), patterns.shape[1]), np.float32)
    _weighted_sums(np.ascontiguousarray(patterns), voxel, weight, sums)
    return sums


@_compiled
def _weighted_sums(patterns: Array, voxel: Array, weight: Array, sums: Array) -> None:
    n_voxels, n_items = patterns.shape
    for u in range(voxel.shape[0]):
        total = sums[u]
        for s in range(voxel.shape[1]):
            v = np.int64(voxel[u, s])
            if v < n_voxels:
                w, pattern = weight[u, s], patterns[v]
                for i in range(n_items):
                    total[i] += w * pattern[i]
