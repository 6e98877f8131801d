from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import lapack, ridge
from hpc_recon.numerics.stats import brain_statistics


def setup(n, d, k, *, dtype=np.float64, n_units=70):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)).astype(dtype)
    brain = brain_statistics(X)
    Z = (X - brain.mean) / brain.scale
    voxel = np.sort(np.argsort(rng.random((n_units, d)), axis=1)[:, :k], axis=1)
    targets = rng.normal(size=(n_units, n)).astype(dtype)
    targets -= targets.mean(axis=1, keepdims=True)
    rhs = np.take_along_axis(targets @ brain.sums, voxel, axis=1)
    return brain, Z, voxel, targets, rhs


@pytest.mark.parametrize(
    ("n", "d", "k"), [(300, 40, 10), (20, 60, 35), (40, 60, 8), (257, 300, 290)], ids=["gram", "dual", "direct", "N<k"]
)
def test_against_dense_solutions(n, d, k) -> None:
    brain, Z, voxel, targets, rhs = setup(n, d, k)
    weight, redone = ridge.solve(brain, voxel, rhs=rhs, targets=targets, alphas=[0.5, 30.0])
    assert redone == 0
    for a, alpha in enumerate([0.5, 30.0]):
        for j in (0, 1, 63, 64, 69):
            own = Z[:, voxel[j]]
            expected = np.linalg.solve(own.T @ own + alpha * np.eye(k), own.T @ targets[j])
            np.testing.assert_allclose(weight[a, j], expected, atol=1e-10)


def test_a_hopeless_penalty_is_an_error() -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(300, 2)), 5, axis=1).astype(np.float32)
    brain = brain_statistics(X)
    with pytest.raises(DataError, match="too small"):
        ridge.solve(
            brain, np.arange(10)[None], rhs=np.ones((1, 10), np.float32), targets=np.ones((1, 300)), alphas=[1e-30]
        )


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
