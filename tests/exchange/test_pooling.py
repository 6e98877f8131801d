from __future__ import annotations

import numpy as np

from hpc_recon.exchange import pooling
from hpc_recon.stores.brain import Brain


def _brain(n=6, **columns):
    samples = np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)
    return Brain(samples, tuple("bacab"[i % 5] for i in range(n)), columns)


def test_average_keeps_order_of_first_appearance():
    part = _brain(6, run=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # b a c a b b
    found = pooling.average_repeats(part)
    x = part.samples.astype(float)
    assert found.labels == ("b", "a", "c")
    oracle = [(x[0] + x[4] + x[5]) / 3, (x[1] + x[3]) / 2, x[2]]
    np.testing.assert_allclose(found.samples, oracle, rtol=1e-6, atol=1e-7)  # float32 rounding of float64 means
    assert found.columns == {"run": [4.0, 3.0, 3.0], "n_averaged": [3.0, 2.0, 1.0]}


def test_average_of_averages_is_the_average_of_all():
    part = _brain(6)
    first, second = pooling.take(part, np.array([0, 1])), pooling.take(part, np.array([4, 5, 3]))
    halves = pooling.pool([pooling.average_repeats(first), pooling.average_repeats(second)])
    again, at_once = pooling.average_repeats(halves), pooling.average_repeats(pooling.pool([first, second]))
    assert again.labels == at_once.labels == ("b", "a")
    assert again.columns == at_once.columns == {"n_averaged": [3.0, 2.0]}
    np.testing.assert_allclose(again.samples, at_once.samples, rtol=1e-5, atol=1e-6)  # rounded to float32 twice


def test_pool_keeps_columns_that_all_have():
    found = pooling.pool([_brain(2, run=[1.0, 2.0], day=[1.0, 1.0]), _brain(1, run=[3.0])])
    assert found.columns == {"run": [1.0, 2.0, 3.0]}
    assert found.labels == ("b", "a", "b")
    assert found.samples.shape == (3, 4)


def test_take_returns_rows_of_everything():
    part = _brain(5, run=[0.0, 1.0, 2.0, 3.0, 4.0])
    found = pooling.take(part, np.array([3, 1]))
    np.testing.assert_array_equal(found.samples, part.samples[[3, 1]])
    assert (found.labels, found.columns) == (("a", "a"), {"run": [3.0, 1.0]})


def test_missing_numbers_are_left_out_of_means():
    nan = float("nan")
    columns = {"vividness": [1.0, nan, nan, 4.0], "n_averaged": [2.0, 1.0, 3.0, 1.0]}
    made = pooling.average_repeats(Brain(np.zeros((4, 1), np.float32), ("a", "a", "b", "a"), columns))
    np.testing.assert_array_equal(made.columns["vividness"], [2.0, nan])  # (2 * 1 + 4) / 3
