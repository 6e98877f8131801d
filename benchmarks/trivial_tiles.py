"""A verb whose tiles compute nothing and write one file of 1 KiB each: what is left is the cost of tiles as such.

How many tiles there are, and how many a group holds, stands in the study's description: `{"tiles": N, "group": M}`.
Workers import this module by name, so the folder of this file is on their path.
"""

from __future__ import annotations

import json

from hpc_recon.core.files import write_atomic
from hpc_recon.core.tiles import Group, Need, Tile

#: Bytes of a tile's file, and units that a tile stands for.
FILE_BYTES = 1024
UNITS = 32768


def plan(study, shapes):
    """Return the tiles, cut into groups as `fit` cuts a layer's units."""
    size = json.loads(study.report.description)
    need = Need(host_bytes=1 << 20, bytes_out=FILE_BYTES, files_out=1, seconds=0.01)
    tiles = []
    for first in range(0, size["tiles"], size["group"]):
        group = Group("fit", ("S1", "VC", "net", f"layer{first // size['group']:05d}"))
        last = min(first + size["group"], size["tiles"]) - first
        tiles += [Tile(group, "fit", i * UNITS, (i + 1) * UNITS, need) for i in range(last)]
    return tiles


def prepare(study):
    """Create nothing."""


def work(study, tile):
    """Write one small file."""
    path = study.workspace / "out" / tile.group.path[-1] / f"{tile.name}.bin"
    return [write_atomic(path, bytes(FILE_BYTES))]
