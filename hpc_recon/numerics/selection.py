"""The k strongest voxels of each unit on the CPU, by threshold instead of sorting.

The bits of a positive float32, read as a whole number, are ordered as the numbers are. Three counts, of the upper 11,
the next 11 and the last 10 bits, find the k-th largest exactly; a last pass takes what lies above it, and of the voxels
equal to it the first ones. The rule of `numerics.voxels.top_voxels`, and the same result, in a third of the time
(measured).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_recon.core.array import Array

_compiled = njit(cache=True, nogil=True, error_model="numpy")

_BITS, _LAST_BITS = 11, 10
_BINS = 1 << _BITS


def strongest(products: Array, usable: Array, k: int) -> tuple[Array, Array]:
    """Return each unit's k usable voxels with the largest |product|, and their products.

    Parameters
    ----------
    products : (n_units, n_voxels) float32, C-contiguous, finite
    usable : (n_voxels,) bool
    k
        At most the number of usable voxels.

    Returns
    -------
    voxel : (n_units, k) int32, ascending
        Of equal |products| the lower voxel number is taken.
    chosen : (n_units, k) float32

    Examples
    --------
    >>> voxel, chosen = strongest(np.float32([[1, -3, 1, 2, 1]]), np.array([True, True, True, False, True]), 2)
    >>> voxel.tolist(), chosen.tolist()
    ([[0, 1]], [[1.0, -3.0]])
    """
    n_usable = int(np.count_nonzero(usable))
    if products.dtype != np.float32 or not products.flags.c_contiguous or usable.shape != products.shape[1:]:
        raise ValueError(f"strongest needs contiguous float32 products, got {products.dtype} {products.shape}")
    if not 1 <= k <= n_usable:
        raise ValueError(f"k must be between 1 and the number of usable voxels {n_usable}, got {k=}")
    voxel = np.empty((len(products), k), np.int32)
    chosen = np.empty((len(products), k), np.float32)
    _strongest(products.view(np.uint32), np.flatnonzero(usable).astype(np.uint32), k, voxel, chosen.view(np.uint32))
    return voxel, chosen


@_compiled
def _strongest(bits: Array, usable: Array, k: int, voxel: Array, chosen: Array) -> None:
    """Work on the bits of the products; `chosen` receives the bits too."""
    magnitude = np.uint32(0x7FFFFFFF)
    n = usable.size
    values, candidates = np.empty(n, np.uint32), np.empty(n, np.uint32)
    count = np.empty(_BINS, np.int64)
    every = n == bits.shape[1]
    last, bins = np.uint32(_LAST_BITS), np.uint32(_BINS - 1)
    for u in range(bits.shape[0]):
        row = bits[u]
        if every:
            for i in range(n):
                values[i] = row[i] & magnitude
        else:
            for i in range(n):
                values[i] = row[usable[i]] & magnitude
        upper, places = _bin_of_the_last(values, n, np.uint32(32 - _BITS), bins, k, count)
        n_left = 0
        for i in range(n):
            candidates[n_left] = values[i]
            n_left += (values[i] >> np.uint32(32 - _BITS)) == upper
        middle, places = _bin_of_the_last(candidates, n_left, last, bins, places, count)
        n_last = 0
        for i in range(n_left):
            value = candidates[i]
            candidates[n_last] = value
            n_last += ((value >> np.uint32(_LAST_BITS)) & np.uint32(_BINS - 1)) == middle
        mask = np.uint32((1 << _LAST_BITS) - 1)
        lower, places = _bin_of_the_last(candidates, n_last, np.uint32(0), mask, places, count)
        threshold = np.uint32((upper << np.uint32(32 - _BITS)) | (middle << np.uint32(_LAST_BITS)) | lower)
        taken = 0
        for i in range(n):
            if values[i] >= threshold:
                if values[i] == threshold:
                    if places == 0:
                        continue
                    places -= 1
                voxel[u, taken] = usable[i]
                chosen[u, taken] = row[usable[i]]
                taken += 1


@_compiled
def _bin_of_the_last(
    values: Array, n: int, shift: np.uint32, mask: np.uint32, k: int, count: Array
) -> tuple[np.uint32, int]:
    """Return which bin holds the k-th largest of n values, and its place among those in the bin, from 1."""
    count[:] = 0
    for i in range(n):
        count[(values[i] >> shift) & mask] += 1
    at = count.size - 1
    while count[at] < k:
        k -= count[at]
        at -= 1
    return np.uint32(at), k
