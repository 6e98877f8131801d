"""Optimal transport from one person's voxels to another's: each target voxel is a weighted mean of source voxels.

Voxels are points whose coordinates are their responses to the paired samples. The plan moves mass 1/n_source from each
source voxel to mass 1/n_target at each target voxel at the least cost; with the plan P, a target voxel is predicted by
n_target P, whose columns sum to 1. Both sides are z-scored by the caller.

The cost is the distance of two z-scored voxels divided by the root of the number of samples, sqrt(2 (1 - r)) for a
correlation r: from 0 to 2, however many samples there are, so one `regularisation` serves all.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError, StudyError

#: Iterations of Sinkhorn's algorithm at most, and the error of the plan's margins at which it stops.
_ITERATIONS, _TOLERANCE = 10_000, 1e-9
#: Below this regularisation exp(-cost / regularisation) is 0 in float64 for costs of 2: logarithms are taken instead.
_LEAST_PLAIN = 4e-3
#: Seconds of one core a pair of voxels: Sinkhorn's steps (measured: 1.3e-7 at 2,000, 1.7e-7 at 4,000 voxels), and the
#: exact plan at 4,000 voxels (3.9e-7; 2.9e-7 at 2,000).
_SECONDS_A_PAIR, _EXACT_SECONDS = 2e-7, 4.5e-7
#: Matrices (n_source, n_target) held at once (measured: 4.0 to 5.1), and where logarithms are taken (8.2).
_MATRICES, _IN_LOGARITHMS = 5, 9
#: POT, once imported (measured: 12 to 25 MiB).
_LIBRARY_BYTES = 32 * 2**20
#: By how much a column of weights may miss the sum of 1.
_MARGIN = 1e-3


def transport(X: Array, Y: Array, *, regularisation: float) -> Array:
    """Return the map R (n_source, n_target) float64 of least cost: z_x @ R predicts z_y; columns sum to 1.

    Parameters
    ----------
    X : (n, n_source), z-scored with ddof 1, finite
    Y : (n, n_target), likewise
    regularisation
        Of minus the entropy of the plan, in units of the cost. 0: the exact plan, which is sparse; with as many source
        as target voxels it is a permutation.

    Raises
    ------
    DataError
        If the numbers of samples differ, or Sinkhorn's algorithm does not converge.
    StudyError
        If POT is not installed.

    Notes
    -----
    Memory: about five float64 arrays (n_source, n_target), nine where logarithms are taken (`transport_bytes`).
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 2:
        raise DataError(f"both sides need the same samples, two or more, but are {X.shape} and {Y.shape}; pair them")
    ot = _library()
    cost = distances(X, Y)
    n_source, n_target = cost.shape
    source, target = np.full(n_source, 1 / n_source), np.full(n_target, 1 / n_target)
    if regularisation == 0:
        plan = ot.emd(source, target, cost, numItermax=10_000_000)
    else:
        plan = ot.sinkhorn(
            source,
            target,
            cost,
            regularisation,
            method="sinkhorn" if regularisation >= _LEAST_PLAIN else "sinkhorn_log",
            numItermax=_ITERATIONS,
            stopThr=_TOLERANCE,
            warn=False,
        )
    R: Array = plan * n_target
    missed = float(np.abs(R.sum(axis=0) - 1).max())
    if not missed <= _MARGIN:
        raise DataError(
            f"optimal transport did not converge: weights of a target voxel sum to 1, but miss it by {missed:.2g} "
            f"after {_ITERATIONS} iterations; raise convert.regularisation above {regularisation:g}, or set it to 0"
        )
    return R


def distances(X: Array, Y: Array) -> Array:
    """Return the distances of z-scored voxels divided by the root of the degrees of freedom (n_source, n_target).

    >>> Z = np.array([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]) / np.sqrt(2)
    >>> distances(Z, Z[:, :1]).ravel().round(6).tolist()  # the same, the opposite, a constant voxel
    [0.0, 2.0, 1.0]
    """
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    own, other = (np.einsum("ij,ij->j", side, side) for side in (X, Y))
    squares = X.T @ Y
    squares *= -2.0
    squares += own[:, None]
    squares += other
    squares /= len(X) - 1
    np.maximum(squares, 0, out=squares)
    result: Array = np.sqrt(squares, out=squares)
    return result


def transport_bytes(n_source: int, n_target: int, *, regularisation: float) -> int:
    """Return the projected peak of `transport`, beside its arguments in float64."""
    matrices = _IN_LOGARITHMS if 0 < regularisation < _LEAST_PLAIN else _MATRICES
    return 8 * matrices * n_source * n_target + _LIBRARY_BYTES


def transport_seconds(n_source: int, n_target: int, *, regularisation: float) -> float:
    """Return the projected seconds of one core; how many steps Sinkhorn's algorithm takes depends on the data.

    >>> round(transport_seconds(4000, 3800, regularisation=0.1)), round(transport_seconds(4000, 3800, regularisation=0))
    (3, 7)
    """
    n = n_source * n_target
    return _SECONDS_A_PAIR * n if regularisation else _EXACT_SECONDS * n * (min(n_source, n_target) / 4000) ** 0.4


def require() -> None:
    """Raise unless POT is installed.

    Raises
    ------
    StudyError
        With the command that installs it.
    """
    _library()


def _library() -> Any:
    try:
        return importlib.import_module("ot")
    except ImportError as error:
        problem = (
            f"optimal_transport needs the package POT, which is not installed ({error}); run `pip install "
            "hpc_recon[ot]`, or choose another method"
        )
        raise StudyError("convert.method", [problem]) from error
