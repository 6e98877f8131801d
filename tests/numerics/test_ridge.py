from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import ridge
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


@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 0.5])
def test_near_copies_with_a_tiny_penalty_are_solved_as_in_double(alpha) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(900, 10))
    X = np.repeat(base, 5, axis=1) + 1e-3 * rng.normal(size=(900, 50))
    targets = rng.normal(size=(20, 900))
    targets -= targets.mean(axis=1, keepdims=True)
    voxel = np.tile(np.arange(50), (20, 1))
    brain = brain_statistics(X.astype(np.float32))
    rhs = (targets @ brain.sums).astype(np.float32)
    weight, _ = ridge.solve(brain, voxel, rhs=rhs, targets=targets.astype(np.float32), alphas=[alpha])
    gram = brain.gram.astype(float)
    error = weight[0] - np.linalg.solve(gram + alpha * np.eye(50), rhs.T.astype(float)).T
    off = np.sqrt(np.einsum("uv,vw,uw->u", error, gram, error) / 900)  # of the predictions, in a unit's spread
    assert off.max() < 1e-4
