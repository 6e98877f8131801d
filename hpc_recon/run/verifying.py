"""`--verify`: read every file of finished tiles, and of what the tiles to do read, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.tiles import Tile
from hpc_recon.run import ledger

#: Damaged tiles or files that are named; the rest is counted.
SHOWN = 5


def damaged_tiles(workspace: Path, tiles: Sequence[Tile], entries: Mapping[str, ledger.GroupEntry]) -> dict[str, str]:
    """Compare the files of finished tiles with their receipts, byte by byte.

    Returns
    -------
    dict
        Why a tile is damaged, by its id, in the order of `tiles`.
    """
    finished = [tile for tile in tiles if tile.name in entries[tile.group.key].done]
    return receipts.damaged(workspace, finished, checksums=True)


def summary(damaged: Mapping[str, str], *, n_tiles: int) -> str:
    """Return how many tiles are damaged and what is wrong with the first ones.

    >>> print(summary({"fit/S1/VC/net/conv/fit-0-8": "x/c/0 is absent"}, n_tiles=3))
    1 of 3 tiles is damaged and computed anew:
      - fit/S1/VC/net/conv/fit-0-8: x/c/0 is absent
    """
    n = len(damaged)
    lines = [f"  - {tile}: {reason}" for tile, reason in list(damaged.items())[:SHOWN]]
    if n > SHOWN:
        lines.append(f"  - and {n - SHOWN:,} more")
    return "\n".join([f"{n:,} of {n_tiles:,} tiles {'is' if n == 1 else 'are'} damaged and computed anew:", *lines])


def require_sound_inputs(workspace: Path, todo: Sequence[Tile], *, verified: set[str]) -> None:
    """Raise if a file that some tiles read was changed since it was written.

    Parameters
    ----------
    verified
        Keys of groups that were compared before; those compared now are added.

    Raises
    ------
    DamagedStore
        Names the first damaged file of each command, how many there are, and the command that repairs them.
    """
    prefixes = dict.fromkeys(key for tile in todo for key in tile.group.upstream)
    problems = []
    for prefix in prefixes:
        keys = [key for key in receipts.group_digests(workspace, prefix) if key not in verified]
        for key in keys:
            verified.add(key)
            found = receipts.damaged_group(workspace, key, checksums=True)
            if found:
                name, reason = next(iter(found.items()))
                problems.append(
                    f"{len(found):,} tiles of {key} are damaged (first: {name}, {reason}); make them anew with "
                    f"`{ledger.command_of(key)} --study <study file> --verify --only '{key}/'`"
                )
    if problems:
        raise DamagedStore("\n".join(problems))
