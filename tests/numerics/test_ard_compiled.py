"""The compiled iterations of one unit; `test_ard.py` compares whole fits with the published iterations."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hpc_recon.numerics import ard_compiled
from hpc_recon.numerics.ard import ArdOptions


@pytest.mark.parametrize("k", [1, 2, 31, 128, 129, 300, 520])
def test_factor_and_invert(k) -> None:
    """Against numpy; systems of 1, 2, 4 and 8 leaves, and what stands above the diagonals is left alone."""
    rng = np.random.default_rng(k)
    root = rng.normal(size=(k, k + 5))
    S = root @ root.T / k + np.eye(k)
    L, above = np.linalg.cholesky(S), np.triu(np.full((k, k), 7.0), 1)
    A, V = np.tril(S) + above, np.full((k, k), 7.0)
    assert ard_compiled.factor_and_invert(A, V) == 0
    np.testing.assert_allclose(np.tril(A), L, atol=1e-11)
    np.testing.assert_allclose(np.tril(V), np.linalg.inv(L), atol=1e-11)
    np.testing.assert_array_equal(np.triu(A, 1), above)
    np.testing.assert_array_equal(np.triu(V, 1), above)


@pytest.mark.parametrize("minor", [1, 7, 140, 300])
def test_the_minor_that_fails_is_reported(minor) -> None:
    diagonal = np.ones(300)
    diagonal[minor - 1] = -1.0
    assert ard_compiled.factor_and_invert(np.diag(diagonal), np.zeros((300, 300))) == minor


def test_small_determinedness_keeps_its_digits() -> None:
    """Variances down to 1e-12 of the largest, against 60-digit arithmetic; 1 - (B^-1)_dd itself has lost them."""
    rng = np.random.default_rng(0)
    n, k = 50, 14
    X = rng.normal(size=(n, k)) + rng.normal(size=(n, 1))
    gram, right = X.T @ X, X.T @ rng.normal(size=n)
    a = 10.0 ** rng.permutation(np.linspace(-12, 0, k))
    w, g = np.empty(k), np.empty(k)
    assert ard_compiled._posterior(gram, a, right, w, g, k, np.empty((k, k)), np.empty((k, k)), ard_compiled._tools())
    with mpmath.workdps(60):
        G = mpmath.matrix(gram.tolist())
        inverse = (G + mpmath.diag([1 / mpmath.mpf(x) for x in a])) ** -1
        exact_g = np.array([float((G * inverse)[d, d]) for d in range(k)])
        exact_w = np.array([float(x) for x in inverse * mpmath.matrix(right.tolist())])
    np.testing.assert_allclose(g, exact_g, rtol=1e-11)
    np.testing.assert_allclose(w, exact_w, rtol=1e-10)
    B = np.eye(k) + np.sqrt(a)[:, None] * gram * np.sqrt(a)
    assert np.abs((1 - np.diag(np.linalg.inv(B))) / exact_g - 1).max() > 1e-7


@pytest.mark.parametrize(("case", "wanted"), [("exact", None), ("noisy", None), ("nothing", 1e-15)])
def test_noise_that_vanishes_is_the_residual_with_the_prior(case, wanted) -> None:
    """(|y - Xw|^2 + sum w^2/a) / T where y'y - w'r has no digits left, at least 1e-15; and the plain form elsewhere."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 6))
    X -= X.mean(axis=0)
    w = rng.normal(size=7)
    y = X @ w[:6] + w[6] + (rng.normal(size=40) if case == "noisy" else 0.0)
    a = np.full(7, 1e300) if case == "nothing" else rng.random(7) + 0.5
    right = np.append(X.T @ y, y.sum())
    if wanted is None:
        wanted = (w**2 / a).sum() / 40 if case == "exact" else (y @ y - w @ right) / 40
    noise = ard_compiled._noise(X.T @ X, a, right, w, 6, float(y @ y), 40.0)
    assert noise == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("gram", "right"),
    [
        (np.eye(3), np.zeros(4)),
        (np.eye(3, dtype=np.float32), np.zeros(3, np.float32)),
        (np.eye(6)[:3, ::2], np.zeros(3)),
    ],
)
def test_other_layouts_are_refused(gram, right) -> None:
    with pytest.raises(ValueError, match="C-contiguous float64"):
        ard_compiled.regress(gram, right, squares=1.0, total=0.0, n_samples=9, rules=ArdOptions().rules())


def test_other_threads_run_meanwhile(others_run) -> None:
    """No lock of Python's is held for the length of a unit."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 300)), rng.normal(size=900)
    gram, right, rules = X.T @ X, X.T @ y, ArdOptions(iterations=60).rules()
    own = {"squares": float(y @ y), "total": float(y.sum()), "n_samples": 900, "rules": rules}
    with threadpool_limits(1, user_api="blas"):
        ard_compiled.regress(gram.copy(), right, **{**own, "rules": ArdOptions(iterations=1).rules()})  # compiles
        # A busy machine pauses a thread too, but not each time; a lock would.
        assert any(others_run(lambda: ard_compiled.regress(gram.copy(), right, **own), times=5) for _ in range(5))
