from __future__ import annotations

import threading
import time

import pytest


@pytest.fixture
def others_run():
    """Return a function that tells whether another thread gets its turns while some work is done some times."""

    def tell(work, *, times):
        stop, longest = threading.Event(), [0.0]

        def watch():
            last = time.perf_counter()
            while not stop.is_set():
                time.sleep(0.0005)
                now = time.perf_counter()
                longest[0], last = max(longest[0], now - last), now

        watcher = threading.Thread(target=watch)
        watcher.start()
        begin = time.perf_counter()
        for _ in range(times):
            work()
        seconds = time.perf_counter() - begin
        stop.set()
        watcher.join()
        return longest[0] < max(0.7 * seconds, 0.05)

    return tell
