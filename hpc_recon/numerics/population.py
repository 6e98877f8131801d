"""Mean and standard deviation of a whole set (ddof 0), block by block."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError


def population_statistics(blocks: Iterable[Array]) -> tuple[Array, Array]:
    """Return mean and standard deviation (ddof 0) of each column over the rows of all blocks.

    Parameters
    ----------
    blocks
        (n_rows, n_columns) each, finite.

    Returns
    -------
    tuple
        Two arrays (n_columns,), float64. A column of one value has exactly the deviation 0.

    Raises
    ------
    DataError
        If there is no row.

    Notes
    -----
    Sums are taken of differences from the first row, so that large means lose no digits.
    """
    n, first, total, squares = 0, np.empty(0), np.empty(0), np.empty(0)
    for block in blocks:
        if not len(block):
            continue
        if not n:
            first = block[0].astype(np.float64)
            total, squares = np.zeros_like(first), np.zeros_like(first)
        moved = block.astype(np.float64) - first
        n += len(moved)
        total += moved.sum(axis=0)
        squares += np.einsum("ij,ij->j", moved, moved)
    if not n:
        raise DataError("a mean needs at least one row, and there is none; look at which samples are chosen")
    mean = total / n
    return first + mean, np.sqrt(np.maximum(squares / n - mean**2, 0.0))
