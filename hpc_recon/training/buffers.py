"""What is in memory of the training data: how much fits, and at most two buffers at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from hpc_recon.training.order import CHUNK

T = TypeVar("T")


def held(n_samples: int, n_shown: int, *, sample_bytes: int, shown_bytes: int, room: int) -> int:
    """Return how many samples are in memory at once: all if they fit with what they show, else what fits twice.

    Parameters
    ----------
    n_shown
        Distinct things that samples show.
    room
        Bytes for both.

    >>> held(1000, 100, sample_bytes=8, shown_bytes=80, room=16000)
    1000
    >>> held(1000, 1000, sample_bytes=8, shown_bytes=80, room=60000)
    256
    """
    if n_samples * sample_bytes + min(n_samples, n_shown) * shown_bytes <= room:
        return n_samples
    return max(CHUNK, room // (2 * (sample_bytes + shown_bytes)) // CHUNK * CHUNK)


class Held(Generic[T]):
    """At most two buffers by number of pass and buffer: the one that is being learnt from, and the next one.

    Threads may ask at once; a buffer is read by one of them.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, int], T] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._buffers)

    def get(self, key: tuple[int, int], read: Callable[[], T]) -> T:
        """Return a buffer; one that is not there is read, and the earliest of two makes room."""
        with self._lock:
            if key not in self._buffers:
                while len(self._buffers) > 1:
                    self._buffers.pop(min(self._buffers))
                self._buffers[key] = read()
            return self._buffers[key]
