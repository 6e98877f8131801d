"""Paths that nobody else can lead astray: inside the workspace, private folders, nothing writable by everybody.

Only the standard library is imported: workers use this before anything else is known to be there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hpc_recon.core.errors import ClusterError, DataError


def require_inside(workspace: Path, *paths: Path) -> None:
    """Raise unless paths lie below the workspace, symbolic links followed; none of them needs to exist.

    The workspace itself may be a link; nothing below it may lead out of it. Each folder in between is looked at once.

    Raises
    ------
    DataError
        If one leads elsewhere; names the link.
    """
    plain: set[Path] = {workspace}
    for path in paths:
        below = [] if path == workspace else [path, *itertools.takewhile(lambda p: p not in plain, path.parents)]
        is_below = path.is_relative_to(workspace) and ".." not in path.parts
        if is_below and not any(folder.is_symlink() for folder in below):
            plain.update(below)
        else:
            _require_resolved(workspace, path)


def _require_resolved(workspace: Path, path: Path) -> None:
    root = workspace.resolve()
    if path.resolve().is_relative_to(root):
        return
    link = next((p for p in (path, *path.parents) if p.is_symlink()), None)
    via = f" through the link {link}" if link is not None else ""
    raise DataError(
        f"what is computed stays in the workspace, but {path} leads to {path.resolve()}{via}, outside of {root}; "
        "replace the link by a folder, or choose another workspace with --set workspace=..."
    )


def require_folders(workspace: Path) -> None:
    """Raise unless everything right below the workspace lies in it: `features.zarr`, `images`, `jobs`, ...

    Raises
    ------
    DataError
        As `require_inside`.
    """
    if workspace.is_dir():
        with os.scandir(workspace) as entries:
            links = [entry.name for entry in entries if entry.is_symlink()]
        require_inside(workspace, *(workspace / name for name in sorted(links)))


def require_relative(name: str, *, where: str) -> str:
    """Return a stored name of a file if it is one below a folder: relative, without `..`.

    Raises
    ------
    ValueError
        If it is absolute, empty, or climbs out.
    """
    parts = name.split("/")
    if "\0" in name or not all(part not in ("", ".", "..") for part in parts):
        raise ValueError(f"{where} names the file {name!r}, which is not a plain path below the workspace")
    return name


def private_folder(parent: Path | None = None) -> Path:
    """Return a folder of this user's alone (0700) below `parent` for temporary files, made if need be.

    It is `<parent>/hpc_recon-<user id>`, the same for all processes. If somebody else was there first, a new one with a
    random name is made instead: who owns a folder can exchange what lies in it, and Python imports from the temporary
    folders of dask's processes.

    Parameters
    ----------
    parent
        Made if it does not exist; default: the system's folder for temporary files (`$TMPDIR`).
    """
    base = Path(tempfile.gettempdir()) if parent is None else parent
    base.mkdir(parents=True, exist_ok=True)
    folder = base / f"hpc_recon-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077 == 0:
        return folder
    return Path(tempfile.mkdtemp(prefix="hpc_recon-", dir=base))


def require_private(path: Path) -> None:
    """Raise unless nobody but the owner can read or write a file or folder.

    Raises
    ------
    ClusterError
        If the file system does not keep permissions (a mounted Windows disk), or gave others some.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ClusterError(
            f"{path} must be readable by its owner alone, but its permissions are {mode:04o} although others were "
            "asked for: this file system does not keep them. Put the workspace on one that does"
        )


def forbid_world_writing() -> int:
    """Keep what this process and its children make from being writable by everybody; return the umask before."""
    old = os.umask(0o077)  # there is no way to read it but to set it
    os.umask(old | stat.S_IWOTH)
    return old


@contextlib.contextmanager
def not_world_writable() -> Iterator[None]:
    """Keep what is made in the block, by child processes too, from being writable by everybody, whatever the umask."""
    old = forbid_world_writing()
    try:
        yield
    finally:
        os.umask(old)
