"""The tile operations one by one, called from a small compiled function, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from hpc_recon.numerics import microkernel
from hpc_recon.numerics.microkernel import COLUMNS, ROWS


@njit
def call_subtract(tile, left, right, count):
    microkernel.subtract(tile.ctypes.data, left.ctypes.data, right.ctypes.data, count)


@njit
def call_subtract_lower_half(tile, left, right, count):
    microkernel.subtract_lower_half(tile.ctypes.data, left.ctypes.data, right.ctypes.data, count)


@njit
def call_pack(rows, packed, count):
    microkernel.pack(rows.ctypes.data, packed.ctypes.data, count)


@njit
def call_subtract_and_solve(tile, left, right, count, pivot):
    microkernel.subtract_and_solve(tile.ctypes.data, left.ctypes.data, right.ctypes.data, count, pivot.ctypes.data)


@njit
def call_columns_times(tiles, step, vector, count, result):
    microkernel.columns_times(tiles.ctypes.data, step, vector.ctypes.data, count, result.ctypes.data)


@njit
def call_minus_columns(tiles, step, factors, vector, count):
    microkernel.minus_columns(tiles.ctypes.data, step, factors.ctypes.data, vector.ctypes.data, count)


@njit
def call_copy(to, source):
    microkernel.copy_column(to.ctypes.data, source.ctypes.data)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_subtract(count) -> None:
    """A tile is stored column by column: (COLUMNS, ROWS) in numpy's order."""
    tile, left, right = numbers(COLUMNS, ROWS), numbers(count + 1, ROWS, seed=1), numbers(count + 1, COLUMNS, seed=2)
    expected = tile - right[:count].T.astype(float) @ left[:count]
    call_subtract(tile, left, right, count)
    np.testing.assert_allclose(tile, expected, atol=1e-5)


@pytest.mark.parametrize("count", [0, 9])
def test_subtract_lower_half_leaves_the_upper_one(count) -> None:
    tile, left, right = numbers(COLUMNS, ROWS), numbers(count + 1, ROWS, seed=1), numbers(count + 1, COLUMNS, seed=2)
    expected = tile - right[:count].T.astype(float) @ left[:count]
    expected[:, : ROWS // 2] = tile[:, : ROWS // 2]
    call_subtract_lower_half(tile, left, right, count)
    np.testing.assert_allclose(tile, expected, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_pack(count) -> None:
    panel, packed = numbers(7, ROWS), np.zeros((7, COLUMNS), np.float32)
    call_pack(panel.reshape(-1)[COLUMNS:], packed, count)
    expected = np.zeros_like(packed)
    expected[:count] = panel[:count, COLUMNS : 2 * COLUMNS]
    np.testing.assert_array_equal(packed, expected)


@pytest.mark.parametrize("count", [0, 5])
def test_subtract_and_solve(count) -> None:
    tile, left, right = numbers(COLUMNS, ROWS), numbers(count + 1, ROWS, seed=1), numbers(count + 1, COLUMNS, seed=2)
    L = np.tril(numbers(COLUMNS, COLUMNS, seed=3)) + 4 * np.eye(COLUMNS, dtype=np.float32)
    pivot = L.copy()
    pivot[np.diag_indices(COLUMNS)] = 1 / np.diag(L)
    rest = tile - right[:count].T.astype(float) @ left[:count]
    expected = np.linalg.solve(L.astype(float), rest)  # X L' = C, transposed
    call_subtract_and_solve(tile, left, right, count, pivot)
    np.testing.assert_allclose(tile, expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_columns_times_and_minus_columns(count) -> None:
    n_columns = 2 * COLUMNS
    panels, vector = numbers(count, n_columns, ROWS), numbers(count * ROWS, seed=1)
    chosen = panels[:, COLUMNS:].transpose(1, 0, 2).reshape(COLUMNS, -1).astype(float)  # the second block of columns
    result, flat = np.empty(COLUMNS, np.float32), panels.reshape(-1)[COLUMNS * ROWS :]
    call_columns_times(flat, n_columns * ROWS, vector, count, result)
    np.testing.assert_allclose(result, chosen @ vector, rtol=1e-4, atol=1e-4)
    factors = numbers(COLUMNS, seed=2)
    expected = vector - factors @ chosen
    call_minus_columns(flat, n_columns * ROWS, factors, vector, count)
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_copy_column() -> None:
    source, to = numbers(ROWS), np.zeros(ROWS, np.float32)
    call_copy(to, source)
    np.testing.assert_array_equal(to, source)


def test_tiles_fit_the_registers() -> None:
    for features, registers in ((frozenset({"avx512f", "avx"}), 32), (frozenset({"avx"}), 16), (frozenset(), 32)):
        lanes, vectors, columns = microkernel._tile_shape(features)
        assert vectors * columns + vectors + 1 <= registers
        assert lanes * vectors % columns == 0, "a block on the diagonal lies in one panel"
