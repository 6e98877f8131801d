from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hpc_recon.numerics.parallel import for_each


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_keep_their_order(n_threads) -> None:
    assert for_each(lambda i: i * i, range(20), n_threads=n_threads) == [i * i for i in range(20)]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_first_error_is_raised_and_the_rest_is_dropped(n_threads) -> None:
    begun = []

    def work(i):
        begun.append(i)
        if i == 1:
            raise RuntimeError("broken")
        threading.Event().wait(0.01)

    with pytest.raises(RuntimeError, match="broken"):
        for_each(work, range(200), n_threads=n_threads)
    assert len(begun) < 150


def test_blas_has_one_thread_meanwhile() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    counts = for_each(
        lambda _: [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"],
        range(2),
        n_threads=2,
    )
    assert counts
    assert all(count == 1 for pools in counts for count in pools)
