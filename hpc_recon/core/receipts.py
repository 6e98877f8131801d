"""Receipts: small JSON files that say a tile is done and how long each of its files is.

Layout below the workspace, or beside its arrays (docs/store_format.md, section 5)::

    receipts/<verb>/<group path ...>/group.json       the fingerprint of the group, once
    receipts/<verb>/<group path ...>/<tile>.json      one a finished tile, written by the worker
    receipts/<verb>/<group path ...>/finished.json    those of a finished group in one file, written by the controller
    receipts/<verb>/<group path ...>/<tile>.removed   empty: what finished.json says of this tile no longer holds

A receipt is written after the tile's files are on disk, by the worker that wrote them; it is removed before they are
touched again. Readers of a store compare the length of each file with its receipt. Of what is said about one tile, its
own receipt counts first, then `.removed`, then finished.json: so workers never touch a file that others write.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpc_recon.core import storage
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.listing import (
    FINISHED_FILE,
    GROUP_FILE,
    REMOVED,
    FileRecord,
    Listing,
    Receipt,
    below,
    in_receipts,
    parse,
)
from hpc_recon.core.paths import require_inside
from hpc_recon.core.places import RECEIPTS, Storage
from hpc_recon.core.tiles import FORMAT_VERSION, Group, Tile

__all__ = ["GROUP_FILE", "FileRecord", "Listing", "Receipt", "below", "in_receipts", "parse"]

#: A group with fewer receipts is not compacted: nothing would be gained.
FEWEST = 8
#: Looks at a group while its receipts are being compacted or removed, and seconds between the first two.
LOOKS = 5
PAUSE = 0.1
#: Files whose checksums are computed at once: enough to hide the waiting for a network.
AT_ONCE = 8


def group_folder(workspace: Path, group: Group) -> Path:
    """Return the folder that holds a group's receipts, where they lie in the workspace."""
    return workspace / RECEIPTS / group.verb / Path(*group.path)


def receipt_path(workspace: Path, tile: Tile) -> Path:
    """Return where the receipt of a tile lies when the tile is done and its group is not yet compacted."""
    return group_folder(workspace, tile.group) / f"{tile.name}.json"


def remove(workspace: Path, tile: Tile) -> None:
    """Remove a tile's receipt, and make sure that it stays removed, before its files are touched.

    Safe in any process: it writes and removes files of this tile only.
    """
    place, key = storage.of(workspace), tile.group.key
    if place.exists(in_receipts(key, FINISHED_FILE)):
        # First this, then the receipt: in between the tile counts as done, which it is.
        place.write_atomic(in_receipts(key, tile.name + REMOVED), b"")
    place.delete([in_receipts(key, f"{tile.name}.json")])


def remove_all(workspace: Path, tiles: Iterable[Tile]) -> None:
    """Remove the receipts of many tiles, group by group; for the controller, while no worker computes any of them.

    Raises
    ------
    DamagedStore
        If a group's finished.json is damaged.
    """
    place = storage.of(workspace)
    by_group: dict[str, set[str]] = {}
    for tile in tiles:
        by_group.setdefault(tile.group.key, set()).add(tile.name)
    for key, names in by_group.items():
        found = Listing(workspace, key)
        compacted = found.compacted(key)
        if names & compacted.keys():
            rest = {name: receipt for name, receipt in compacted.items() if name not in names}
            _write_finished(place, key, rest)
        place.delete([in_receipts(key, f"{name}.json") for name in names & found.singles(key)])


def remove_group(workspace: Path, key: str) -> None:
    """Remove all receipts of a group; its fingerprint stays."""
    place, found = storage.of(workspace), Listing(workspace, key)
    # finished.json first: without it no `.removed` is needed.
    place.delete([in_receipts(key, FINISHED_FILE)])
    place.delete([in_receipts(key, f"{name}.json") for name in found.singles(key)])
    place.delete([in_receipts(key, name + REMOVED) for name in found.removed(key)])


