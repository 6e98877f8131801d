"""The iterations of `numerics.ard` for one unit on the CPU, compiled: no lock of Python's is held, threads run freely.

The formulas stand in `numerics.ard_kernel`. Here the system shrinks as soon as a voxel is pruned, and the matrix is
factorised and inverted by halves, so that nearly all work is in products of BLAS: at 250 and 500 unknowns that takes a
quarter less time than LAPACK's dpotrf and dtrtri on the whole (`benchmarks/bench_ard.py` measures both). BLAS and
LAPACK are called at addresses given at run time: those known to the compiler could not be kept in numba's cache.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hpc_recon.core.array import Array
from hpc_recon.numerics.ard_kernel import SMALLEST, Rules
from hpc_recon.numerics.lapack import factor_addresses

#: Up to this many unknowns LAPACK is called; larger systems are halved.
_LEAF = 128

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
#: Characters that the routines take, and where they stand in the arrays that hold them.
_LETTERS = np.frombuffer(b"UTNLR", np.uint8)
_UPPER, _TRANSPOSED, _NOT, _LEFT, _RIGHT = range(5)
_SIGNS = np.array([1.0, -1.0])


def regress(
    gram: Array, right: Array, *, squares: float, total: float, n_samples: int, rules: Rules
) -> tuple[Array, bool]:
    """Run all iterations of one unit.

    Parameters
    ----------
    gram : (k, k) float64, C-contiguous
        X'X; only the lower triangle is read. Overwritten.
    right : (k,) float64
        X'y.
    squares, total
        y'y and the sum of y over samples.

    Returns
    -------
    weight : (k + 1,) float64
        Of the voxels and the constant column; exactly 0 where pruned, and everywhere if the unit failed.
    failed
        Whether the matrix could not be factorised, or the numbers ceased to be finite.

    Notes
    -----
    Memory: two more matrices (k, k). Other threads run meanwhile; BLAS should be held to one thread.
    """
    k = len(right)
    if gram.shape != (k, k) or not gram.dtype == right.dtype == np.float64 or not gram.flags.c_contiguous:
        raise ValueError(
            f"ard_compiled.regress needs C-contiguous float64 arrays (k, k) and (k,), "
            f"got {gram.shape} {gram.dtype} and {right.shape} {right.dtype}"
        )
    weight = np.zeros(k + 1)
    failed = _regress(
        gram, np.ascontiguousarray(right), float(squares), float(total), float(n_samples),
        rules.iterations, rules.geometric, rules.prune_by_weight, rules.prune_threshold, rules.converge_after,
        rules.tolerance, weight, np.empty((k, k)), np.empty((k, k)),
        _tools(),
    )  # fmt: skip
    if failed:
        weight[:] = 0.0
    return weight, bool(failed)


def factor_and_invert(A: Array, V: Array) -> int:
    """Factorise A = L L' and invert L, in place.

    Parameters
    ----------
    A : (k, k) float64, C-contiguous
        Symmetric positive definite; only the lower triangle is read. It is overwritten by L.
    V : (k, k) float64, C-contiguous
        The lower triangle is overwritten by L^-1. What stands above the diagonals of A and V is left as it is.

    Returns
    -------
    0, or the order of the leading minor that is not positive definite; A and V then hold nothing of use.
    """
    return int(_factor_and_invert(A, V, A.shape[0], _tools()))


def _tools() -> tuple[Array, Array, Array, Array]:
    """Return addresses of the routines, and arrays for what they are given by address; one set for each thread."""
    return np.array(factor_addresses(), np.int64), _LETTERS, _SIGNS, np.zeros(4, np.int32)


def _write_call(_context: Any, address: Any, arguments: Any) -> Any:
    """Write the call of a routine that takes pointers and returns nothing; all are given as addresses."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        n, unpack = signature.args[1].count, cast("Any", cgutils.unpack_tuple)
        pointer = ir.IntType(8).as_pointer()
        routine = builder.inttoptr(values[0], ir.FunctionType(ir.VoidType(), [pointer] * n).as_pointer())
        builder.call(routine, [builder.inttoptr(value, pointer) for value in unpack(builder, values[1], n)])
        return context.get_dummy_value()

    return types.void(address, arguments), code


_call: Any = intrinsic(_write_call)


