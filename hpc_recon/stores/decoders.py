"""How a layer's decoders are cut into shards: as they are stored, else by their width.

Decoders of every width were once stored 32,768 units a shard. Where such arrays exist they go on as they are: tiles,
receipts and arrays of a study that was begun then stay one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hpc_recon.core.errors import MissingStore
from hpc_recon.stores import layout, metadata
from hpc_recon.stores.layout import Geometry


def cut(workspace: Path, place: Sequence[str], *, n_units: int, width: int) -> Callable[[int], Geometry]:
    """Return what gives the geometry of an array (n_units, n) of a layer's decoders by n.

    Parameters
    ----------
    place
        Split, ROI, decoded name of the network, layer.
    width
        Weights of a unit at most; 0 where none are stored.
    """
    stored = _stored(workspace, place, n_units=n_units, width=width)

    def geometry(n: int) -> Geometry:
        if stored is None:
            return layout.unit_geometry(n_units, n, width=width)
        return Geometry((stored[0], n), (stored[1], n))

    return geometry


def units_per_shard(workspace: Path, place: Sequence[str], *, n_units: int, width: int) -> int:
    """Return how many units a shard of a layer's decoders holds; as `cut`."""
    return cut(workspace, place, n_units=n_units, width=width)(1).shards[0]


def _stored(workspace: Path, place: Sequence[str], *, n_units: int, width: int) -> tuple[int, int] | None:
    """Return units of a stored shard and chunk; None if nothing is stored, or width makes no difference."""
    if layout.unit_geometry(n_units, 1, width=width) == layout.unit_geometry(n_units, 1):
        return None
    split, roi, decoded_name, layer = place
    try:
        found = metadata.describe(workspace, layout.decoder(split, roi, decoded_name, layer, "stats"))
    except MissingStore:
        return None
    return found.shards[0], found.chunks[0]