def write(workspace: Path, tile: Tile, files: Collection[Path], run: dict[str, Any]) -> Receipt:
    """Record a finished tile: the length and crc32 of every file as it is stored now.

    Parameters
    ----------
    files
        Paths inside the workspace, links followed (those of arrays too, wherever these lie); all of them must exist.
    run
        Seconds, peak bytes and the like; stored as they are.
    """
    require_inside(workspace, *sorted({path.parent for path in files}))
    place = storage.of(workspace)
    names = [path.relative_to(workspace).as_posix() for path in sorted(files)]
    receipt = Receipt({name: FileRecord(*place.measure(name)) for name in names}, run)
    payload = (json.dumps(receipt.as_dict(), indent=1) + "\n").encode()
    place.write_atomic(in_receipts(tile.group.key, f"{tile.name}.json"), payload)
    return receipt


def _write_finished(place: Storage, key: str, found: dict[str, Receipt]) -> None:
    """Replace finished.json; what all receipts have in common (versions, mostly) is written once."""
    name = in_receipts(key, FINISHED_FILE)
    if not found:
        place.delete([name])
        return
    first, *others = found.values()
    shared = {k: v for k, v in first.run.items() if all(k in r.run and r.run[k] == v for r in others)}
    tiles = {
        tile: {**receipt.as_dict(), "run": {k: v for k, v in receipt.run.items() if k not in shared}}
        for tile, receipt in sorted(found.items())
    }
    content = {"format": FORMAT_VERSION, "shared": shared, "tiles": tiles}
    place.write_atomic(name, (json.dumps(content, separators=(",", ":")) + "\n").encode())


def compact(workspace: Path, group: Group, names: Collection[str]) -> bool:
    """Put the receipts of a finished group into one file; for the controller, while no worker computes any of them.

    A crash in between leaves receipts beside a finished.json that says the same.

    Parameters
    ----------
    names
        Names of all tiles of the group; nothing happens unless each of them is done.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    DamagedStore
        If one of the receipts is damaged.
    """
    place, key = storage.of(workspace), group.key
    found = Listing(workspace, key)
    singles, removed = found.singles(key), found.removed(key)
    worthwhile = singles or removed if found.is_compacted(key) else len(singles) >= FEWEST
    if not worthwhile or not found.done(key) >= set(names):
        return False
    _write_finished(place, key, found.read(key))
    # In this order: a `.removed` without the receipt beside it would take a finished tile out of the new file.
    place.delete([in_receipts(key, name + REMOVED) for name in removed])
    place.delete([in_receipts(key, f"{name}.json") for name in singles])
    return True


def iterate(workspace: Path, verb: str, prefix: Iterable[str] = ()) -> Iterator[tuple[str, Receipt]]:
    """Yield the id and the receipt of every finished tile below `receipts/<verb>/<prefix>`, in sorted order.

    A group whose receipts go while they are read (it is being compacted, or computed again) is looked at again.

    Raises
    ------
    DamagedStore
        If a receipt is damaged.
    """
    found = Listing(workspace, "/".join((verb, *prefix)))
    for key in found.below():
        now = found
        for look in range(LOOKS):
            receipts = now.read(key)
            if look == LOOKS - 1 or now.is_complete(key, receipts):
                break
            time.sleep(PAUSE * 2**look)
            now = Listing(workspace, key)
        yield from ((f"{key}/{name}", receipt) for name, receipt in receipts.items())


def records(workspace: Path, verb: str, prefix: Iterable[str] = ()) -> dict[str, FileRecord]:
    """Return the records of all files below `receipts/<verb>/<prefix>`, by path relative to the workspace."""
    found: dict[str, FileRecord] = {}
    for _, receipt in iterate(workspace, verb, prefix):
        found.update(receipt.files)
    return found


def read(workspace: Path, tile: Tile) -> Receipt | None:
    """Return the receipt of a tile, None if it is not done."""
    return Listing(workspace, tile.group.key).read(tile.group.key, [tile.name]).get(tile.name)


def group_fingerprint(workspace: Path, key: str) -> dict[str, Any] | None:
    """Return the stored fingerprint of the group with this key, or None if there is none."""
    return Listing(workspace, key).fingerprint(key)


def group_digests(workspace: Path, prefix: str) -> dict[str, str]:
    """Return the digest of every group at or below the key `prefix`, by key."""
    return digests(Listing(workspace, prefix), prefix)


def digests(found: Listing, prefix: str) -> dict[str, str]:
    """Return the digest of every listed group at or below the key `prefix`, by key."""
    fingerprints = {key: found.fingerprint(key) for key in found.groups(prefix)}
    return {key: str(content["digest"]) for key, content in fingerprints.items() if content is not None}


