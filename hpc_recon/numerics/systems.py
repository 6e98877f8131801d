"""Many small ridge systems from one Gram matrix on the CPU: gather, factorise, solve; float32, one thread a system.

Units are taken in batches. Their systems are copied row by row of the Gram matrix, not unit by unit: a row that many
units of the batch have chosen is read from memory once (measured at 11,726 voxels, k = 500: 790 us a unit one by one,
160 to 230 in batches of 512 and 256, 100 where units choose among 1,500 voxels). Each system is then put into the
panels of `numerics.microkernel`, factorised there in the processor's second cache, and solved. The right-hand side
rides along as one more row of the matrix, so that the forward substitution costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from hpc_recon.core.array import Array
from hpc_recon.numerics.microkernel import (
    COLUMNS,
    ROWS,
    columns_times,
    copy_column,
    minus_columns,
    pack,
    subtract,
    subtract_and_solve,
    subtract_lower_half,
)
from hpc_recon.numerics.parallel import for_each, one_blas_thread
from hpc_recon.numerics.ridge import batch_units, triangle_numbers

#: A correction above this share of the solution means a factor too rough for one step to mend (as on a GPU).
MAX_CHANGE = 1e-3
#: Squares of numbers that float32 holds with few digits anyway.
SUBNORMAL = 1e-76
#: Units that a thread solves before it takes the next ones.
_UNITS_A_TASK = 16
#: Pieces into which the rows of the Gram matrix are dealt to threads.
_ROW_TASKS = 32

_room = threading.local()

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
_summing = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})


def solve(
    gram: Array, voxel: Array, rhs: Array, alphas: Sequence[float | Array], *, refine_below: float, n_threads: int
) -> tuple[Array, Array]:
    """Solve (G[S, S] + alpha I) w = r for each unit's voxels S, for each alpha.

    Parameters
    ----------
    gram : (n_voxels, n_voxels) float32, C-contiguous
        Symmetric; may be mapped from a file.
    voxel : (n_units, k) int, ascending in each row
    rhs : (n_units, k) float32
    alphas
        Each a number, or one for each unit (n_units,).
    refine_below
        Compute the residual in float64 and correct the solution once where alpha is smaller: for systems whose
        condition leaves float32 fewer than four digits. Infinity: all; 0: none.
    n_threads
        The result does not depend on it.

    Returns
    -------
    weight : (n_alphas, n_units, k) float32
    failed : (n_alphas, n_units) bool
        Systems that are not positive definite in float32, or whose refinement changed the solution by more than
        `MAX_CHANGE`; their weights are not to be used.

    Notes
    -----
    Memory: one batch of triangles (`ridge.BATCH_NUMBERS` numbers at most), and a system's panels for each thread.
    """
    if gram.dtype != np.float32 or rhs.dtype != np.float32 or not gram.flags.c_contiguous:
        raise ValueError(f"systems.solve needs contiguous float32 arrays, got {gram.dtype} and {rhs.dtype}")
    n_units, k = voxel.shape
    weight = np.empty((len(alphas), n_units, k), np.float32)
    failed = np.zeros((len(alphas), n_units), np.bool_)
    if n_units == 0 or k == 0:
        return weight, failed
    penalty = np.empty((len(alphas), n_units), np.float32)
    for a, alpha in enumerate(alphas):
        penalty[a] = np.minimum(alpha, float(np.finfo(np.float32).max))  # a larger one makes weights 0 just as well
    below = np.float32(refine_below)
    chosen = np.ascontiguousarray(voxel, dtype=np.uint32)
    right = np.ascontiguousarray(rhs)
    size = min(batch_units(k), n_units)
    triangles = _scratch(size, triangle_numbers(k) + ROWS)  # columns are copied ROWS numbers at a time
    with one_blas_thread():
        for start in range(0, n_units, size):
            stop = min(start + size, n_units)
            _gather(gram, chosen[start:stop], triangles, n_threads=n_threads)
            tasks = [(a, first) for first in range(start, stop, _UNITS_A_TASK) for a in range(len(alphas))]

            def work(task: tuple[int, int], start: int = start, stop: int = stop) -> None:
                a, first = task
                own = slice(first, min(first + _UNITS_A_TASK, stop))
                systems = triangles[first - start : own.stop - start]
                _solve_units(systems, right[own], penalty[a, own], weight[a, own], failed[a, own], below)

            for_each(work, tasks, n_threads=n_threads)
    return weight, failed


def _scratch(n_rows: int, n_columns: int) -> Array:
    """Return memory for triangles, the same again for each call of a thread: fresh pages take time to be cleared."""
    found: Array | None = getattr(_room, "numbers", None)
    if found is None or found.size < n_rows * n_columns:
        _room.numbers = found = np.empty(n_rows * n_columns, np.float32)
    return found[: n_rows * n_columns].reshape(n_rows, n_columns)


def _gather(gram: Array, voxel: Array, triangles: Array, *, n_threads: int) -> None:
    """Copy the upper triangle of G[S, S] of each unit, row after row without gaps."""
    n_units, k = voxel.shape
    n_voxels = gram.shape[0]
    first = np.empty(n_voxels + 1, np.int64)
    unit, place = np.empty(n_units * k, np.int32), np.empty(n_units * k, np.int32)
    _list_choices(voxel, first, unit, place)
    step = max(1, -(-n_voxels // _ROW_TASKS))

    def work(start: int) -> None:
        _copy_rows(gram, voxel, first, unit, place, start, min(start + step, n_voxels), triangles)

    for_each(work, range(0, n_voxels, step), n_threads=n_threads)


@_compiled
def _list_choices(voxel: Array, first: Array, unit: Array, place: Array) -> None:
    """List for each voxel v which units chose it, and as their how-manieth: entries first[v] to first[v + 1]."""
    n_units, k = voxel.shape
    first[:] = 0
    for u in range(n_units):
        for j in range(k):
            first[voxel[u, j] + 1] += 1
    for v in range(first.size - 1):
        first[v + 1] += first[v]
    following = first[:-1].copy()
    for u in range(n_units):
        for j in range(k):
            v = voxel[u, j]
            unit[following[v]] = u
            place[following[v]] = j
            following[v] += 1


@_compiled
def _copy_rows(
    gram: Array, voxel: Array, first: Array, unit: Array, place: Array, start: int, stop: int, triangles: Array
) -> None:
    k = voxel.shape[1]
    for v in range(start, stop):
        row = gram[v]
        for at in range(first[v], first[v + 1]):
            j = np.int64(place[at])
            to = triangles[unit[at], j * k - j * (j - 1) // 2 :]
            others = voxel[unit[at], j:]
            for i in range(others.size):
                to[i] = row[others[i]]


@_compiled
def _aligned(n: int) -> Any:
    """Return n float32 numbers that begin at a cache line."""
    longer = np.empty(n + 16, np.float32)
    return longer[(16 - (longer.ctypes.data // 4) % 16) % 16 :][:n]


@_compiled
def _solve_units(triangles: Array, rhs: Array, alpha: Array, weight: Array, failed: Array, below: Any) -> None:
    """Solve the systems of a few units, one after the other; solutions of penalties below `below` are refined."""
    n_units, k = rhs.shape
    n_columns = (k + COLUMNS - 1) // COLUMNS * COLUMNS
    n_panels = k // ROWS + 1
    panels, packed = _aligned(n_panels * n_columns * ROWS), _aligned(n_columns * COLUMNS)
    pivot, inverse = np.zeros((COLUMNS, COLUMNS), np.float32), np.zeros(n_columns, np.float32)
    y, w, sums = np.zeros(n_columns, np.float32), _aligned(n_panels * ROWS), np.empty(COLUMNS, np.float32)
    exact, exact_residual = np.empty(k, np.float64), np.empty(k, np.float64)
    residual = np.zeros(n_panels * ROWS, np.float32)
    for u in range(n_units):
        _unpack(triangles[u], rhs[u], alpha[u], panels)
        failed[u] = not _factorise(panels, packed, pivot, inverse, k, n_panels, n_columns)
        if failed[u]:
            continue
        row = (k // ROWS * n_columns) * ROWS + k % ROWS
        for j in range(k):
            y[j] = panels[row + j * ROWS]
        _substitute_back(panels, inverse, y, w, sums, k, n_panels, n_columns)
        weight[u] = w[:k]
        if alpha[u] < below:
            exact[:] = w[:k]
            _residual(triangles[u], alpha[u], rhs[u], exact, exact_residual)
            residual[:k] = exact_residual
            residual[k:] = 0
            _substitute_forward(panels, inverse, residual, y, n_panels, n_columns)
            _substitute_back(panels, inverse, y, w, sums, k, n_panels, n_columns)
            size, change = 0.0, 0.0
            for j in range(k):
                size += exact[j] * exact[j]
                change += np.float64(w[j]) * np.float64(w[j])
                weight[u, j] = exact[j] + w[j]
            failed[u] = not change <= MAX_CHANGE * MAX_CHANGE * size + SUBNORMAL  # also if it is NaN


@_compiled
def _unpack(triangle: Array, rhs: Array, alpha: float, panels: Array) -> None:
    """Put a triangle into panels, alpha on its diagonal, the right-hand side as row k; zeros elsewhere."""
    k = rhs.size
    n_panels, n_columns = k // ROWS + 1, (k + COLUMNS - 1) // COLUMNS * COLUMNS
    base, origin = panels.ctypes.data, triangle.ctypes.data
    for j in range(k):
        source = j * k - j * (j - 1) // 2 - j  # where row 0 of column j would stand
        own, last = j // ROWS, k // ROWS  # the panels with the diagonal, and with row k
        for panel in range(own, n_panels):
            copy_column(base + 4 * (panel * n_columns + j) * ROWS, origin + 4 * (source + panel * ROWS))
        above, below = (
            panels[(own * n_columns + j) * ROWS :][: j % ROWS],
            panels[(last * n_columns + j) * ROWS :][:ROWS],
        )
        above[:] = 0  # what was copied from other columns
        below[k % ROWS :] = 0
        below[k % ROWS] = rhs[j]
        panels[(own * n_columns + j) * ROWS + j % ROWS] += alpha
    for j in range(k, n_columns):
        for panel in range(j // ROWS, n_panels):
            panels[(panel * n_columns + j) * ROWS :][:ROWS] = 0


@_compiled
def _factorise(
    panels: Array, packed: Array, pivot: Array, inverse: Array, k: int, n_panels: int, n_columns: int
) -> bool:
    """Factorise in place, block column by block column; return whether the matrix is positive definite."""
    base, rows, factor = panels.ctypes.data, packed.ctypes.data, pivot.ctypes.data
    for first in range(0, n_columns, COLUMNS):
        own = first // ROWS
        at = own * n_columns * ROWS + first % ROWS
        pack(base + 4 * at, rows, first)
        tile, left = base + 4 * (own * n_columns + first) * ROWS, base + 4 * own * n_columns * ROWS
        if first % ROWS >= ROWS // 2:  # rows above the pivot block are never looked at
            subtract_lower_half(tile, left, rows, first)
        else:
            subtract(tile, left, rows, first)
        if not _factorise_pivot(panels, (own * n_columns + first) * ROWS + first % ROWS, pivot, k - first):
            return False
        for c in range(COLUMNS):
            inverse[first + c] = pivot[c, c]
        subtract_and_solve(tile, left, rows, 0, factor)
        for panel in range(own + 1, n_panels):
            left = base + 4 * panel * n_columns * ROWS
            subtract_and_solve(left + 4 * first * ROWS, left, rows, first, factor)
    return True


@_compiled
def _factorise_pivot(panels: Array, at: int, pivot: Array, n_real: int) -> bool:
    """Factorise a block on the diagonal into `pivot`, with inverted diagonal; columns from `n_real` on become 0."""
    for c in range(COLUMNS):
        if c >= n_real:
            pivot[c, c] = 0
            continue
        s = panels[at + c * ROWS + c]
        for d in range(c):
            s -= pivot[c, d] * pivot[c, d]
        if not (s > 0 and np.isfinite(s)):
            return False
        pivot[c, c] = np.float32(1) / np.sqrt(s)
        for r in range(c + 1, COLUMNS):
            t = panels[at + c * ROWS + r]
            for d in range(c):
                t -= pivot[r, d] * pivot[c, d]
            pivot[r, c] = t * pivot[c, c]
    return True


@_compiled
def _substitute_back(
    panels: Array, inverse: Array, y: Array, w: Array, sums: Array, k: int, n_panels: int, n_columns: int
) -> None:
    """Solve L' w = y; w is zero beyond k."""
    base, vector = panels.ctypes.data, w.ctypes.data
    w[:] = 0
    for first in range(n_columns - COLUMNS, -1, -COLUMNS):
        own = first // ROWS
        tile = base + 4 * (own * n_columns + first) * ROWS
        columns_times(tile, n_columns * ROWS, vector + 4 * own * ROWS, n_panels - own, sums.ctypes.data)
        at = (own * n_columns + first) * ROWS + first % ROWS
        for c in range(min(COLUMNS, k - first) - 1, -1, -1):
            s = y[first + c] - sums[c]
            for d in range(c + 1, min(COLUMNS, k - first)):
                s -= panels[at + c * ROWS + d] * w[first + d]
            w[first + c] = s * inverse[first + c]