@_compiled
def _leaf(A: Array, V: Array, start: int, stop: int, tools: Any) -> int:
    """Factorise and invert a small part of the matrix by LAPACK."""
    routines, letters, _, sizes = tools
    letter, size = letters.ctypes.data, sizes.ctypes.data
    at = 8 * (start * A.shape[1] + start)
    sizes[0], sizes[1], sizes[2] = stop - start, A.shape[1], 0
    _call(routines[0], (letter + _UPPER, size, A.ctypes.data + at, size + 4, size + 8))  # dpotrf
    if sizes[2] != 0:
        return int(start + sizes[2])
    for i in range(start, stop):
        for j in range(start, i + 1):
            V[i, j] = A[i, j]
    _call(routines[1], (letter + _UPPER, letter + _NOT, size, V.ctypes.data + at, size + 4, size + 8))  # dtrtri
    return int(sizes[2])


@_compiled
def _eliminate(A: Array, V: Array, start: int, middle: int, stop: int, tools: Any) -> None:
    """With the first half done: L21 = A21 V11', A22 <- A22 - L21 L21'.

    A lower triangle in C order is an upper one in the routines' order, which see A21', V11' and so on.
    """
    routines, letters, signs, sizes = tools
    letter, one, size = letters.ctypes.data, signs.ctypes.data, sizes.ctypes.data
    m, n, ld, k = size, size + 4, size + 8, A.shape[1]
    sizes[0], sizes[1], sizes[2] = middle - start, stop - middle, k
    v11 = V.ctypes.data + 8 * (start * k + start)
    a21, a22 = A.ctypes.data + 8 * (middle * k + start), A.ctypes.data + 8 * (middle * k + middle)
    up, transposed, no, left = letter + _UPPER, letter + _TRANSPOSED, letter + _NOT, letter + _LEFT
    _call(routines[2], (left, up, transposed, no, m, n, one, v11, ld, a21, ld))  # dtrmm: V11 A21'
    _call(routines[3], (up, transposed, n, m, one + 8, a21, ld, one, a22, ld))  # dsyrk


@_compiled
def _join(A: Array, V: Array, start: int, middle: int, stop: int, tools: Any) -> None:
    """With both halves done: V21 = -V22 L21 V11."""
    routines, letters, signs, sizes = tools
    letter, one, size = letters.ctypes.data, signs.ctypes.data, sizes.ctypes.data
    m, n, ld, k = size, size + 4, size + 8, A.shape[1]
    sizes[0], sizes[1], sizes[2] = middle - start, stop - middle, k
    for i in range(middle, stop):
        for j in range(start, middle):
            V[i, j] = A[i, j]
    v11, v21 = V.ctypes.data + 8 * (start * k + start), V.ctypes.data + 8 * (middle * k + start)
    v22 = V.ctypes.data + 8 * (middle * k + middle)
    up, no, left, right = letter + _UPPER, letter + _NOT, letter + _LEFT, letter + _RIGHT
    _call(routines[2], (left, up, no, no, m, n, one + 8, v11, ld, v21, ld))  # dtrmm: -V11' L21'
    _call(routines[2], (right, up, no, no, m, n, one, v22, ld, v21, ld))  # dtrmm: times V22'


@_compiled
def _factor_and_invert(A: Array, V: Array, m: int, tools: Any) -> int:
    """Do the first m rows and columns, by halves of halves.

    With a stack of its own: a compiled function that calls itself crashes when it comes from numba's cache (0.68).
    """
    stack = np.empty((64, 3), np.int64)  # start, stop, halves done
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, m, 0
    top = 0
    while top >= 0:
        start, stop, done = stack[top, 0], stack[top, 1], stack[top, 2]
        middle = (start + stop) // 2
        if stop - start <= _LEAF:
            failed = _leaf(A, V, start, stop, tools)
            if failed != 0:
                return failed
            top -= 1
        elif done == 2:
            _join(A, V, start, middle, stop, tools)
            top -= 1
        else:
            if done == 1:
                _eliminate(A, V, start, middle, stop, tools)
            stack[top, 2] = done + 1
            top += 1
            stack[top, 2] = 0
            stack[top, 0] = start if done == 0 else middle
            stack[top, 1] = middle if done == 0 else stop
    return 0


