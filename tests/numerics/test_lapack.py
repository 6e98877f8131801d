from __future__ import annotations

import ctypes

import numpy as np
import pytest

from hpc_recon.numerics import lapack


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-11)])
@pytest.mark.parametrize("k", [1, 3, 90])
def test_posv(k, dtype, tolerance) -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, k, k + 4))
    A = (root @ root.transpose(0, 2, 1) + np.eye(k)).astype(dtype)
    b = rng.normal(size=(5, k)).astype(dtype)
    lower, x = np.tril(A), b.copy()
    assert not lapack.posv(lower, x).any()
    np.testing.assert_allclose(x, np.linalg.solve(A, b[..., None])[..., 0], atol=tolerance)


def test_posv_reports_what_is_not_positive_definite() -> None:
    A = np.array([np.eye(3), np.diag([1.0, -1.0, 1.0]), np.eye(3)])
    b = np.ones((3, 3))
    assert lapack.posv(A, b).tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("A", "b"),
    [
        (np.zeros((2, 3, 3)), np.zeros((2, 4))),
        (np.zeros((2, 3, 3), np.float32), np.zeros((2, 3))),
        (np.zeros((3, 3, 2)).transpose(2, 0, 1), np.zeros((2, 3))),
        (np.zeros((2, 3, 3), int), np.zeros((2, 3), int)),
    ],
)
def test_posv_refuses_other_layouts(A, b) -> None:
    with pytest.raises(ValueError, match="C-contiguous float32 or float64"):
        lapack.posv(A, b)


def test_other_threads_run_meanwhile(others_run) -> None:
    """scipy.linalg.lapack.sposv holds Python's lock, so threads would take turns; this is why ctypes is used."""
    A, b = np.eye(1500, dtype=np.float32)[None] * 2, np.ones((1, 1500), np.float32)
    # A busy machine pauses a thread too, but not each time; a lock would.
    assert any(others_run(lambda: lapack.posv(A.copy(), b.copy()), times=10) for _ in range(5))


def test_nothing_to_solve() -> None:
    assert lapack.posv(np.zeros((0, 3, 3)), np.zeros((0, 3))).shape == (0,)
    assert lapack.posv(np.zeros((2, 0, 0)), np.zeros((2, 0))).tolist() == [0, 0]


def test_addresses_are_those_of_the_routines() -> None:
    """dpotrf by its address, on a 2 x 2 matrix; the others are called in the tests of `ard_compiled`."""
    addresses = lapack.factor_addresses()
    assert len(set(addresses)) == 4
    A, order, status = np.array([[4.0, 2.0], [0.0, 5.0]]), ctypes.c_int(2), ctypes.c_int(-1)
    potrf = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(addresses[0])
    at = ctypes.addressof
    lower = ctypes.c_char(b"L")
    potrf(at(lower), at(order), A.ctypes.data, at(order), at(status))
    assert status.value == 0
    np.testing.assert_allclose(A, [[2.0, 1.0], [0.0, 2.0]])


def test_routines_of_another_signature_are_refused() -> None:
    with pytest.raises(RuntimeError, match="has another potrf than this code knows"):
        lapack._address("cython_lapack", "dpotrf", 6, b"void (char *, int *,")
    with pytest.raises(RuntimeError, match="has another potrf than this code knows"):
        lapack._address("cython_lapack", "dpotrf", 5, b"void (int *,")
