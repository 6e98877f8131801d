"""Projected memory. Sizes are products of primes, so that no term can hide."""

from __future__ import annotations

import pytest

from hpc_recon.core import memory
from hpc_recon.core.errors import MemoryBudgetError
from hpc_recon.core.tiles import Group, Need, Tile


def test_array_bytes() -> None:
    assert memory.array_bytes(7, 11) == 4 * 77
    assert memory.array_bytes(7, 11, 13, itemsize=8) == 8 * 1001
    assert memory.shard_bytes(7, 11) == int(2.5 * 4 * 77)
    assert memory.reading_bytes(7, 11) == 2 * 4 * 77
    assert memory.writing_bytes(7, 11, itemsize=2) == 3 * 2 * 77


def test_the_largest_tile_decides_and_the_numbers_are_shown() -> None:
    small, large = (Tile(Group("fit", (n,)), "fit", 0, 1, Need(host_bytes=b)) for n, b in (("a", 2**20), ("b", 2**31)))
    memory.require_fit([small, large], host_budget=2**31 + memory.WORKER_BASE)
    with pytest.raises(MemoryBudgetError, match=r"fit/b/.* projected to need 2\.2 GiB of host memory, but .* 2\.0 GiB"):
        memory.require_fit([small, large], host_budget=2**31)


def test_device_memory_has_its_own_budget() -> None:
    tile = Tile(Group("fit", ("a",)), "fit", 0, 1, Need(device_bytes=2**30))
    memory.require_fit([tile], host_budget=2**40)
    memory.require_fit([tile], host_budget=2**40, device_budget=2**30)
    with pytest.raises(MemoryBudgetError, match="device memory"):
        memory.require_fit([tile], host_budget=2**40, device_budget=2**29)


def test_no_tiles_fit_anywhere() -> None:
    memory.require_fit([], host_budget=0)
