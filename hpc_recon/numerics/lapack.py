"""Batches of small positive definite systems on the CPU, without holding Python's global lock.

`scipy.linalg.lapack.sposv` holds the lock for as long as it runs, so threads would take turns, and
`numpy.linalg.solve` frees it but factorises by LU, 2.3 to 3.3 times slower at 100 to 500 unknowns (measured).
The same LAPACK routines stand in `scipy.linalg.cython_lapack` for compiled callers, those of BLAS in `cython_blas`;
ctypes calls them without it, and numba's compiled functions take their addresses.
"""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any

import numpy as np

from hpc_recon.core.array import Array

_ROUTINES = {"float32": "sposv", "float64": "dposv"}
#: The same for a system that is factorised already.
_AFTERWARDS = {"float32": "spotrs", "float64": "dpotrs"}


@cache
def routine_of(dtype: str, *, factorised: bool = False) -> Any:
    """Return `?posv`, or `?potrs` for factorised systems, as a ctypes function; eight pointers, nothing returned."""
    name = (_AFTERWARDS if factorised else _ROUTINES)[dtype]
    address = _address("cython_lapack", name, 8, b"void (char *, int *, int *,")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 8)(address)


@cache
def factor_addresses() -> tuple[int, int, int, int]:
    """Return where dpotrf, dtrtri, dtrmm and dsyrk stand in memory: functions of pointers that return nothing.

    They take 5, 6, 11 and 10 pointers, to char, int (32 bits) and double, without lengths of strings.
    """
    return (
        _address("cython_lapack", "dpotrf", 5, b"void (char *, int *,"),
        _address("cython_lapack", "dtrtri", 6, b"void (char *, char *, int *,"),
        _address("cython_blas", "dtrmm", 11, b"void (char *, char *, char *, char *, int *, int *,"),
        _address("cython_blas", "dsyrk", 10, b"void (char *, char *, int *, int *,"),
    )


def _address(library: str, name: str, n_arguments: int, begins: bytes) -> int:
    """Return the address of a routine of BLAS or LAPACK, which scipy brings: imported here, a GPU needs none of it.

    Raises
    ------
    RuntimeError
        If its signature is not the one that this code knows.
    """
    module = importlib.import_module(f"scipy.linalg.{library}")
    routines: dict[str, Any] = dict(module.__pyx_capi__)
    capsule = routines[name]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name_of(capsule)
    if not signature.startswith(begins) or signature.count(b",") != n_arguments - 1:
        raise RuntimeError(f"{module.__name__} has another {name[1:]} than this code knows: {signature.decode()}")
    return int(pointer_of(capsule, signature))


def posv(A: Array, b: Array) -> Array:
    """Solve `A[i] x = b[i]` for every i by Cholesky factorisation, in place.

    Parameters
    ----------
    A : (n, k, k) float32 or float64, C-contiguous
        Symmetric positive definite; only the lower triangles are read. Overwritten by the factors.
    b : (n, k), same dtype, C-contiguous
        Right-hand sides; overwritten by the solutions, except where a factorisation failed.

    Returns
    -------
    (n,) int64
        0 where the system was solved, else the order of the leading minor that is not positive definite.

    Examples
    --------
    >>> A, b = np.array([[[4.0, 0.0], [2.0, 3.0]]]), np.array([[2.0, 5.0]])
    >>> posv(A, b).tolist(), b.round(12).tolist()
    ([0], [[-0.5, 2.0]])
    """
    n, k = b.shape
    usable = A.shape == (n, k, k) and A.dtype == b.dtype and A.dtype.name in _ROUTINES
    if not (usable and A.flags.c_contiguous and b.flags.c_contiguous):
        raise ValueError(
            f"posv needs C-contiguous float32 or float64 arrays (n, k, k) and (n, k), "
            f"got {A.shape} {A.dtype} and {b.shape} {b.dtype}"
        )
    failed = np.zeros(n, np.int64)
    if n == 0 or k == 0:
        return failed
    routine = routine_of(A.dtype.name)
    # A lower triangle in C order is an upper one in LAPACK's order.
    triangle, order, one, status = ctypes.c_char(b"U"), ctypes.c_int(k), ctypes.c_int(1), ctypes.c_int(0)
    at = ctypes.addressof
    a0, b0, a_step, b_step = A.ctypes.data, b.ctypes.data, k * k * A.itemsize, k * b.itemsize
    for i in range(n):
        routine(at(triangle), at(order), at(one), a0 + i * a_step, at(order), b0 + i * b_step, at(order), at(status))
        failed[i] = status.value
    return failed
