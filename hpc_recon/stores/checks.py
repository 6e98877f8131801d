"""Whether the files of a store are what their receipts say: looked at before anything is read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.stores.layout import Ref, command
from hpc_recon.stores.metadata import Description

#: Records by (workspace, group), with the signature of the folder they were read from.
_RECORDS: dict[tuple[Path, str], tuple[frozenset[tuple[str, int, int, int]], dict[str, receipts.FileRecord]]] = {}


def group_records(workspace: Path, made_by: str) -> dict[str, receipts.FileRecord]:
    """Return the receipts' records below the group `made_by`, read again only when a receipt has changed."""
    verb, *path = made_by.split("/")
    signature = _signature(workspace / "receipts" / made_by)
    known = _RECORDS.get((workspace, made_by))
    if known is None or known[0] != signature:
        known = (signature, receipts.records(workspace, verb, path))
        _RECORDS[workspace, made_by] = known
    return known[1]


def redo_command(made_by: str) -> str:
    """Return the command that makes the tiles of a group anew, for error messages."""
    return f"`python -m hpc_recon.{made_by.partition('/')[0]} --study <study file> --redo --only '{made_by}/'`"


def _signature(folder: Path) -> frozenset[tuple[str, int, int, int]]:
    """Return name, inode, size and time of every receipt below a folder: a rewritten one gets a new inode."""
    found = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - called before every read; Path is slower
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:  # removed since the listing: the tile is being computed again
                continue
            found.add((path, status.st_ino, status.st_size, status.st_mtime_ns))
    return frozenset(found)


def check_shards(workspace: Path, ref: Ref, found: Description, touched: Sequence[Sequence[int]]) -> None:
    """Raise unless each touched shard has a receipt and the length that it says."""
    paths = list(shard_paths(ref, touched))
    records = group_records(workspace, found.made_by)
    missing = [path for path in paths if path not in records]
    verb = found.made_by.partition("/")[0]
    if missing:
        raise MissingStore(
            f"{len(missing)} of {len(paths)} shards of {ref.path} have no receipt: they were never finished "
            f"(first: {workspace / missing[0]}); make them with {command(verb)}"
        )
    damaged = [(path, reason) for path in paths if (reason := _damage(workspace / path, records[path].length))]
    if damaged:
        raise DamagedStore(
            f"{len(damaged)} of {len(paths)} shards of {ref.path} are damaged (first: {workspace / damaged[0][0]} "
            f"{damaged[0][1]}); make them anew with {redo_command(found.made_by)}"
        )


def _damage(path: Path, length: int) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"is absent, its receipt says {length} bytes"
    if size == length:
        return ""
    return f"is empty, its receipt says {length} bytes" if size == 0 else f"has {size} bytes, its receipt says {length}"


def shard_paths(ref: Ref, spans: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield the paths, relative to the workspace, of the shards whose index along each axis is in `spans`."""
    for index in itertools.product(*spans):
        yield "/".join((ref.path, "c", *map(str, index)))
