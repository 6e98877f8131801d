"""The ledger: which tiles are done, with what settings; whether they still count; what is left.

Settings and upstream digests of a group are compared with those in its `group.json`; equal means that
its receipts count, different means a refusal that names what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core import receipts
from hpc_recon.core.errors import ChangedStudy, MissingStore
from hpc_recon.core.files import sync_folder, write_json
from hpc_recon.core.tiles import Group, Tile, digest

#: Differences shown in a refusal; the rest is counted.
SHOWN = 8


@dataclass(frozen=True)
class GroupEntry:
    """A group of the plan: its fingerprint now, the stored one (None: new), and which tiles have receipts."""

    group: Group
    fingerprint: dict[str, Any]
    stored: dict[str, Any] | None
    n_tiles: dict[str, int]
    done: frozenset[str]

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
    found: dict[str, GroupEntry] = {}
    for key, tiles in tiles_of.items():
        group = tiles[0].group
        digests = {name: _upstream_digest(workspace, name, found, group=group) for name in group.upstream}
        counts: dict[str, int] = {}
        for tile in tiles:
            counts[tile.stage] = counts.get(tile.stage, 0) + 1
        folder = receipts.group_folder(workspace, group)
        names = {path.stem for path in folder.glob("*.json")} if folder.is_dir() else set()
        found[key] = GroupEntry(
            group,
            group.fingerprint(digests),
            receipts.group_fingerprint(workspace, key),
            counts,
            frozenset(names - {Path(receipts.GROUP_FILE).stem}),
        )
    return found


def _upstream_digest(workspace: Path, prefix: str, planned: Mapping[str, GroupEntry], *, group: Group) -> str:
    """Digest all groups at or below `prefix`: those of this plan as they will be, others as they are on disk."""
    digests = receipts.group_digests(workspace, prefix)
    digests.update({key: entry.digest for key, entry in planned.items() if is_below(key, prefix)})
    in_plan = any(is_below(key, prefix) for key in planned)
    if not digests or not (in_plan or _has_receipt(workspace, prefix)):
        raise MissingStore(
            f"{group.key} reads {prefix}, of which nothing is computed yet in {workspace}; "
            f"run `{command_of(prefix)}` first"
        )
    return digest(dict(digests))


def _has_receipt(workspace: Path, prefix: str) -> bool:
    folder = workspace / "receipts" / prefix
    return any(path.name != receipts.GROUP_FILE and path.name[0] != "." for path in folder.rglob("*.json"))


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
    return [tile for tile in tiles if not _is_done(tile, entries[tile.group.key])]


def _is_done(tile: Tile, entry: GroupEntry) -> bool:
    return tile.name in entry.done and not entry.differences()


def require_inputs(tiles: Sequence[Tile], entries: Mapping[str, GroupEntry]) -> None:
    """Raise `MissingStore` if selected tiles read a group of their own verb that is neither selected nor done."""
    selected = {tile.group.key for tile in tiles}
    for key in selected:
        for prefix in entries[key].group.upstream:
            for other, entry in entries.items():
                if is_below(other, prefix) and other not in selected and len(entry.done) < sum(entry.n_tiles.values()):
                    raise MissingStore(
                        f"{key} reads {other}, which is neither done nor selected; run "
                        f"`{command_of(other)} --only {other}` first, or widen --only and --limit"
                    )


def commit(workspace: Path, tiles: Iterable[Tile], entries: Mapping[str, GroupEntry]) -> None:
    """Write `group.json` of every group that is about to be computed.

    Receipts of a group whose fingerprint changed are removed first: none of them counts any more.
    """
    for key in dict.fromkeys(tile.group.key for tile in tiles):
        entry = entries[key]
        content = {**entry.fingerprint, "digest": entry.digest, "tiles": entry.n_tiles}
        if entry.differences():
            discard(workspace, entry.group)
        if entry.stored != content:
            write_json(receipts.group_folder(workspace, entry.group) / receipts.GROUP_FILE, content)


def discard(workspace: Path, group: Group) -> None:
    """Remove all receipts of a group and every file that they list.

    An array whose files are all the group's own loses its folder too, so that it can be made with another
    shape: the folder above a listed file that holds the array's `zarr.json`.
    """
    folder = receipts.group_folder(workspace, group)
    files: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        if path.name != receipts.GROUP_FILE:
            files |= set(receipts.parse(path).files)
            path.unlink()
    if folder.is_dir():
        sync_folder(folder)
    arrays = {array for name in files if (array := _array_folder(workspace, workspace / name)) is not None}
    for name in files:
        (workspace / name).unlink(missing_ok=True)
    for array in arrays:
        if not any(path.is_file() and path.name != "zarr.json" for path in array.rglob("*")):
            (array / "zarr.json").unlink(missing_ok=True)


def _array_folder(workspace: Path, file: Path) -> Path | None:
    """Return the folder of the zarr array that holds a shard file, None if it belongs to none."""
    for folder in file.parents:
        if folder == workspace:
            return None
        if (folder / "zarr.json").is_file():
            return folder
    return None


def redo(workspace: Path, tiles: Iterable[Tile]) -> None:
    """Remove the receipts of these tiles; their files are replaced when they are computed again."""
    for tile in tiles:
        receipts.remove(workspace, tile)


def forget_empty(workspace: Path, groups: Iterable[Group]) -> None:
    """Remove the `group.json` of groups without any receipt: nothing was computed, so nothing is promised."""
    for group in groups:
        folder = receipts.group_folder(workspace, group)
        if not any(path.name != receipts.GROUP_FILE for path in folder.glob("*.json")):
            (folder / receipts.GROUP_FILE).unlink(missing_ok=True)
