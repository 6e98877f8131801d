"""Layer 2: what one tile of `reconstruct` reads, makes and writes, and the table that says which module does it.

A module has three functions: `plan(study, shapes, variant)` returns the tiles of one entry under `reconstruct:`,
`prepare(study, variants)` checks and writes what the tiles of its entries share, `work(study, tile)` makes one tile's
images and returns the files. How images are made is `hpc_recon.methods`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.tiles import Shapes, Tile

#: Module of each method's images.
MAKERS = {
    "latent": "hpc_recon.reconstruction.latent",
    "icnn": "hpc_recon.reconstruction.from_features",
    "pixels": "hpc_recon.reconstruction.from_features",
    "end_to_end": "hpc_recon.reconstruction.end_to_end",
    "shape_semantic": "hpc_recon.reconstruction.shape_semantic",
    "retrieval": "hpc_recon.reconstruction.retrieval",
}


class Maker(Protocol):
    """The functions of a module of this library that makes images."""

    def plan(self, study: Study, shapes: Shapes, variant: str) -> list[Tile]:
        """Return the tiles of one entry under `reconstruct:`."""
        ...

    def prepare(self, study: Study, variants: Sequence[str]) -> None:
        """Check and write what the tiles of entries share."""
        ...

    def work(self, study: Study, tile: Tile) -> list[Path]:
        """Make the images of one tile; return the files."""
        ...


def maker(method: str) -> Maker:
    """Import the module that makes the images of a method."""
    return cast(Maker, importlib.import_module(MAKERS[method]))
