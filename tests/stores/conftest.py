"""Fixtures of the stores' tests: a workspace, receipts, and one array in several shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.array import Array
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.stores import arrays
from hpc_recon.stores.layout import Geometry, Ref

Finish = Callable[..., None]


def finish_files(workspace: Path, made_by: str, files: Sequence[Path], *, start: int = 0) -> None:
    """Write the receipt of a tile that wrote `files`."""
    verb, *path = made_by.split("/")
    receipts.write(workspace, Tile(Group(verb, tuple(path)), "stage", start, start + 1), files, {})


@pytest.fixture
def finish() -> Finish:
    return finish_files


class Stored:
    """A (10, 23) float32 array in shards (4, 16) of chunks (4, 8): 3 x 2 shards, one receipt a row of shards."""

    made_by = "extract/vgg/conv1_1..conv1_2"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.ref = Ref("features.zarr/vgg/conv1_1", "extract")
        self.values: Array = np.random.default_rng(0).standard_normal((10, 23)).astype(np.float32)
        self.files: list[Path] = []
        self.create()
        for row in (0, 4, 8):
            written = arrays.write(workspace, self.ref, (row, 0), self.values[row : row + 4])
            finish_files(workspace, self.made_by, written, start=row)
            self.files += written

    def create(self, **changes) -> None:
        arguments = {
            "shape": (10, 23),
            "dtype": "float32",
            "geometry": Geometry((4, 16), (4, 8)),
            "made_by": self.made_by,
            "attributes": {"unit_shape": [23]},
        }
        arrays.create(self.workspace, self.ref, **{**arguments, **changes})

    def read(self, *selection) -> Array:
        return arrays.read(self.workspace, self.ref, *selection)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)