@_compiled
def _substitute_forward(
    panels: Array, inverse: Array, residual: Array, y: Array, n_panels: int, n_columns: int
) -> None:
    """Solve L y = residual; the residual is used up."""
    base, factors, vector = panels.ctypes.data, y.ctypes.data, residual.ctypes.data
    for first in range(0, n_columns, COLUMNS):
        own = first // ROWS
        at = (own * n_columns + first) * ROWS + first % ROWS
        for c in range(COLUMNS):
            s = residual[first + c]
            for d in range(c):
                s -= panels[at + d * ROWS + c] * y[first + d]
            y[first + c] = s * inverse[first + c]  # 0 from column k on
        tile = base + 4 * (own * n_columns + first) * ROWS
        minus_columns(tile, n_columns * ROWS, factors + 4 * first, vector + 4 * own * ROWS, n_panels - own)


@_summing
def _residual(triangle: Array, alpha: float, rhs: Array, w: Array, residual: Array) -> None:
    """Compute r - (A + alpha I) w in float64."""
    k = rhs.size
    for j in range(k):
        residual[j] = rhs[j] - np.float64(alpha) * w[j]
    for j in range(k):
        row = triangle[j * k - j * (j - 1) // 2 :][: k - j]
        wanted, rest = w[j:], residual[j:]
        s, factor = 0.0, w[j]
        for i in range(1, row.size):
            g = np.float64(row[i])
            s += g * wanted[i]
            rest[i] -= g * factor
        rest[0] -= s + np.float64(row[0]) * factor