@dataclass
class Verified:
    """Files compared with their receipts; a damaged receipt counts as one damaged file."""

    n_files: int = 0
    #: Of each damaged tile, by id: what is wrong with each damaged file, or with its receipt.
    damaged: dict[str, list[str]] = field(default_factory=dict)
    n_damaged: int = 0


def verify(
    workspace: Path, prefix: str, *, checksums: bool, names: Mapping[str, Collection[str]] | None = None
) -> Verified:
    """Compare the files of finished tiles with their receipts.

    Parameters
    ----------
    prefix
        Groups at or below this key.
    checksums
        Compare crc32 too, which reads every file; else lengths only.
    names
        Tiles to look at, by group key; None: all.

    Raises
    ------
    DamagedStore
        If the finished.json of a group is damaged.
    """
    place, found, result = storage.of(workspace), Listing(workspace, prefix), Verified()
    for key in found.below():
        if names is not None and key not in names:
            continue
        receipts: dict[str, Receipt] = {}
        n_bad = 0
        for name, receipt in found.each(key, None if names is None else names[key]):
            if isinstance(receipt, DamagedStore):
                result.damaged[f"{key}/{name}"] = [str(receipt)]
                n_bad += 1
            else:
                receipts[name] = receipt
        files = {file: record for receipt in receipts.values() for file, record in receipt.files.items()}
        reasons = _compare(place, files, checksums=checksums)
        result.n_files += len(files) + n_bad
        result.n_damaged += len(reasons) + n_bad
        for name, receipt in receipts.items():
            own = [f"{place.where(file)} {reasons[file]}" for file in receipt.files if file in reasons]
            if own:
                result.damaged[f"{key}/{name}"] = own
    return result


def damaged(workspace: Path, tiles: Iterable[Tile], *, checksums: bool) -> dict[str, str]:
    """Return what is wrong with the files of finished tiles, by tile id, in the order of `tiles`.

    Parameters
    ----------
    tiles
        Those that are not done are left out.
    checksums
        Compare crc32 too, which reads every file; else lengths only.

    Raises
    ------
    DamagedStore
        If the finished.json of a group is damaged.
    """
    asked = list(tiles)
    names: dict[str, set[str]] = {}
    for tile in asked:
        names.setdefault(tile.group.key, set()).add(tile.name)
    found: dict[str, str] = {}
    for key, members in names.items():
        found |= damaged_group(workspace, key, checksums=checksums, names=members)
    return {tile.id: found[tile.id] for tile in asked if tile.id in found}


def damaged_group(
    workspace: Path, key: str, *, checksums: bool, names: Collection[str] | None = None
) -> dict[str, str]:
    """Return what is wrong with the files of a group's finished tiles, by tile id; `names`: of these only.

    Raises
    ------
    DamagedStore
        If the group's finished.json is damaged.
    """
    found = verify(workspace, key, checksums=checksums, names=None if names is None else {key: names}).damaged
    return {
        tile_id: reasons[0] + (f", and {len(reasons) - 1} more files" if len(reasons) > 1 else "")
        for tile_id, reasons in found.items()
    }


def difference(size: int | None, length: int) -> str:
    """Return how a file's length differs from its receipt's, "" if it does not; None: the file is absent.

    >>> difference(5, 5), difference(None, 5), difference(0, 5)
    ('', 'is absent, its receipt says 5 bytes', 'is empty, its receipt says 5 bytes')
    """
    if size == length:
        return ""
    state = "is absent" if size is None else "is empty" if size == 0 else f"has {size} bytes"
    return f"{state}, its receipt says {length}{'' if size else ' bytes'}"


def _compare(place: Storage, files: Mapping[str, FileRecord], *, checksums: bool) -> dict[str, str]:
    sizes = place.sizes(list(files))
    wrong = {name: text for name, record in files.items() if (text := difference(sizes.get(name), record.length))}
    if checksums:

        def changed(name: str) -> str:
            try:
                same = place.measure(name) == (files[name].length, files[name].crc32)
            except FileNotFoundError:
                same = False  # removed meanwhile
            return "" if same else "has the length that its receipt says, but another checksum"

        rest = [name for name in files if name not in wrong]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wrong |= {name: text for name, text in zip(rest, pool.map(changed, rest), strict=True) if text}
    return wrong
