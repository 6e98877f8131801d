"""Receipts: small JSON files that say a tile is done and how long each of its files is.

Layout below the workspace (docs/store_format.md, section 5)::

    receipts/<verb>/<group path ...>/group.json       the fingerprint of the group, once
    receipts/<verb>/<group path ...>/<tile>.json      one a finished tile

A receipt is written after the tile's files are on disk, by the worker that wrote them; it is removed
before they are touched again. Readers of a store compare the length of each file with its receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import checksum, read_json, sync_folder, write_json
from hpc_recon.core.tiles import Group, Tile

GROUP_FILE = "group.json"


@dataclass(frozen=True)
class FileRecord:
    """Length in bytes and crc32 of one file when its tile was finished."""

    length: int
    crc32: int


@dataclass(frozen=True)
class Receipt:
    """What is known of a finished tile: its files (relative to the workspace) and how it ran."""

    files: dict[str, FileRecord]
    #: Seconds, peak bytes, host, versions, warnings: recorded, never compared.
    run: dict[str, Any]


def group_folder(workspace: Path, group: Group) -> Path:
    """Return the folder that holds a group's receipts."""
    return workspace / "receipts" / group.verb / Path(*group.path)


def receipt_path(workspace: Path, tile: Tile) -> Path:
    """Return where the receipt of a tile lies when the tile is done."""
    return group_folder(workspace, tile.group) / f"{tile.name}.json"


def remove(workspace: Path, tile: Tile) -> None:
    """Remove a tile's receipt, and make sure that it stays removed, before its files are touched."""
    path = receipt_path(workspace, tile)
    if path.exists():
        path.unlink()
        sync_folder(path.parent)


def write(workspace: Path, tile: Tile, files: Iterable[Path], run: dict[str, Any]) -> Receipt:
    """Record a finished tile: the length and crc32 of every file as it lies on disk now.

    Parameters
    ----------
    files
        Absolute paths inside the workspace; all of them must exist.
    run
        Seconds, peak bytes and the like; stored as they are.
    """
    records = {
        path.relative_to(workspace).as_posix(): FileRecord(path.stat().st_size, checksum(path))
        for path in sorted(files)
    }
    content = {"files": {name: [r.length, r.crc32] for name, r in records.items()}, "run": run}
    write_json(receipt_path(workspace, tile), content)
    return Receipt(records, run)


def parse(path: Path) -> Receipt:
    """Read one receipt.

    Raises
    ------
    DamagedStore
        If the file is empty, garbled or lacks its parts.
    """
    try:
        content = read_json(path)
        files = {name: FileRecord(int(pair[0]), int(pair[1])) for name, pair in content["files"].items()}
        return Receipt(files, dict(content["run"]))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedStore(
            f"the receipt {path} is damaged ({error}); remove it and run its command again: the tile is then recomputed"
        ) from error


def iterate(workspace: Path, verb: str, prefix: Iterable[str] = ()) -> Iterator[tuple[Path, Receipt]]:
    """Yield every receipt below `receipts/<verb>/<prefix>`, in sorted order of path."""
    folder = workspace / "receipts" / verb / Path(*prefix)
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*.json")):
        if path.name != GROUP_FILE and not path.name.startswith("."):
            yield path, parse(path)


def records(workspace: Path, verb: str, prefix: Iterable[str] = ()) -> dict[str, FileRecord]:
    """Return the records of all files below `receipts/<verb>/<prefix>`, by path relative to the workspace."""
    found: dict[str, FileRecord] = {}
    for _, receipt in iterate(workspace, verb, prefix):
        found.update(receipt.files)
    return found


def group_fingerprint(workspace: Path, key: str) -> dict[str, Any] | None:
    """Return the stored fingerprint of the group with this key, or None if there is none."""
    path = workspace / "receipts" / key / GROUP_FILE
    return dict(read_json(path)) if path.exists() else None


def group_digests(workspace: Path, prefix: str) -> dict[str, str]:
    """Return the digest of every group at or below the key `prefix`, by key."""
    folder = workspace / "receipts" / prefix
    root = workspace / "receipts"
    if not folder.is_dir():
        return {}
    return {
        path.parent.relative_to(root).as_posix(): str(read_json(path)["digest"])
        for path in sorted(folder.rglob(GROUP_FILE))
    }
