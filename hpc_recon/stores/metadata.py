"""What an array is: its shape, cut, attributes and maker, read from its `zarr.json` without zarr.

A *seal* (a digest of all of it) is stored in the attributes, so that changed metadata are noticed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core import storage
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.tiles import FORMAT_VERSION, canonical
from hpc_recon.stores.layout import Ref

METADATA = "zarr.json"


@dataclass(frozen=True)
class Description:
    """What an array's metadata say.

    Attributes
    ----------
    shape, dtype
        Of the whole array.
    shards, chunks
        Shape of a shard (one file) and of an inner chunk.
    attributes
        What its maker gave to `create`.
    made_by
        Key of the group whose tiles write it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shards: tuple[int, ...]
    chunks: tuple[int, ...]
    attributes: dict[str, Any]
    made_by: str


def describe(workspace: Path, ref: Ref) -> Description:
    """Read an array's metadata (no zarr needed, no shard touched).

    Raises
    ------
    MissingStore
        If it does not exist; names the command that makes it.
    DamagedStore
        If the metadata are garbled or do not agree with their own seal.
    """
    place = storage.of(workspace).holder(ref.path)
    try:
        payload = place.read_bytes(f"{ref.path}/{METADATA}")
    except FileNotFoundError:
        raise MissingStore(f"{ref.path} does not exist in {place.where('')}; make it with {ref.command}") from None
    folder = place.where(ref.path)
    path = f"{folder}/{METADATA}"
    try:
        content = json.loads(payload)
        own = content["attributes"]["hpc_recon"]
        found = Description(
            tuple(content["shape"]),
            np.dtype(content["data_type"]),
            tuple(content["chunk_grid"]["configuration"]["chunk_shape"]),
            tuple(content["codecs"][0]["configuration"]["chunk_shape"]),
            dict(own["attributes"]),
            str(own["made_by"]),
        )
        version, stored_seal = own["format"], own["seal"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedStore(
            f"the metadata {path} are damaged ({error}); remove {folder} and make it anew with {ref.command}"
        ) from error
    if version != FORMAT_VERSION:
        raise DamagedStore(
            f"{path} has format {version}, but this program reads format {FORMAT_VERSION}; use the release that wrote "
            f"it, or another workspace"
        )
    if stored_seal != seal(found):
        raise DamagedStore(
            f"the metadata {path} were changed after they were written (their seal does not agree); remove "
            f"{folder} and make it anew with {ref.command}"
        )
    return found


def record(description: Description) -> dict[str, Any]:
    """Return what two arrays must have in common to be the same, as plain JSON values."""
    return {
        "format": FORMAT_VERSION,
        "made_by": description.made_by,
        "shape": list(description.shape),
        "dtype": description.dtype.name,
        "shards": list(description.shards),
        "chunks": list(description.chunks),
        "attributes": description.attributes,
    }


def seal(description: Description) -> str:
    """Return a digest of everything that `record` holds."""
    return hashlib.sha256(canonical(record(description)).encode()).hexdigest()[:16]


def create_groups(workspace: Path, path: str) -> None:
    """Write the metadata of the zarr groups above an array, down to `path` in the workspace, where absent."""
    place, parts = storage.of(workspace), path.split("/")
    content = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    for depth in range(1, len(parts) + 1):
        name = "/".join((*parts[:depth], METADATA))
        if not place.exists(name):
            place.write_atomic(name, (json.dumps(content, indent=1) + "\n").encode())
