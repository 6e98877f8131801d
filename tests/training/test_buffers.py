"""Buffers of training data: two at most, each read once."""

from __future__ import annotations

import threading

from hpc_recon.training.buffers import Held, held
from hpc_recon.training.order import CHUNK


def test_the_earlier_of_two_makes_room_and_is_read_again():
    found, read = Held[int](), []

    def get(key):
        return found.get(key, lambda: read.append(key) or len(read))

    assert [get(key) for key in ((0, 0), (0, 1), (0, 0), (0, 2), (0, 1), (0, 0))] == [1, 2, 1, 3, 2, 4]
    assert read == [(0, 0), (0, 1), (0, 2), (0, 0)]
    assert len(found) == 2


def test_threads_read_a_buffer_once():
    found, read = Held[int](), []
    threads = [threading.Thread(target=lambda: found.get((0, 0), lambda: read.append(1) or 1)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [1]


def test_what_does_not_fit_is_held_in_whole_chunks_of_half_the_room():
    assert held(10, 10, sample_bytes=4, shown_bytes=6, room=100) == 10
    assert held(11, 10, sample_bytes=4, shown_bytes=6, room=104) == 11
    assert held(10_000, 10_000, sample_bytes=4, shown_bytes=6, room=20 * 3 * CHUNK + 19) == 3 * CHUNK
    assert held(10_000, 10_000, sample_bytes=4, shown_bytes=6, room=1) == CHUNK
