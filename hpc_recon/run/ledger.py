"""The ledger: which tiles are done, with what settings; whether they still count; what is left.

Settings and upstream digests of a group are compared with those in its `group.json`; equal means that
its receipts count, different means a refusal that names what changed. Only the controller calls this.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts, storage
from hpc_recon.core.errors import ChangedStudy, MissingStore
from hpc_recon.core.tiles import Group, Tile, digest

#: Differences shown in a refusal; the rest is counted.
SHOWN = 8
#: The file of a zarr array or group that says what it is.
METADATA = "zarr.json"


@dataclass(frozen=True)
class GroupEntry:
    """A group of the plan: its fingerprint now, the stored one (None: new), and which tiles have receipts that hold."""

    group: Group
    fingerprint: dict[str, Any]
    stored: dict[str, Any] | None
    n_tiles: dict[str, int]
    done: frozenset[str]
    #: Names of the tiles that the plan has in this group.
    planned: frozenset[str] = frozenset()
    #: Whether there are receipts without a stored fingerprint: nothing says with what settings these tiles were made.
    is_unknown: bool = False

    @property
    def digest(self) -> str:
        """Digest of the fingerprint."""
        return digest(self.fingerprint)

    def differences(self) -> list[str]:
        """Return `key: old -> new` for everything that differs from the stored fingerprint."""
        if self.stored is None or self.stored.get("digest") == self.digest:
            return []
        old = flatten({key: self.stored.get(key) for key in self.fingerprint})
        new = flatten(self.fingerprint)
        keys = [key for key in sorted({*old, *new}) if old.get(key, "absent") != new.get(key, "absent")]
        return [_difference(key, old.get(key, "absent"), new.get(key, "absent")) for key in keys]


def _difference(key: str, old: Any, new: Any) -> str:
    kind, _, rest = key.partition(".")
    if kind == "upstream":
        if "absent" in (old, new):
            return f"{rest} is {'read now, and was not' if old == 'absent' else 'not read any more'}"
        return f"{rest} was computed anew"
    return f"{rest if kind == 'settings' else key}: {old!r} -> {new!r}"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys; lists are values.

    >>> flatten({"fit": {"alpha": 1, "grid": [1, 2]}})
    {'fit.alpha': 1, 'fit.grid': [1, 2]}
    """
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found.update(flatten(item, f"{prefix}.{key}" if prefix else str(key)))
    return found


def is_below(key: str, prefix: str) -> bool:
    """Return whether a group key is `prefix` or lies below it.

    >>> is_below("fit/S1/VC", "fit/S1"), is_below("fit/S10", "fit/S1")
    (True, False)
    """
    return key == prefix or key.startswith(f"{prefix}/")


def command_of(key: str) -> str:
    """Return the command that makes a group.

    >>> command_of("extract/vgg/conv1_1..conv5_1")
    'python -m hpc_recon.extract'
    """
    return f"python -m hpc_recon.{key.partition('/')[0]}"


def survey(workspace: Path, plan: Sequence[Tile]) -> dict[str, GroupEntry]:
    """Compare every group of a whole plan with the workspace; reads receipts' names only, writes nothing.

    Raises
    ------
    MissingStore
        If a group reads from another that was never computed; names the command that makes it.
    """
    tiles_of: dict[str, list[Tile]] = {}
    for tile in plan:
        tiles_of.setdefault(tile.group.key, []).append(tile)
    look = _Look(workspace)
    found: dict[str, GroupEntry] = {}
    known: list[str] = []  # its keys, sorted
    for key, tiles in tiles_of.items():
        group = tiles[0].group
        digests = {name: _upstream_digest(look, name, found, known=known, group=group) for name in group.upstream}
        counts: dict[str, int] = {}
        for tile in tiles:
            counts[tile.stage] = counts.get(tile.stage, 0) + 1
        listing = look.at(key)
        stored, done = listing.fingerprint(key), listing.done(key)
        found[key] = GroupEntry(
            group,
            group.fingerprint(digests),
            stored,
            counts,
            done if stored is not None else frozenset(),
            frozenset(tile.name for tile in tiles),
            is_unknown=stored is None and bool(done),
        )
        insort(known, key)
    return found


