"""Projected memory: what a tile will need, as pure functions of shapes; refused before a run that cannot fit.

The factors are measured, not guessed; the constant says where each comes from.
"""

from __future__ import annotations

from collections.abc import Collection

from hpc_recon.core.errors import MemoryBudgetError
from hpc_recon.core.text import format_bytes
from hpc_recon.core.tiles import Tile

#: While zarr reads or writes an array, a bound for either where the array itself is counted apart; `reading_bytes` and
#: `writing_bytes` are closer.
SHARD_FACTOR = 2.5
#: While an array is read: itself, and its encoded chunks (measured on zarr 3.1.6: 1.4 to 2.0).
READ_FACTOR = 2.0
#: While a whole shard is written, beside the array: encoded chunks, the shard made of them, and its bytes (measured on
#: zarr 3.1.6: 3.0 with chunks of 8 MB, 2.0 with chunks of 128 kB).
WRITE_FACTOR = 3.0
#: Resident bytes of an idle worker: 81 MiB with dask and numpy, 30 more with zarr and our modules (measured). The rest
#: is for the first compilation of the kernels, which `needs.COMPILED_BYTES` does not cover.
WORKER_BASE = 176 * 2**20


def array_bytes(*shape: int, itemsize: int = 4) -> int:
    """Return the bytes of an array of this shape; float32 by default.

    >>> array_bytes(6000, 11726)
    281424000
    """
    size = itemsize
    for n in shape:
        size *= n
    return size


def shard_bytes(*shape: int, itemsize: int = 4) -> int:
    """Return the peak bytes while an array of this shape is read from, or written to, its shards."""
    return int(SHARD_FACTOR * array_bytes(*shape, itemsize=itemsize))


def reading_bytes(*shape: int, itemsize: int = 4) -> int:
    """Return the peak bytes while an array of this shape is read, with the array."""
    return int(READ_FACTOR * array_bytes(*shape, itemsize=itemsize))


def writing_bytes(*shape: int, itemsize: int = 4) -> int:
    """Return the peak bytes while an array of this shape is written as one shard, without the array."""
    return int(WRITE_FACTOR * array_bytes(*shape, itemsize=itemsize))


#: What makes tiles of a command smaller, where that is not fewer voxels or units.
_REMEDIES = {"convert": "cut its blocks (convert.hemispheres, or areas as convert.blocks)"}


def require_fit(tiles: Collection[Tile], *, host_budget: int, device_budget: int | None = None) -> None:
    """Raise unless each tile fits a worker with `host_budget` bytes (and `device_budget` on its GPU).

    Raises
    ------
    MemoryBudgetError
        Names the largest tile, what it is projected to need, and what there is.
    """
    for kind, budget in (("host", host_budget), ("device", device_budget)):
        if budget is None:
            continue
        base = WORKER_BASE if kind == "host" else 0
        worst = max(tiles, key=lambda tile: getattr(tile.need, f"{kind}_bytes"), default=None)
        if worst is None:
            return
        need = base + getattr(worst.need, f"{kind}_bytes")
        if need > budget:
            raise MemoryBudgetError(
                f"the tile {worst.id} is projected to need {format_bytes(need)} of {kind} memory, but a worker has "
                f"{format_bytes(budget)}. Give workers more memory in the cluster file, or "
                f"{_REMEDIES.get(worst.id.partition('/')[0], 'decode fewer voxels or units')}"
            )