@_compiled
def _posterior(gram: Array, a: Array, right: Array, w: Array, g: Array, m: int, B: Array, V: Array, tools: Any) -> bool:
    """Compute w and g of the m voxels in use; return whether the matrix could be factorised."""
    s, scaled = np.empty(m), np.empty(m)
    for i in range(m):
        s[i] = np.sqrt(a[i])
        scaled[i] = s[i] * right[i]
    for i in range(m):
        for j in range(i + 1):
            B[i, j] = gram[i, j] * s[j] * s[i]
        B[i, i] = 1.0 + a[i] * gram[i, i]
    if _factor_and_invert(B, V, m, tools) != 0:
        return False
    for i in range(m):
        t = 0.0
        for j in range(i):
            t += B[i, j] * B[i, j]
        t = a[i] * gram[i, i] - t
        g[i] = t / (1.0 + t)
        w[i] = 0.0
    for i in range(m):
        z = 0.0
        for j in range(i + 1):
            z += V[i, j] * scaled[j]
        for j in range(i + 1):
            w[j] += V[i, j] * z
        for j in range(i):
            g[j] -= V[i, j] * V[i, j]
    for i in range(m):
        w[i] *= s[i]
    return True


@_compiled
def _noise(gram: Array, a: Array, right: Array, w: Array, m: int, squares: float, n_samples: float) -> float:
    """Return sigma^2; the constant column is number m of a, right and w."""
    explained = 0.0
    for i in range(m + 1):
        explained += w[i] * right[i]
    noise = (squares - explained) / n_samples
    if noise >= SMALLEST * squares / n_samples:
        return noise
    rest = squares - 2.0 * explained + w[m] * w[m] * n_samples
    for i in range(m):
        fitted = 0.0
        for j in range(i):
            fitted += gram[i, j] * w[j]
        rest += w[i] * (2.0 * fitted + gram[i, i] * w[i])
    rest = max(rest, 0.0)
    for i in range(m + 1):
        if a[i] > 0:
            rest += w[i] * w[i] / a[i]
    return float(max(rest / n_samples, SMALLEST))


@_compiled
def _regress(
    gram: Array, right: Array, squares: float, total: float, n_samples: float, iterations: int, geometric: int,
    prune_by_weight: bool, threshold: float, converge_after: int, tolerance: float, weight: Array, B: Array, V: Array,
    tools: Any,
) -> bool:  # fmt: skip
    """Iterate; write the weights; return whether the unit failed. The constant column is number m of all vectors."""
    m = right.size
    column, place = np.arange(m), np.empty(m, np.int64)
    r, w, g = np.append(right, total), np.zeros(m + 1), np.zeros(m + 1)
    length = n_samples
    for i in range(m):
        length += gram[i, i]
    a = np.full(m + 1, n_samples * (m + 1) / length)
    for iteration in range(1, iterations + 1):
        if not _posterior(gram, a, r, w, g, m, B, V, tools):
            return True
        own = a[m] * n_samples
        w[m], g[m] = a[m] * r[m] / (1.0 + own), own / (1.0 + own)
        noise = _noise(gram, a, r, w, m, squares, n_samples)
        largest, change, finite = 0.0, 0.0, np.isfinite(noise)
        for i in range(m + 1):
            fixed_point = w[i] * w[i] / (noise * max(g[i], SMALLEST))
            g[i] = np.sqrt(a[i] * fixed_point) if iteration <= geometric else fixed_point  # the new variance
            finite = finite and np.isfinite(g[i])
            change = max(change, abs(g[i] - a[i]))
            largest = max(largest, w[i] * w[i] if prune_by_weight else g[i])
        if not finite:
            return True
        kept, pruned = 0, False
        for i in range(m + 1):
            size = w[i] * w[i] if prune_by_weight else g[i]
            if size > threshold * largest and g[i] > 0:
                if i < m:
                    place[kept] = i
                    kept += 1
            else:
                pruned = pruned or a[i] > 0
                w[i] = g[i] = 0.0
        for j in range(kept):
            i = place[j]
            column[j], r[j], w[j], g[j] = column[i], r[i], w[i], g[i]
        if kept < m:
            for j in range(kept):
                for i in range(j + 1):
                    gram[j, i] = gram[place[j], place[i]]
            r[kept], w[kept], g[kept] = r[m], w[m], g[m]  # the constant column stands last
            m = kept
        a[: m + 1] = g[: m + 1]
        if (m == 0 and a[0] == 0) or (iteration > converge_after and not pruned and change < tolerance):
            break
    for j in range(m):
        weight[column[j]] = w[j]
    weight[-1] = w[m]
    return False
