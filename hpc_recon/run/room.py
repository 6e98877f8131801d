"""Room on the disk of a workspace: too little for what is to be written, or none left in the middle of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpc_recon.core.errors import ReconError, WorkspaceError
from hpc_recon.core.files import describe_room, free_bytes, is_full, is_storage_failure
from hpc_recon.core.text import format_bytes
from hpc_recon.core.tiles import Tile

_GO_ON = "then run the same command again"


def shortage(workspace: Path, todo: Sequence[Tile]) -> str | None:
    """Return a warning if tiles are projected to write more than is free, else None.

    It is no error: somebody may make room while the run goes on, and what it wrote is kept.
    """
    wanted = _projected(todo)
    if wanted <= free_bytes(workspace):
        return None
    return (
        f"the tiles to do are projected to write {format_bytes(wanted)}, but where {workspace} lies "
        f"{describe_room(workspace)}; the run stops when the disk is full, and goes on when it is started again"
    )


def stopped(workspace: Path, left: Sequence[Tile], errors: Sequence[BaseException]) -> str:
    """Return why a run stopped on a disk that takes no more, how much is missing, and what to do.

    Parameters
    ----------
    left
        Tiles without a receipt.
    errors
        Those of the tiles that failed.
    """
    if not any(is_full(error) for error in errors):
        return f"{workspace} has become read-only; finished tiles are kept. Make it writable, {_GO_ON}"
    wanted, free = _projected(left), free_bytes(workspace)
    missing = f"about {format_bytes(wanted - free)} are missing" if wanted > free else "a quota may be used up"
    noun = "tile" if len(left) == 1 else "tiles"
    return (
        f"the disk is full, so the run stopped: where {workspace} lies {describe_room(workspace)}, and the "
        f"{len(left):,} {noun} left are projected to write {format_bytes(wanted)} ({missing}). Finished tiles are "
        f"kept. Make room, {_GO_ON}"
    )


def _projected(tiles: Sequence[Tile]) -> int:
    return sum(tile.need.bytes_out for tile in tiles)


@contextlib.contextmanager
def explained(workspace: Path) -> Iterator[None]:
    """Turn errors of the controller's own files in the workspace into messages for the user.

    Raises
    ------
    WorkspaceError
        If the disk is full or read-only, or a file belongs to somebody else.
    """
    try:
        yield
    except ReconError:
        raise
    except OSError as error:
        if not (is_storage_failure(error) or isinstance(error, PermissionError)):
            raise
        raise WorkspaceError(
            f"{error.filename or workspace} cannot be written ({error.strerror or error}); where {workspace} lies "
            f"{describe_room(workspace)}. Finished tiles are kept: correct this, {_GO_ON}"
        ) from error
