"""Orthogonal maps from one person's voxels to another's: Procrustes, and hyperalignment by way of a common template.

Both sides are z-scored by the caller. The numbers of voxels may differ: a map R (n_source, n_target) is then what is
left of an orthogonal one when the smaller side is filled up with voxels that are 0.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Singular values of at most this fraction of the largest are rounding: their directions are not determined.
_RANK = 1e-10


def procrustes(X: Array, Y: Array) -> Array:
    """Return the map R that minimises |X R - Y|, of orthogonal ones: U V' of X'Y = U S V'.

    Parameters
    ----------
    X : (n, n_source)
    Y : (n, n_target)

    Returns
    -------
    (n_source, n_target) float64
        Directions in which X'Y is 0 (there are some with fewer samples than voxels) are mapped to 0.

    Raises
    ------
    DataError
        If the numbers of samples differ, or the two sides have nothing in common.

    Notes
    -----
    With fewer samples than voxels X'Y is not formed: Q factors of both sides reduce it to (n, n).
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
        raise DataError(f"both sides need the same samples, but are {X.shape} and {Y.shape}; pair them first")
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    if len(X) < min(X.shape[1], Y.shape[1]):
        q_x, r_x = np.linalg.qr(X.T)
        q_y, r_y = np.linalg.qr(Y.T)
        u, s, vt = svd(r_x @ r_y.T, full_matrices=False, lapack_driver="gesdd")
        u, vt = q_x @ u, vt @ q_y.T
    else:
        u, s, vt = svd(X.T @ Y, full_matrices=False, lapack_driver="gesdd")
    if not s.size or s[0] <= 0:
        raise DataError(
            "source and target have no covariance at all, so no map is better than another; check the samples"
        )
    kept = s > _RANK * s[0]
    result: Array = u[:, kept] @ vt[kept]
    return result


def hyperalign(sides: list[Array]) -> list[Array]:
    """Return a map of each person into a common space of as many dimensions as the most voxels (three levels).

    Level 1: the first person is the template; each next one is aligned with the mean of those before it. Level 2: each
    is aligned with the mean of the others' aligned patterns; the template is the mean of the results. Level 3: each is
    aligned with the template.

    Parameters
    ----------
    sides
        (n, n_voxels of a person) each, z-scored.

    Returns
    -------
    list of Array
        (n_voxels of a person, n_common) float64. Person a's patterns become person b's by R_a @ R_b'.

    Raises
    ------
    DataError
        If there are fewer than two persons, or the numbers of samples differ.
    """
    if len(sides) < 2 or len({len(side) for side in sides}) != 1:
        raise DataError(
            f"hyperalignment needs two or more persons with the same samples, got {[side.shape for side in sides]}; "
            "pair them first"
        )
    most = max(side.shape[1] for side in sides)
    padded = [np.pad(side.astype(np.float64), ((0, 0), (0, most - side.shape[1]))) for side in sides]
    total = padded[0].copy()
    aligned = [padded[0]]
    for number, side in enumerate(padded[1:], start=1):
        aligned.append(side @ procrustes(side, total / number))
        total += aligned[-1]
    second = [
        side @ procrustes(side, (total - own) / (len(sides) - 1)) for side, own in zip(padded, aligned, strict=True)
    ]
    template = np.mean(second, axis=0)
    return [procrustes(side, template)[: own.shape[1]] for side, own in zip(padded, sides, strict=True)]
