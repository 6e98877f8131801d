"""Work on blocks in threads, one BLAS thread each, with results that do not depend on how many threads there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(function: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int) -> list[Result]:
    """Return `[function(item) for item in items]`, computed by `n_threads` threads while BLAS is held to one.

    The first exception is raised again; items that have not begun by then are dropped.

    Notes
    -----
    BLAS threads would compete with ours, and change the order of sums. Items must be cut without regard to
    `n_threads`: then each result has the same bits for any number of threads.

    Examples
    --------
    >>> for_each(abs, [-1, 2, -3], n_threads=2)
    [1, 2, 3]
    """
    with threadpool_limits(1, user_api="blas"):
        if n_threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(function, items))
