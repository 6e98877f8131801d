"""Work on blocks in threads, one BLAS thread each, with results that do not depend on how many threads there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Limit:
    """How many callers want BLAS held to one thread now, and what releases it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.limits: Any = None


_limit = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread in this process; inside another such block this costs nothing.

    Finding the loaded libraries takes 1 to 5 ms (measured), as long as twenty units.
    """
    from threadpoolctl import threadpool_limits  # here: a GPU's work needs none of it

    with _limit.lock:
        if _limit.users == 0:
            _limit.limits = threadpool_limits(1, user_api="blas")
        _limit.users += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.users -= 1
            if _limit.users == 0 and _limit.limits is not None:
                _limit.limits.restore_original_limits()
                _limit.limits = None


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
    with one_blas_thread():
        if n_threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(function, items))
