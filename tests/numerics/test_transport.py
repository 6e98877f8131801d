"""Optimal transport against an assignment by scipy, a linear program and Sinkhorn's steps written out."""

from __future__ import annotations

import importlib
import tracemalloc

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.numerics import transport


def standardised(n, k, seed):
    X = np.random.default_rng(seed).normal(size=(n, k))
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)


def test_the_exact_plan_of_equal_sides_is_the_best_assignment():
    X, Y = standardised(12, 7, 0), standardised(12, 7, 1)
    cost = np.sqrt(np.maximum(2 - 2 * X.T @ Y / 11, 0))
    np.testing.assert_allclose(transport.distances(X, Y), cost, atol=1e-12)
    rows, columns = linear_sum_assignment(cost)
    expected = np.zeros((7, 7))
    expected[rows, columns] = 1
    np.testing.assert_allclose(transport.transport(X, Y, regularisation=0), expected, atol=1e-12)


def test_the_exact_plan_of_unequal_sides_is_that_of_a_linear_program():
    X, Y = standardised(12, 3, 0), standardised(12, 4, 1)
    cost = transport.distances(X, Y)
    margins = np.vstack([np.kron(np.eye(3), np.ones(4)), np.kron(np.ones(3), np.eye(4))])
    best = linprog(cost.ravel(), A_eq=margins, b_eq=[1 / 3] * 3 + [1 / 4] * 4)
    R = transport.transport(X, Y, regularisation=0)
    assert (cost * R / 4).sum() == pytest.approx(best.fun, abs=1e-9)
    np.testing.assert_allclose(R.sum(axis=0), 1)


@pytest.mark.parametrize("regularisation", [0.1, 0.003])
def test_the_regularised_plan_is_that_of_sinkhorns_steps(regularisation):
    """The smaller one needs logarithms."""
    X, Y = standardised(30, 5, 2), standardised(30, 6, 3)
    Y[:, :5] += 1.5 * X
    Y = (Y - Y.mean(axis=0)) / Y.std(axis=0, ddof=1)
    log_kernel = -transport.distances(X, Y) / regularisation
    f, g = np.zeros(5), np.zeros(6)
    for _ in range(20_000):
        f = -np.log(5) - np.logaddexp.reduce(log_kernel + g, axis=1)
        g = -np.log(6) - np.logaddexp.reduce(log_kernel + f[:, None], axis=0)
    expected = 6 * np.exp(log_kernel + f[:, None] + g)
    np.testing.assert_allclose(transport.transport(X, Y, regularisation=regularisation), expected, atol=1e-4)


@pytest.mark.parametrize("regularisation", [0, 0.1, 1e-3])
def test_memory_is_what_was_projected(regularisation, monkeypatch):
    """Of numpy's arrays, which tracemalloc counts; 1e-3 takes logarithms."""
    monkeypatch.setattr(transport, "_MARGIN", np.inf)
    monkeypatch.setattr(transport, "_ITERATIONS", 10)
    X, Y = standardised(40, 500, 0), standardised(40, 450, 1)
    transport.transport(X[:, :9], Y[:, :9], regularisation=regularisation)  # what is imported is not counted
    tracemalloc.start()
    transport.transport(X, Y, regularisation=regularisation)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    projected, library = (transport.transport_bytes(n, 450, regularisation=regularisation) for n in (500, 0))
    assert 0.5 * (projected - library) < peak < 1.05 * (projected - library)


def test_what_cannot_be_transported_is_said():
    with pytest.raises(DataError, match="same samples"):
        transport.transport(np.ones((3, 2)), np.ones((4, 2)), regularisation=0)


def test_sinkhorn_that_does_not_converge_is_an_error(monkeypatch):
    monkeypatch.setattr(transport, "_ITERATIONS", 1)
    with pytest.raises(DataError, match=r"did not converge: .* raise convert.regularisation above 0.01"):
        transport.transport(standardised(9, 5, 0), standardised(9, 8, 1), regularisation=0.01)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(StudyError, match=r"needs the package POT.*pip install hpc_recon\[ot\]"):
        transport.require()
