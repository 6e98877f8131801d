"""Orthogonal maps against scipy's Procrustes on sides that are filled up with zeros, and known rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import alignment


@pytest.mark.parametrize(("n_source", "n_target"), [(7, 7), (5, 8), (8, 5)])
def test_procrustes_against_scipy_with_zeros_filled_in(n_source, n_target) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, n_source)), rng.normal(size=(40, n_target))
    most = max(n_source, n_target)
    filled = [np.pad(A, ((0, 0), (0, most - A.shape[1]))) for A in (X, Y)]
    expected, _ = orthogonal_procrustes(*filled)
    np.testing.assert_allclose(alignment.procrustes(X, Y), expected[:n_source, :n_target], atol=1e-10)


def test_procrustes_with_fewer_samples_than_voxels_is_that_of_the_whole_product() -> None:
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(6, 20)), rng.normal(size=(6, 15))
    u, s, vt = np.linalg.svd(X.T @ Y)
    R = alignment.procrustes(X, Y)
    np.testing.assert_allclose(R, u[:, :6] @ vt[:6], atol=1e-10)
    assert (s[6:] < 1e-10).all()


def test_a_rotation_is_found_again_by_both_methods() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(50, 6))
    Q = ortho_group.rvs(6, random_state=3)
    np.testing.assert_allclose(alignment.procrustes(X, X @ Q), Q, atol=1e-10)
    first, second = alignment.hyperalign([X, X @ Q])
    np.testing.assert_allclose(first @ second.T, Q, atol=1e-10)


def test_hyperalignment_of_three_against_its_levels_written_out() -> None:
    rng = np.random.default_rng(4)
    signal = rng.normal(size=(50, 5))
    sides = [signal @ rng.normal(size=(5, n)) + 0.3 * rng.normal(size=(50, n)) for n in (7, 9, 8)]
    A, B, C = (np.pad(side, ((0, 0), (0, 9 - side.shape[1]))) for side in sides)

    def align(side, template):
        u, s, vt = np.linalg.svd(side.T @ template)
        kept = s > 1e-10 * s[0]
        return side @ u[:, kept] @ vt[kept]

    a1, b1 = A, align(B, A)
    c1 = align(C, (a1 + b1) / 2)
    second = [align(A, (b1 + c1) / 2), align(B, (a1 + c1) / 2), align(C, (a1 + b1) / 2)]
    template = sum(second) / 3
    for side, padded, R in zip(sides, (A, B, C), alignment.hyperalign(sides), strict=True):
        assert R.shape == (side.shape[1], 9)
        np.testing.assert_allclose(side @ R, align(padded, template), atol=1e-9)


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(DataError, match=r"same samples"):
        alignment.procrustes(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(DataError, match=r"nothing|no covariance"):
        alignment.procrustes(np.zeros((3, 2)), np.ones((3, 2)))
    with pytest.raises(DataError, match=r"two or more persons"):
        alignment.hyperalign([np.ones((3, 2))])
