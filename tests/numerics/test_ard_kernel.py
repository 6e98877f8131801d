"""The batches that run on a GPU, run by numpy; `test_ard.py` compares whole fits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from hpc_recon.numerics import ard_kernel


@pytest.mark.parametrize("m", [1, 20, 32, 33, 150])
def test_the_factorisation_equals_numpy(m) -> None:
    rng = np.random.default_rng(m)
    root = rng.normal(size=(4, m, m + 5))
    S = root @ root.transpose(0, 2, 1) / m + np.eye(m)
    A, V = np.tril(S), np.full_like(S, 3.0)
    assert not ard_kernel.factor_and_invert(A, V).any()
    np.testing.assert_allclose(A, np.linalg.cholesky(S), atol=1e-11)
    np.testing.assert_allclose(V, np.linalg.inv(np.linalg.cholesky(S)), atol=1e-11)
    np.testing.assert_array_equal(np.triu(V, 1), 0)


def test_a_factorisation_that_says_nothing_of_its_failure_is_found(monkeypatch) -> None:
    """cupy's batched Cholesky returns what it has when a pivot is negative."""

    cholesky = np.linalg.cholesky

    def silent(A):
        good = np.linalg.eigvalsh(A).min(axis=1) > 0
        return cholesky(np.where(good[:, None, None], A, np.eye(A.shape[1])))

    monkeypatch.setattr(np.linalg, "cholesky", silent)
    S = np.repeat(np.eye(80)[None] * 2.0, 3, axis=0)
    S[1, 60, 60] = -1.0
    assert ard_kernel.factor_and_invert(S, np.zeros_like(S)).tolist() == [False, True, False]


def test_small_determinedness_keeps_its_digits(monkeypatch) -> None:
    """Variances down to 1e-12 of the largest, against 60-digit arithmetic; 1 - (B^-1)_dd itself has lost them."""
    monkeypatch.setattr(ard_kernel, "_LEAF", 4)
    rng = np.random.default_rng(0)
    n, k = 50, 14
    X = rng.normal(size=(n, k)) + rng.normal(size=(n, 1))
    gram, right = X.T @ X, X.T @ rng.normal(size=n)
    batch = ard_kernel.systems(gram[None].copy(), right[None], squares=np.ones(1), total=np.ones(1), n_samples=n)
    a = 10.0 ** rng.permutation(np.linspace(-12, 0, k))
    batch.variance = np.append(a, 1.0)[None]
    w, g, failed = ard_kernel._posterior(batch, np.empty((1, k, k)), np.zeros((1, k, k)))
    with mpmath.workdps(60):
        G = mpmath.matrix(gram.tolist())
        inverse = (G + mpmath.diag([1 / mpmath.mpf(x) for x in a])) ** -1
        exact_g = np.array([float((G * inverse)[d, d]) for d in range(k)])
        exact_w = np.array([float(x) for x in inverse * mpmath.matrix(right.tolist())])
    assert not failed.any()
    np.testing.assert_allclose(g[0, :k], exact_g, rtol=1e-11)
    np.testing.assert_allclose(w[0, :k], exact_w, rtol=1e-10)
    B = np.eye(k) + np.sqrt(a)[:, None] * gram * np.sqrt(a)
    assert np.abs((1 - np.diag(np.linalg.inv(B))) / exact_g - 1).max() > 1e-7


def test_noise_that_vanishes_is_the_residual_with_the_prior() -> None:
    """(|y - Xw|^2 + sum w^2/a) / T where y'y - w'r has no digits left, at least 1e-15; and the plain form elsewhere."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 40, 6))
    X -= X.mean(axis=1, keepdims=True)
    w = np.concatenate([rng.normal(size=(3, 6)), np.zeros((3, 1))], axis=1)
    y = (X @ w[:, :6, None])[:, :, 0]
    y[1] += rng.normal(size=40)
    gram, right = X.transpose(0, 2, 1) @ X, (y[:, None] @ X)[:, 0]
    batch = ard_kernel.systems(gram, right, squares=(y**2).sum(1), total=y.sum(1), n_samples=40)
    batch.variance = rng.random((3, 7)) + 0.5
    batch.variance[2] = 1e300
    wanted = (w**2 / batch.variance).sum(1) / 40
    wanted[1] = (batch.squares[1] - w[1, :6] @ right[1]) / 40
    wanted[2] = 1e-15
    np.testing.assert_allclose(ard_kernel._noise(batch, w, n_samples=40), wanted, rtol=1e-10)
