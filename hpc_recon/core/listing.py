"""What lies below `receipts/`: the forms of its files, and one look at many of them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core import storage
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.paths import require_relative
from hpc_recon.core.places import RECEIPTS
from hpc_recon.core.tiles import FORMAT_VERSION

GROUP_FILE = "group.json"
FINISHED_FILE = "finished.json"
#: Ending of the file that takes a tile out of finished.json.
REMOVED = ".removed"


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

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"files": {name: [r.length, r.crc32] for name, r in self.files.items()}, "run": self.run}


def in_receipts(key: str, file: str) -> str:
    """Return the name of a file of a group."""
    return f"{RECEIPTS}/{key}/{file}"


def parse(path: Path) -> Receipt:
    """Read one receipt file.

    Raises
    ------
    DamagedStore
        If the file is empty, garbled or lacks its parts.
    """
    return _parse(path.read_bytes(), str(path))


def _parse(payload: bytes, where: str) -> Receipt:
    try:
        return _receipt(json.loads(payload))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedStore(
            f"the receipt {where} is damaged ({error}); remove it and run its command again: the tile is then "
            "recomputed"
        ) from error


def _receipt(content: Any) -> Receipt:
    files = {
        require_relative(name, where="it"): FileRecord(int(pair[0]), int(pair[1]))
        for name, pair in content["files"].items()
    }
    return Receipt(files, dict(content["run"]))


def _parse_finished(payload: bytes, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what all receipts of a group have in common, and what each says of its own."""
    try:
        content = json.loads(payload)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"it has format {content['format']}, this program reads format {FORMAT_VERSION}")
        return dict(content["shared"]), dict(content["tiles"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged_group(where, error) from error


def _expand(shared: dict[str, Any], tiles: dict[str, Any], where: str) -> dict[str, Receipt]:
    try:
        return {name: _receipt({"files": one["files"], "run": {**shared, **one["run"]}}) for name, one in tiles.items()}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise _damaged_group(where, error) from error


def _damaged_group(where: str, error: Exception) -> DamagedStore:
    return DamagedStore(
        f"{where}, the receipts of a finished group, is damaged ({error}); remove it and run its command again: the "
        "tiles of the group are then recomputed"
    )


def below(keys: Sequence[str], prefix: str) -> list[str]:
    """Return those of some sorted group keys that are `prefix` or lie below it; all for "".

    >>> below(["fit/S1", "fit/S1-x", "fit/S1/VC", "fit/S10"], "fit/S1")
    ['fit/S1', 'fit/S1/VC']
    """
    if not prefix:
        return list(keys)
    here = bisect_left(keys, prefix)
    itself = [prefix] if here < len(keys) and keys[here] == prefix else []
    # "0" is the character after "/".
    return itself + list(keys[bisect_left(keys, f"{prefix}/") : bisect_left(keys, f"{prefix}0")])


@dataclass
class _Found:
    """Names of what lies in the folder of one group."""

    singles: set[str]
    removed: set[str]
    has_group: bool = False
    is_compacted: bool = False


class Listing:
    """What one look at the receipts below a prefix found: each folder is listed once, files are read when asked for.

    Parameters
    ----------
    prefix
        A group key or the beginning of one, up to a `/`: `fit`, `fit/S1`; "" for everything.
    """

    def __init__(self, workspace: Path, prefix: str = "") -> None:
        self._place = storage.of(workspace)
        self._groups: dict[str, _Found] = {}
        self._fetched: set[str] = set()
        self._texts: dict[str, bytes] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._fingerprints: dict[str, dict[str, Any] | None] = {}
        for path in self._place.walk(f"{RECEIPTS}/{prefix}".rstrip("/")):
            folder, _, file = path.rpartition("/")
            if "/" in folder:  # else it is the controller's lease
                self._add(folder.removeprefix(f"{RECEIPTS}/"), file)
        self._sorted = sorted(self._groups)

    def _add(self, key: str, file: str) -> None:
        found = self._groups.setdefault(key, _Found(set(), set()))
        if file == GROUP_FILE:
            found.has_group = True
        elif file == FINISHED_FILE:
            found.is_compacted = True
        elif file.endswith(".json"):
            found.singles.add(file.removesuffix(".json"))
        elif file.endswith(REMOVED):
            found.removed.add(file.removesuffix(REMOVED))

    def below(self, prefix: str = "") -> list[str]:
        """Return the keys of the folders at or below `prefix` that hold anything, sorted."""
        return below(self._sorted, prefix)

    def _text(self, key: str, file: str) -> bytes | None:
        """Read a file that every group may have; at first those of all listed groups (over a network, at once)."""
        if file not in self._fetched:
            self._fetched.add(file)
            is_group = file == GROUP_FILE
            found = ((key, self._groups[key]) for key in self._sorted)
            having = [k for k, f in found if (f.has_group if is_group else f.is_compacted)]
            self._texts |= self._place.read_many([in_receipts(k, file) for k in having])
        name = in_receipts(key, file)
        return self._texts.pop(name) if name in self._texts else self._place.read_many([name]).get(name)

    def groups(self, prefix: str = "") -> list[str]:
        """Return the keys of the groups at or below `prefix` that have a fingerprint, sorted."""
        return [key for key in self.below(prefix) if self._groups[key].has_group]

    def fingerprint(self, key: str) -> dict[str, Any] | None:
        """Return the stored fingerprint of a group, None if there is none.

        Raises
        ------
        DamagedStore
            If it is garbled.
        """
        if key not in self._fingerprints:
            has = key in self._groups and self._groups[key].has_group
            payload = self._text(key, GROUP_FILE) if has else None
            self._fingerprints[key] = None if payload is None else self._fingerprint(key, payload)
        return self._fingerprints[key]

    def _fingerprint(self, key: str, payload: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(payload))
        except (ValueError, TypeError) as error:
            where = self._place.where(in_receipts(key, GROUP_FILE))
            raise DamagedStore(
                f"{where} is damaged ({error}); remove its folder and run its command again: the tiles of the group "
                "are then recomputed"
            ) from error

    def is_compacted(self, key: str) -> bool:
        """Return whether a group has a finished.json."""
        return key in self._groups and self._groups[key].is_compacted

    def singles(self, key: str) -> frozenset[str]:
        """Return the tiles of a group that have a receipt of their own."""
        return frozenset(self._groups[key].singles) if key in self._groups else frozenset()

    def removed(self, key: str) -> frozenset[str]:
        """Return the tiles that are taken out of the group's finished.json."""
        return frozenset(self._groups[key].removed) if key in self._groups else frozenset()

    def compacted(self, key: str) -> dict[str, Receipt]:
        """Return what finished.json says of the tiles that are not taken out of it.

        Raises
        ------
        DamagedStore
            If it is damaged.
        """
        where = self._place.where(in_receipts(key, FINISHED_FILE))
        shared, tiles = self._open(key, where)
        return _expand(shared, tiles, where)

    def _open(self, key: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        payload = self._text(key, FINISHED_FILE) if self.is_compacted(key) else None
        shared, tiles = ({}, {}) if payload is None else _parse_finished(payload, where)
        kept = {name: one for name, one in tiles.items() if name not in self.removed(key)}
        self._names[key] = frozenset(kept)
        return shared, kept

    def done(self, key: str) -> frozenset[str]:
        """Return the names of the finished tiles of a group.

        Raises
        ------
        DamagedStore
            If finished.json is damaged.
        """
        if key not in self._names:
            self._open(key, self._place.where(in_receipts(key, FINISHED_FILE)))
        return self.singles(key) | self._names[key]

    def any_done(self, prefix: str = "") -> bool:
        """Return whether any tile at or below `prefix` is done."""
        keys = self.below(prefix)
        return any(self.singles(key) for key in keys) or any(self.done(key) for key in keys)

    def each(self, key: str, names: Collection[str] | None = None) -> Iterator[tuple[str, Receipt | DamagedStore]]:
        """Yield the name and the receipt of each finished tile of a group, sorted; a damaged one as its error.

        Receipts that have gone since the listing are left out: their tiles are being computed again.
        """
        singles, compacted = self.singles(key), self.compacted(key)
        wanted = sorted(singles.union(compacted) if names is None else singles.union(compacted).intersection(names))
        payloads = self._place.read_many([in_receipts(key, f"{name}.json") for name in wanted if name in singles])
        for name in wanted:
            payload = payloads.get(file := in_receipts(key, f"{name}.json"))
            if payload is not None:
                try:
                    yield name, _parse(payload, self._place.where(file))
                except DamagedStore as error:
                    yield name, error
            elif name in compacted:
                yield name, compacted[name]

    def read(self, key: str, names: Collection[str] | None = None) -> dict[str, Receipt]:
        """Return the receipts of the finished tiles of a group by name, of those in `names` only if given.

        Raises
        ------
        DamagedStore
            If one of them is damaged.
        """
        found = {}
        for name, receipt in self.each(key, names):
            if isinstance(receipt, DamagedStore):
                raise receipt
            found[name] = receipt
        return found

    def is_complete(self, key: str, found: Collection[str]) -> bool:
        """Return whether `read` found every receipt that was listed."""
        return len(found) == len(self.done(key))
