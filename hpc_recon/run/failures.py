"""Failed tiles: a traceback file each in `<workspace>/logs`, removed when the tile succeeds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hpc_recon.core.tiles import Tile

#: Longest name of a file that common file systems take is 255 bytes.
LONGEST = 200


def log_path(workspace: Path, tile: Tile) -> Path:
    """Return where the traceback of a tile lies: its id with `__` for `/`, shortened by a digest if too long."""
    name = tile.id.replace("/", "__")
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return workspace / "logs" / f"{name}.txt"


def record(workspace: Path, tile: Tile, text: str) -> Path:
    """Write why a tile failed; the first line is the tile's id."""
    path = log_path(workspace, tile)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{tile.id}\n\n{text.rstrip()}\n", encoding="utf-8")
    return path


def forget(workspace: Path, tile: Tile) -> None:
    """Remove the traceback of an earlier failure."""
    log_path(workspace, tile).unlink(missing_ok=True)


def failed(workspace: Path, tiles: list[Tile]) -> list[Tile]:
    """Return those of the tiles whose last attempt failed, in order."""
    return [tile for tile in tiles if log_path(workspace, tile).is_file()]


def count(workspace: Path, verb: str) -> int:
    """Return how many tiles of a verb have a traceback file."""
    folder = workspace / "logs"
    return sum(1 for _ in folder.glob(f"{verb}__*.txt")) if folder.is_dir() else 0
