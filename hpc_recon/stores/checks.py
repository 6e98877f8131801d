"""Whether the files of a store are what their receipts say: looked at before anything is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts, storage
from hpc_recon.core.errors import DamagedStore, MissingStore
from hpc_recon.core.files import checksum
from hpc_recon.core.places import RECEIPTS, Folder
from hpc_recon.stores.layout import Ref, command
from hpc_recon.stores.metadata import METADATA, Description

#: Commands that may have written the samples and masks of a split.
_BRAIN_VERBS = ("ingest", "simulate", "control")
#: Records by (workspace, group), with the signature of the folder they were read from.
_RECORDS: dict[tuple[Path, str], tuple[frozenset[tuple[Any, ...]], dict[str, receipts.FileRecord]]] = {}


def group_records(workspace: Path, made_by: str) -> dict[str, receipts.FileRecord]:
    """Return the receipts' records below the group `made_by`, read again only when a receipt has changed."""
    verb, *path = made_by.split("/")
    signature = storage.of(workspace).versions(f"{RECEIPTS}/{made_by}")
    known = _RECORDS.get((workspace, made_by))
    if known is None or known[0] != signature:
        known = (signature, receipts.records(workspace, verb, path))
        _RECORDS[workspace, made_by] = known
    return known[1]


def redo_command(made_by: str) -> str:
    """Return the command that makes the tiles of a group anew, for error messages."""
    return f"`python -m hpc_recon.{made_by.partition('/')[0]} --study <study file> --redo --only '{made_by}/'`"


def check_shards(workspace: Path, ref: Ref, found: Description, touched: Sequence[Sequence[int]]) -> None:
    """Raise unless each touched shard has a receipt and the length that it says."""
    paths = list(shard_paths(ref, touched))
    place = storage.of(workspace).holder(ref.path)
    records = group_records(workspace, found.made_by)
    missing = [path for path in paths if path not in records]
    verb = found.made_by.partition("/")[0]
    if missing:
        raise MissingStore(
            f"{len(missing)} of {len(paths)} shards of {ref.path} have no receipt: they were never finished "
            f"(first: {place.where(missing[0])}); make them with {command(verb)}"
        )
    sizes = place.sizes(paths)
    damaged = [(p, reason) for p in paths if (reason := receipts.difference(sizes.get(p), records[p].length))]
    if damaged:
        raise DamagedStore(
            f"{len(damaged)} of {len(paths)} shards of {ref.path} are damaged (first: {place.where(damaged[0][0])} "
            f"{damaged[0][1]}); make them anew with {redo_command(found.made_by)}"
        )


def check_contents(workspace: Path, ref: Ref, found: Description, touched: Sequence[Sequence[int]]) -> None:
    """Raise unless each touched shard holds the bytes that were written: for reads of most of a shard.

    The checksums of its chunks find changed bytes, but not another shard of equal length in its place. A file is
    read once a process for this, out of the page cache; in an object store nothing is read twice.
    """
    place = storage.of(workspace).holder(ref.path)
    if not isinstance(place, Folder):
        return
    records = group_records(workspace, found.made_by)
    for path in shard_paths(ref, touched):
        if crc32_of(place.root / path) != records[path].crc32:
            raise DamagedStore(
                f"the shard {place.where(path)} is not the one that was written: its chunks are whole, but its receipt "
                f"has another checksum (was it exchanged for another?); make it anew with {redo_command(found.made_by)}"
            )


def was_written(workspace: Path, split: str, ref: Ref) -> bool:
    """Return whether an array about a split's voxels is there, which may rightly be absent.

    Raises
    ------
    DamagedStore
        If a receipt says that it was written, but it is gone.
    """
    if storage.of(workspace).exists(f"{ref.path}/{METADATA}"):
        return True
    for verb in _BRAIN_VERBS:
        if any(path.startswith(f"{ref.path}/") for path in group_records(workspace, f"{verb}/{split}")):
            raise DamagedStore(
                f"{ref.path} was written but is gone from {workspace}; make it anew with "
                f"{redo_command(f'{verb}/{split}')}"
            )
    return False


def crc32_of(path: Path) -> int:
    """Return the crc32 of a file in a folder; a process reads it once while inode, size and time stay the same."""
    status = path.stat()
    return _crc32(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _crc32(path: Path, inode: int, size: int, time: int) -> int:
    return checksum(path)


def shard_paths(ref: Ref, spans: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield the paths, relative to the workspace, of the shards whose index along each axis is in `spans`."""
    for index in itertools.product(*spans):
        yield "/".join((ref.path, "c", *map(str, index)))
