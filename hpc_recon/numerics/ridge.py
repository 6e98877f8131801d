"""Ridge regression of many units, each on its own voxels: (X_S' X_S + alpha I) w = X_S' y on z-scored data.

The intercept separates: the columns of Z sum to zero over samples, so the system with a column of ones falls into
this one and b = sum(y) / N (or sum(y) / (N + alpha) if the intercept is penalised, as FastL2LiR does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.lapack import posv
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import BrainStatistics
from hpc_recon.numerics.xp import namespace

#: Numbers gathered for one batch of systems: 16 MiB of float32, which a core's caches and the gather's Python loop like
#: (measured: k = 500, 16 systems; larger batches gain little).
_BATCH_NUMBERS = 1 << 22
_BATCH_SYSTEMS = 64
#: With fewer samples than this times k a unit's voxels are nearly collinear, and float32 alone loses the fourth digit
#: of the weights (measured: 1.4e-4 at 1,200 samples, k = 500, alpha = 1); such systems are factorised in float64, at
#: twice the time, or corrected once by a residual in float64 (`numerics.systems`), at 1.1 times the time. The dual form
#: needs neither (3e-6 at 200 samples, k = 500, alpha = 10).
SAMPLES_A_VOXEL = 3
#: So does a penalty below this times the number of samples where voxels are nearly copies of one another (measured:
#: predictions off by .04 of a unit's spread at 900 samples, alpha = .001, copies with .001 of noise).
ALPHA_A_SAMPLE = 1e-3
#: Numbers of the triangles that the compiled kernel gathers at a time: 256 MiB of float32, 535 units at k = 500.
BATCH_NUMBERS = 1 << 26
#: Units in such a batch at most: more do not pay (measured).
BATCH_UNITS = 1024
#: As `_BATCH_NUMBERS` on a GPU, which wants many systems at once: 512 MiB of float32.
_DEVICE_NUMBERS = 1 << 27


def solve(
    brain: BrainStatistics,
    voxel: Array,
    *,
    rhs: Array,
    targets: Array | None,
    alphas: Sequence[float | Array],
    n_threads: int = 1,
) -> tuple[Array, int]:
    """Return the weights of a block of units for each alpha.

    Parameters
    ----------
    brain
        Statistics of the training samples.
    voxel : (n_units, k) int, ascending in each row
        Selected voxels.
    rhs : (n_units, k)
        Z_S'y, the product of each selected voxel with the unit's z-scored targets.
    targets : (n_units, n_stimuli)
        z-scored targets; None will do where `takes_dual_form` says no.
    alphas
        Ridge penalties, > 0: each a number, or one for each unit (n_units,).
    n_threads
        The result does not depend on it; 1 where the caller is one of several threads.

    Returns
    -------
    weight : (n_alphas, n_units, k)
    n_redone
        Systems that float32 could not factorise and float64 did.

    Raises
    ------
    DataError
        If a system is singular in float64 too: alpha is too small for the data.

    Notes
    -----
    With one sample a stimulus and fewer samples than voxels the dual form is used, w = Z_S (Z_S' Z_S + alpha I)^-1 y
    with an N x N system: smaller, and more precise. Memory: `numerics.needs.solve_bytes`.
    """
    xp = namespace(voxel, rhs)
    k = voxel.shape[1]
    dual = takes_dual_form(brain, k)
    if dual and targets is None:
        raise ValueError("the dual form needs the targets")
    if xp is np and rhs.dtype == np.float32 and brain.gram is not None and not dual:
        return _solve_gathered(brain, voxel, rhs=rhs, alphas=alphas, n_threads=n_threads)
    n_units = len(voxel)
    weight = xp.empty((len(alphas), n_units, k), dtype=rhs.dtype)
    samples = xp.ascontiguousarray(brain.sums.T) if dual or brain.gram is None else None  # (n_voxels, N)
    size = batch_size(k, n_samples=None if samples is None else brain.n_samples, on_device=xp is not np)

    def solve_batch(start: int) -> int:
        units = slice(start, start + size)
        patterns = None if samples is None else samples[voxel[units]]  # (units, k, N)
        if patterns is None:
            systems = _gathered(brain.gram, voxel[units])  # (units, k, k)
        elif dual:
            systems = patterns.transpose(0, 2, 1) @ patterns  # (units, N, N)
        else:
            systems = patterns @ patterns.transpose(0, 2, 1)  # (units, k, k)
        right = targets[units] if dual and targets is not None else rhs[units]
        n_redone = 0
        for a, alpha in enumerate(of_units(alpha, units) for alpha in alphas):
            if not dual and brain.n_samples < SAMPLES_A_VOXEL * k:
                solution = _solved_in_double(systems, right, alpha)
            else:
                solution, redone = _solved(systems, right, alpha, last=a == len(alphas) - 1)
                n_redone += redone
            weight[a, units] = solution if patterns is None or not dual else (patterns @ solution[:, :, None])[:, :, 0]
        return n_redone

    redone = for_each(solve_batch, range(0, n_units, size), n_threads=1 if xp is not np else n_threads)
    return weight, sum(redone)


def of_units(alpha: float | Array, units: slice | Array) -> float | Array:
    """Return the penalties of some units: a part of an array (n_units,), or the number that all share."""
    return alpha if isinstance(alpha, (int, float)) or alpha.ndim == 0 else alpha[units]


def _solve_gathered(
    brain: BrainStatistics, voxel: Array, *, rhs: Array, alphas: Sequence[float | Array], n_threads: int
) -> tuple[Array, int]:
    """Solve with the compiled kernel; what fails in float32 is solved again in float64."""
    from hpc_recon.numerics import systems

    assert brain.gram is not None, "asked by the caller"
    below = refined_below(brain, voxel.shape[1])
    weight, failed = systems.solve(brain.gram, voxel, rhs, alphas, refine_below=below, n_threads=n_threads)
    for a, alpha in enumerate(alphas):
        for unit in np.flatnonzero(failed[a]):
            own = slice(unit, unit + 1)
            weight[a, own] = _solved_in_double(_gathered(brain.gram, voxel[own]), rhs[own], of_units(alpha, own))
    return weight, int(failed.sum())


def batch_size(k: int, *, n_samples: int | None = None, on_device: bool = False) -> int:
    """Return how many systems of k voxels are solved together."""
    numbers = k * max(k, n_samples or 0)
    if on_device:
        return max(1, _DEVICE_NUMBERS // numbers)
    return max(1, min(_BATCH_SYSTEMS, _BATCH_NUMBERS // numbers))


def takes_dual_form(brain: BrainStatistics, k: int) -> bool:
    """Return whether the N x N system is solved instead of the k x k one: fewer samples than voxels, no repeats."""
    return brain.n_samples < k and bool((brain.counts == 1).all())


def refined_below(brain: BrainStatistics, k: int) -> float:
    """Return the penalty below which float32 solutions need their residual: any, with few samples for the voxels.

    Else it is one near rounding. Each unit is judged by its own penalty, so that its weights depend on no other's.
    """
    return math.inf if brain.n_samples < SAMPLES_A_VOXEL * k else ALPHA_A_SAMPLE * brain.n_samples


def batch_units(k: int) -> int:
    """Return how many units of k voxels the compiled kernel gathers together.

    >>> batch_units(500), batch_units(10)
    (535, 1024)
    """
    return max(1, min(BATCH_UNITS, BATCH_NUMBERS // triangle_numbers(k)))


def triangle_numbers(k: int) -> int:
    """Return the numbers of a symmetric k x k matrix without repetition."""
    return k * (k + 1) // 2


def _gathered(gram: Array | None, voxel: Array) -> Array:
    """Return gram[S, S] of each unit (n_units, k, k); on the CPU only the lower triangles are set.

    Half the numbers are half the cache misses; row by row over all units of the batch, because a Python loop over
    units would cost more than the copy (measured: 33 us a unit at k = 100, against 68 for one indexed copy).
    """
    xp = namespace(gram, voxel)
    if gram is None:
        raise ValueError("the brain statistics hold no Gram matrix")
    if xp is not np:
        return gram[voxel[:, :, None], voxel[:, None, :]]
    n_units, k = voxel.shape
    systems = np.zeros((n_units, k, k), gram.dtype)
    flat = gram.reshape(-1)
    row = voxel.astype(np.int64) * gram.shape[1]
    for i in range(k):
        systems[:, i, : i + 1] = flat.take(row[:, i : i + 1] + voxel[:, : i + 1], mode="clip")
    return systems


def _solved(systems: Array, right: Array, alpha: float | Array, *, last: bool) -> tuple[Array, int]:
    """Solve (A + alpha I) x = b; `systems` may be overwritten if this is the `last` use of them."""
    xp = namespace(systems, right)
    if xp is not np:
        return _solved_on_device(systems, right, alpha), 0
    diagonal = np.arange(systems.shape[1])
    A, backup = (systems, systems.copy()) if last else (systems.copy(), systems)
    A[:, diagonal, diagonal] += _column(alpha, systems)
    solution = np.array(right, order="C")
    failed = np.flatnonzero(posv(A, solution))
    if len(failed):
        solution[failed] = _solved_in_double(backup[failed], right[failed], of_units(alpha, failed))
    return solution, len(failed)


def _solved_in_double(systems: Array, right: Array, alpha: float | Array) -> Array:
    """Solve (A + alpha I) x = b in float64 whatever the type of A and b."""
    if namespace(systems, right) is not np:
        return _solved_on_device(systems.astype(np.float64), right.astype(np.float64), alpha)
    A, b = systems.astype(np.float64), np.array(right, np.float64, order="C")
    diagonal = np.arange(A.shape[1])
    A[:, diagonal, diagonal] += _column(alpha, A)
    if posv(A, b).any():
        raise too_small(alpha, systems.dtype, n=A.shape[1])
    return b


def _solved_on_device(systems: Array, right: Array, alpha: float | Array) -> Array:
    """Solve (A + alpha I) x = b with cupy, whose batched solver takes whole matrices."""
    xp = namespace(systems, right)
    diagonal = xp.arange(systems.shape[1])
    A = systems.copy()
    A[:, diagonal, diagonal] += _column(alpha, A)
    solution: Array = xp.linalg.solve(A, right[:, :, None])[:, :, 0]
    if not bool(xp.isfinite(solution).all()):
        raise too_small(alpha, systems.dtype, n=A.shape[1])
    return solution


def _column(alpha: float | Array, like: Array) -> Array:
    """Return the penalties as a column of the type of `like`, for adding to a batch of diagonals.

    What is too large for the type becomes its largest number, which makes weights 0 just as well.
    """
    xp = namespace(like)
    largest = float(xp.finfo(like.dtype).max)
    column: Array = xp.minimum(xp.asarray(alpha, dtype=xp.float64), largest).astype(like.dtype).reshape(-1, 1)
    return column


def too_small(alpha: float | Array, dtype: np.dtype[Any], *, n: int) -> DataError:
    """Return the error for systems of n unknowns that are singular even in float64."""
    least = float(alpha.min()) if hasattr(alpha, "min") else alpha
    return DataError(
        f"the ridge penalty must make each unit's system of {n} unknowns positive definite, but alpha={least} is too "
        f"small for data of type {dtype}; take a larger alpha, fewer voxels, or give float64 data"
    )
