"""Systems gathered from a Gram matrix and solved by the compiled kernel, against dense solutions in float64."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hpc_recon.numerics import systems
from hpc_recon.numerics.microkernel import COLUMNS, ROWS


def problem(k, n_units=20, n_voxels=700, n_samples=900, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n_samples, 5)) @ rng.standard_normal((5, n_voxels))
    Z = (signal + rng.standard_normal((n_samples, n_voxels))).astype(np.float32)
    voxel = np.sort(np.argsort(rng.random((n_units, n_voxels)), axis=1)[:, :k], axis=1)
    return Z.T @ Z, voxel, rng.standard_normal((n_units, k)).astype(np.float32)


def dense(gram, voxel, rhs, alpha):
    alphas = np.broadcast_to(alpha, len(voxel))
    return np.stack(
        [
            np.linalg.solve(gram[np.ix_(v, v)].astype(float) + a * np.eye(len(v)), r.astype(float))
            for v, r, a in zip(voxel, rhs, alphas, strict=True)
        ]
    )


SIZES = sorted(
    {1, 2, COLUMNS - 1, COLUMNS, COLUMNS + 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS, 100, 3 * ROWS + COLUMNS + 3}
)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("k", SIZES)
def test_against_dense_solutions(k, refine) -> None:
    gram, voxel, rhs = problem(k)
    each = np.linspace(1, 300, len(voxel))
    weight, failed = systems.solve(gram, voxel, rhs, [50.0, each], refine_below=np.inf if refine else 0.0, n_threads=2)
    assert not failed.any()
    for a, alpha in enumerate((50.0, each)):
        expected = dense(gram, voxel, rhs, alpha)
        error = np.abs(weight[a] - expected).max(axis=1) / np.abs(expected).max(axis=1)
        assert error.max() < (2e-7 if refine else 1e-4)


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("k", [499, 500, 1024, 1100])
def test_one_unit_of_many_voxels(k, refine) -> None:
    """One unit, all voxels or nearly: more panels than any cache holds, and a batch and a task of one."""
    gram, voxel, rhs = problem(k, n_units=1, n_voxels=k + k % 3, n_samples=3 * k)
    weight, failed = systems.solve(gram, voxel, rhs, [20.0], refine_below=np.inf if refine else 0.0, n_threads=2)
    assert not failed.any()
    expected = dense(gram, voxel, rhs, 20.0)
    assert np.abs(weight[0] - expected).max() < (2e-7 if refine else 1e-4) * np.abs(expected).max()


def test_penalties_beyond_the_range_of_float32() -> None:
    """They make weights zero, as in any arithmetic with a wider range, and nothing fails or warns."""
    gram, voxel, rhs = problem(37)
    each = np.geomspace(1e30, 1e300, len(voxel))
    for alpha in (1e39, each):
        weight, failed = systems.solve(gram, voxel, rhs, [alpha], refine_below=np.inf, n_threads=1)
        assert not failed.any()
        np.testing.assert_allclose(weight[0], dense(gram, voxel, rhs, alpha), rtol=0, atol=1e-29)
    assert weight[0, 0].any()  # 1e-30 is no problem


@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-30])
def test_subnormal_right_hand_sides(size) -> None:
    gram, voxel, rhs = problem(37)
    tiny = (rhs * np.float32(size)).astype(np.float32)
    weight, failed = systems.solve(gram, voxel, tiny, [5.0], refine_below=np.inf, n_threads=1)
    assert not failed.any()
    expected = dense(gram, voxel, tiny, 5.0)
    np.testing.assert_allclose(weight[0], expected, rtol=0, atol=1e-6 * np.abs(expected).max() + 37 * 2e-45)


def test_refinement_matters_where_voxels_are_nearly_collinear() -> None:
    gram, voxel, rhs = problem(200, n_samples=230)
    expected = dense(gram, voxel, rhs, 1.0)
    errors = []
    for refine in (False, True):
        weight, failed = systems.solve(gram, voxel, rhs, [1.0], refine_below=np.inf if refine else 0.0, n_threads=1)
        assert not failed.any()
        errors.append(np.abs(weight[0] - expected).max() / np.abs(expected).max())
    assert errors[0] > 1e-5
    assert errors[1] < errors[0] / 10


def test_each_unit_is_refined_by_its_own_penalty() -> None:
    gram, voxel, rhs = problem(60, n_units=6, n_samples=70)
    alpha = np.array([0.3, 100.0, 0.4, 1.0, 0.9, 7.0])
    rough, fine, mixed = (
        systems.solve(gram, voxel, rhs, [alpha], refine_below=below, n_threads=1)[0][0] for below in (0.0, np.inf, 1.0)
    )
    np.testing.assert_array_equal(mixed, np.where((alpha < 1.0)[:, None], fine, rough))
    assert (rough != fine).any(axis=1).all()  # else this tests nothing


@pytest.mark.parametrize("k", [40, 1])
def test_bits_do_not_depend_on_threads_or_on_neighbours(k, monkeypatch) -> None:
    gram, voxel, rhs = problem(k, n_units=70)
    whole, _ = systems.solve(gram, voxel, rhs, [10.0], refine_below=np.inf, n_threads=1)
    threaded, _ = systems.solve(gram, voxel, rhs, [10.0], refine_below=np.inf, n_threads=3)
    np.testing.assert_array_equal(whole, threaded)
    alone, _ = systems.solve(gram, voxel[33:34], rhs[33:34], [10.0], refine_below=np.inf, n_threads=1)
    np.testing.assert_array_equal(whole[:, 33:34], alone)
    monkeypatch.setattr(systems, "batch_units", lambda k: 13)
    np.testing.assert_array_equal(whole, systems.solve(gram, voxel, rhs, [10.0], refine_below=np.inf, n_threads=2)[0])


def test_systems_that_are_not_positive_definite_are_flagged() -> None:
    gram, voxel, rhs = problem(60)
    broken = gram.copy()
    at = voxel[3, 57]
    broken[at, at] = -1e4
    uses = (voxel == at).any(axis=1)
    weight, failed = systems.solve(broken, voxel, rhs, [1.0], refine_below=0.0, n_threads=2)
    np.testing.assert_array_equal(failed[0], uses)
    good = ~uses
    expected = dense(gram, voxel[good], rhs[good], 1.0)
    np.testing.assert_allclose(weight[0, good], expected, atol=1e-4 * np.abs(expected).max())
    broken[at, :] = broken[:, at] = np.nan
    assert systems.solve(broken, voxel, rhs, [1.0], refine_below=np.inf, n_threads=2)[1][0].tolist() == uses.tolist()


def test_a_mapped_gram_matrix_and_no_units(tmp_path) -> None:
    gram, voxel, rhs = problem(30)
    np.save(tmp_path / "gram.npy", gram)
    mapped = np.load(tmp_path / "gram.npy", mmap_mode="r")
    plain, _ = systems.solve(gram, voxel, rhs, [3.0], refine_below=0.0, n_threads=2)
    np.testing.assert_array_equal(systems.solve(mapped, voxel, rhs, [3.0], refine_below=0.0, n_threads=2)[0], plain)
    assert systems.solve(gram, voxel[:0], rhs[:0], [3.0], refine_below=0.0, n_threads=2)[0].shape == (1, 0, 30)


def test_other_types_are_refused() -> None:
    gram, voxel, rhs = problem(4)
    for wrong in ((gram.astype(np.float64), voxel, rhs), (gram, voxel, rhs.astype(np.float64)), (gram.T, voxel, rhs)):
        with pytest.raises(ValueError, match="contiguous float32"):
            systems.solve(*wrong, [1.0], refine_below=0.0, n_threads=1)


NARROW = """
import numpy as np
from hpc_recon.numerics import microkernel, systems
assert (microkernel.LANES, microkernel.COLUMNS) == {shape}, (microkernel.LANES, microkernel.COLUMNS)
rng = np.random.default_rng(0)
Z = rng.standard_normal((400, 90), dtype=np.float32)
gram, rhs = Z.T @ Z, rng.standard_normal((9, 37)).astype(np.float32)
voxel = np.sort(np.argsort(rng.random((9, 90)), axis=1)[:, :37], axis=1)
for refine in (False, True):
    weight, failed = systems.solve(gram, voxel, rhs, [2.0], refine_below=np.inf if refine else 0.0, n_threads=1)
    assert not failed.any()
    for v, r, w in zip(voxel, rhs, weight[0]):
        np.testing.assert_allclose(w, np.linalg.solve(gram[np.ix_(v, v)] + 2.0 * np.eye(37), r), atol=1e-6)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features", "shape"),
    [("haswell", "+avx,+avx2,+fma,+sse4.2", (8, 4)), ("nehalem", "+sse4.2", (4, 4))],
    ids=["avx2", "sse"],
)
def test_processors_with_shorter_vectors(name, features, shape, tmp_path) -> None:
    """The kernel is compiled for another processor of the family, which this one can imitate."""
    if os.uname().machine != "x86_64":
        pytest.skip(f"an {os.uname().machine} processor cannot run code for {name}")
    env = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NARROW.format(shape=shape)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
