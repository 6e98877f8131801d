"""Failed tiles: what went wrong, and a traceback file each in `<workspace>/logs`, removed when the tile succeeds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hpc_recon.core.files import is_storage_failure, write_atomic
from hpc_recon.core.memory import WORKER_BASE
from hpc_recon.core.redaction import redacted
from hpc_recon.core.text import format_bytes
from hpc_recon.core.tiles import Tile

#: Longest name of a file that common file systems take is 255 bytes.
LONGEST = 200


@dataclass(frozen=True)
class Epitaph:
    """What is known of a worker, dead or alive.

    Attributes
    ----------
    memory
        Bytes that its process used when it last reported; None if it never did.
    out_of_memory
        Whether the scheduler says that its job was ended for using too much; None as long as it has not said so.
    job, host
        Id of its job and name of its node, None where there is no job.
    """

    memory: int | None
    out_of_memory: bool | None
    job: str | None
    host: str | None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that host or device memory ran out (by name: torch and cupy are not imported)."""
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


def memory_note(tile: Tile, *, used: int) -> str:
    """Return what a tile that ran out of memory was projected to need, and what its process held.

    Parameters
    ----------
    used
        Peak resident bytes of the process.
    """
    return f"{_projection(tile)}; its process held at most {format_bytes(used)}. {_MEMORY_REMEDY}"


#: What the user can do about a tile that needs more memory than there is.
_MEMORY_REMEDY = "Give workers more memory (in the cluster file), or run fewer of them on a machine (--jobs)"


def _projection(tile: Tile) -> str:
    """Return the projected memory of a tile with its worker, for a message."""
    device = f" and {format_bytes(tile.need.device_bytes)} on a GPU" if tile.need.device_bytes else ""
    return f"projected to need {format_bytes(WORKER_BASE + tile.need.host_bytes)}{device}"


def lost(tile: Tile, n_lost: int, found: Epitaph | None, *, workspace: Path) -> BaseException:
    """Return the error of a tile whose workers died while they computed it.

    Parameters
    ----------
    found
        What is known of the last one.
    """
    where = ""
    if found is not None:
        where = " ".join(text for text in (found.job and f"job {found.job}", found.host and f"on {found.host}") if text)
    seen = "" if found is None or found.memory is None else f"; it held {format_bytes(found.memory)} when last seen"
    logs = f"Logs of jobs are in {workspace / 'jobs'}"
    if found is not None and found.out_of_memory:
        who = f"its worker ({where})" if where else "its worker"
        return MemoryError(
            f"{who} was killed because memory ran out{seen}; the tile is {_projection(tile)}. {_MEMORY_REMEDY}. {logs}"
        )
    last = f" (the last one: {where})" if where else ""
    return RuntimeError(
        f"{n_lost} workers died while they computed this tile{last}{seen}; the tile is {_projection(tile)}. {logs}"
    )


def summary(error: BaseException) -> str:
    """Return an error in one line: its type, the first line of its message, and its notes."""
    first = (str(error).strip().splitlines() or [""])[0]
    return "; ".join((f"{type(error).__name__}: {first}", *getattr(error, "__notes__", ())))


def log_path(workspace: Path, tile: Tile) -> Path:
    """Return where the traceback of a tile lies: its id with `__` for `/`, shortened by a digest if too long."""
    name = tile.id.replace("/", "__")
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return workspace / "logs" / f"{name}.txt"


def record(workspace: Path, tile: Tile, text: str) -> Path | None:
    """Write why a tile failed; the first line is the tile's id. None if the disk takes no more."""
    path = log_path(workspace, tile)
    try:
        # Written beside and renamed: a link that somebody put there is replaced, not followed.
        write_atomic(path, redacted(f"{tile.id}\n\n{text.rstrip()}\n").encode())
    except OSError as error:
        if not is_storage_failure(error):
            raise
        return None
    return path


def forget(workspace: Path, tile: Tile) -> None:
    """Remove the traceback of an earlier failure."""
    log_path(workspace, tile).unlink(missing_ok=True)


def failed(workspace: Path, tiles: list[Tile]) -> list[Tile]:
    """Return those of the tiles whose last attempt failed, in order; one listing of the folder."""
    folder = workspace / "logs"
    names = {path.name for path in folder.glob("*.txt")} if folder.is_dir() else set()
    return [tile for tile in tiles if names and log_path(workspace, tile).name in names]


def count(workspace: Path, verb: str) -> int:
    """Return how many tiles of a verb have a traceback file."""
    folder = workspace / "logs"
    return sum(1 for _ in folder.glob(f"{verb}__*.txt")) if folder.is_dir() else 0