class _Look:
    """One look at a workspace's receipts: the folders of each verb are listed once."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._listings: dict[str, receipts.Listing] = {}

    def at(self, key: str) -> receipts.Listing:
        """Return what is listed of the verb of a group key, or of the beginning of one."""
        verb = key.partition("/")[0]
        if verb not in self._listings:
            self._listings[verb] = receipts.Listing(self.workspace, verb)
        return self._listings[verb]


def _upstream_digest(
    look: _Look, prefix: str, planned: Mapping[str, GroupEntry], *, known: Sequence[str], group: Group
) -> str:
    """Digest all groups at or below `prefix`: those of this plan as they will be, others as they are on disk."""
    listing = look.at(prefix)
    digests = receipts.digests(listing, prefix)
    in_plan = receipts.below(known, prefix)
    digests.update({key: planned[key].digest for key in in_plan})
    if not digests or not (in_plan or listing.any_done(prefix)):
        raise MissingStore(
            f"{group.key} reads {prefix}, of which nothing is computed yet in {look.workspace}; "
            f"run `{command_of(prefix)}` first"
        )
    return digest(dict(digests))


def require_unchanged(entries: Iterable[GroupEntry], *, verb: str) -> None:
    """Raise `ChangedStudy` if finished tiles were made with other settings; names each change once."""
    changed = [entry for entry in entries if entry.done and entry.differences()]
    if not changed:
        return
    lines = list(dict.fromkeys(line for entry in changed for line in entry.differences()))
    shown = "\n".join(f"  - {line}" for line in lines[:SHOWN])
    more = f"\n  - and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    n_tiles = sum(len(entry.done) for entry in changed)
    raise ChangedStudy(
        f"{n_tiles} finished tiles of `{verb}` in {len(changed)} groups were made with other settings "
        f"(first: {changed[0].group.key}):\n{shown}{more}\n"
        "Discard them with --redo, or keep them and compute elsewhere with --set workspace=runs/another"
    )


def missing(tiles: Iterable[Tile], entries: Mapping[str, GroupEntry]) -> list[Tile]:
    """Return the tiles that have no receipt; receipts made with other settings do not count."""
    counting = {
        key: frozenset() if entry.done and entry.differences() else entry.done for key, entry in entries.items()
    }
    return [tile for tile in tiles if tile.name not in counting[tile.group.key]]


def require_inputs(tiles: Sequence[Tile], entries: Mapping[str, GroupEntry]) -> None:
    """Raise `MissingStore` if selected tiles read a group of their own verb that is neither selected nor done."""
    selected = dict.fromkeys(tile.group.key for tile in tiles)
    known = sorted(entries)
    for key in selected:
        for prefix in entries[key].group.upstream:
            for other in receipts.below(known, prefix):
                if other not in selected and not entries[other].done >= entries[other].planned:
                    raise MissingStore(
                        f"{key} reads {other}, which is neither done nor selected; run "
                        f"`{command_of(other)} --only {other}` first, or widen --only and --limit"
                    )


def commit(workspace: Path, tiles: Iterable[Tile], entries: Mapping[str, GroupEntry]) -> None:
    """Write `group.json` of every group that is about to be computed.

    Receipts of a group whose fingerprint changed, or that has none, are removed first: none of them counts any more.
    """
    for key in dict.fromkeys(tile.group.key for tile in tiles):
        entry = entries[key]
        content = {**entry.fingerprint, "digest": entry.digest, "tiles": entry.n_tiles}
        if entry.differences() or entry.is_unknown:
            discard(workspace, entry.group)
        if entry.stored != content:
            storage.of(workspace).write_atomic(
                receipts.in_receipts(key, receipts.GROUP_FILE), (json.dumps(content, indent=1) + "\n").encode()
            )


def discard(workspace: Path, group: Group) -> None:
    """Remove all receipts of a group and every file that they list.

    An array whose files are all the group's own loses its folder too, so that it can be made with another
    shape: the folder above a listed file that holds the array's `zarr.json`.

    Raises
    ------
    DamagedStore
        If a receipt is damaged: it is not known which files it lists.
    """
    place, key = storage.of(workspace), group.key
    files = {name for receipt in receipts.Listing(workspace, key).read(key).values() for name in receipt.files}
    receipts.remove_group(workspace, key)
    arrays = _arrays_of(place, files)
    place.delete(sorted(files), flush=False)
    for array in arrays:
        if all(name.rpartition("/")[2] == METADATA for name in place.walk(array)):
            place.delete([f"{array}/{METADATA}"], flush=False)


def _arrays_of(place: storage.Storage, files: Iterable[str]) -> set[str]:
    """Return the folders of the zarr arrays that hold these shard files."""
    known: dict[str, str | None] = {"": None}

    def above(folder: str) -> str | None:
        if folder not in known:
            is_array = place.exists(f"{folder}/{METADATA}")
            known[folder] = folder if is_array else above(folder.rpartition("/")[0])
        return known[folder]

    return {array for file in files if (array := above(file.rpartition("/")[0])) is not None}


def redo(workspace: Path, tiles: Iterable[Tile]) -> None:
    """Remove the receipts of these tiles; their files are replaced when they are computed again."""
    receipts.remove_all(workspace, tiles)


def forget_empty(workspace: Path, groups: Iterable[Group]) -> None:
    """Remove the `group.json` of groups without any receipt: nothing was computed, so nothing is promised."""
    look = _Look(workspace)
    empty = [g.key for g in groups if look.at(g.key).fingerprint(g.key) is not None and not look.at(g.key).done(g.key)]
    storage.of(workspace).delete([receipts.in_receipts(key, receipts.GROUP_FILE) for key in empty], flush=False)


def compact_finished(workspace: Path, entries: Mapping[str, GroupEntry]) -> int:
    """Put the receipts of each group of a plan that is finished into one file; return how many groups it was done for.

    For the controller, when a verb has ended and no worker computes any tile of these groups.

    Raises
    ------
    DamagedStore
        If a receipt is damaged.
    """
    return sum(receipts.compact(workspace, entry.group, entry.planned) for entry in entries.values())
