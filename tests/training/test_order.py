"""The order of samples: every sample once a pass, reproducible, the same from any step on."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.training import order as orders
from hpc_recon.training.order import Order


def samples(order: Order, steps: range, size: int) -> list[int]:
    found: list[int] = []
    for step in steps:
        for part in order.batch(step, size):
            found += order.buffers(part.buffer[0])[part.buffer[1]][part.places].tolist()
    return found


@pytest.mark.parametrize("in_buffer", [1000, 256, 128])
@pytest.mark.parametrize("every_pass", [True, False])
def test_every_pass_sees_every_sample_once(in_buffer, every_pass):
    order = Order(1000, in_buffer, 3, every_pass)
    seen = samples(order, range(125), 16)  # 2 passes of 1,000
    assert sorted(seen[:1000]) == list(range(1000)) == sorted(seen[1000:])
    assert (seen[:1000] == seen[1000:]) is not every_pass
    assert seen == samples(Order(1000, in_buffer, 3, every_pass), range(125), 16)
    assert seen[:1000] != samples(Order(1000, in_buffer, 4, every_pass), range(63), 16)[:1000]
    assert seen[640:] == samples(order, range(40, 125), 16)  # a step needs nothing of those before it


def test_batches_drift_between_passes_and_keep_their_size():
    order = Order(10, 10, 0)
    assert [len(samples(order, range(step, step + 1), 4)) for step in range(6)] == [4] * 6
    first = order.buffers(0)[0].tolist()
    assert samples(order, range(2, 3), 4) == [*first[8:], *first[:2]]
    assert samples(Order(3, 3, 0), range(1), 8) == [*Order(3, 3, 0).buffers(0)[0].tolist() * 2, *first_of(3)]


def first_of(n: int) -> list[int]:
    return Order(n, n, 0).buffers(0)[0].tolist()[:2]


def test_a_buffer_holds_no_more_than_it_may():
    order = Order(1000, 300, 1)
    assert max(len(buffer) for buffer in order.buffers(0)) == 256  # whole chunks of the store
    assert len(order.buffers(0)) == 4


def test_offsets_of_crops_are_uniform_and_depend_on_the_step():
    drawn = np.concatenate([orders.offsets(step, 64, margin=21, seed=5) for step in range(200)])
    assert (drawn.min(), drawn.max()) == (0, 21)
    counts = np.bincount(drawn[:, 0] * 22 + drawn[:, 1], minlength=484)
    expected = 12800 / 484
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 483 + 5 * np.sqrt(2 * 483)
    np.testing.assert_array_equal(orders.offsets(7, 5, margin=3, seed=1), orders.offsets(7, 5, margin=3, seed=1))
    assert not orders.offsets(7, 5, margin=0, seed=1).any()
