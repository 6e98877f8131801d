"""Stimuli at the size that a network is trained with: resized once, into a store of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, shard_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, ranges, store_seconds
from hpc_recon.stores import arrays, images, layout

#: Name before the size of the group that resizes stimuli.
PICTURES = "_images"


def sizes(study: Study, shapes: Shapes) -> list[int]:
    """Return the sizes of images that entries under `train` ask for and that the stimuli do not have."""
    wanted = dict.fromkeys(options.pictures_size for options in study.train.values())
    return [size for size in wanted if size is not None and shapes.image_size() != (size, size)]


def plan(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile for 48 stimuli and each size."""
    height, width = shapes.image_size()
    tiles = []
    for size in sizes(study, shapes):
        group = _group(study, size)
        for start, stop in ranges(shapes.n_stimuli(), layout.STIMULI_PER_SHARD):
            n = stop - start
            read, written = array_bytes(n, height, width, 3, itemsize=1), array_bytes(n, size, size, 3, itemsize=1)
            need = Need(
                host_bytes=shard_bytes(n, height, width, 3, itemsize=1) + shard_bytes(n, size, size, 3, itemsize=1),
                bytes_in=read,
                bytes_out=written,
                files_out=1,
                seconds=store_seconds(read + written) + 0.005 * n,
            )
            tiles.append(Tile(group, "images", start, stop, need))
    return tiles


def _group(study: Study, size: int) -> Group:
    settings = canonical({"size": size, "resampling": "bilinear"})
    return Group("train", (f"{PICTURES}-{size}",), settings, (f"{study.source_verb}/stimuli",))


def upstream(study: Study, shapes: Shapes, size: int) -> str:
    """Return the group that a network's images come from."""
    return _group(study, size).key if size in sizes(study, shapes) else f"{study.source_verb}/stimuli"


def prepare(study: Study, shapes: Shapes) -> None:
    """Create the arrays."""
    for size in sizes(study, shapes):
        n = shapes.n_stimuli()
        arrays.create(
            layout.workspace_of(study),
            layout.resized(size),
            shape=(n, size, size, 3),
            dtype=np.uint8,
            geometry=layout.stimuli_geometry(n, size, size),
            made_by=_group(study, size).key,
        )


def write(study: Study, tile: Tile) -> list[Path]:
    """Resize 48 stimuli, whatever their aspect, bilinear."""
    workspace, size = layout.workspace_of(study), int(tile.group.path[0].rpartition("-")[2])
    found = images.read_images(workspace, slice(tile.start, tile.stop))
    resized = np.stack([np.asarray(Image.fromarray(i).resize((size, size), Image.Resampling.BILINEAR)) for i in found])
    return arrays.write(workspace, layout.resized(size), (tile.start,), resized)


def read(study: Study, rows: Array, *, size: int) -> Array:
    """Read images by ascending row at a size, (n, size, size, 3) uint8 RGB."""
    workspace = layout.workspace_of(study)
    height, width = arrays.describe(workspace, layout.stimuli()).shape[1:3]
    ref = layout.stimuli() if (height, width) == (size, size) else layout.resized(size)
    return arrays.read(workspace, ref, rows)
