"""Files that are either whole or absent: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import uuid
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import WorkspaceError
from hpc_recon.core.text import format_bytes

#: Errors of a disk that is full, or of a quota that is used up.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What numpy says when an array did not fit on the disk: an error without a number.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
#: What `sampled_sha256` reads of a large file.
_PIECES = 64
_PIECE_BYTES = 65536
#: How a study is computed into another folder.
_ELSEWHERE = "--set workspace=..."


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename or a new file in it survives a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush one file's contents to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends: a reader sees the old file, the new one, or none.

    Creates the folder. The temporary file is removed if anything fails (a full disk leaves no litter).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, payload: bytes) -> Path:
    """Write `payload` to `path`, as `replacing` does."""
    with replacing(path) as stream:
        stream.write(payload)
    return path


def write_json(path: Path, content: object) -> Path:
    """Write JSON atomically, indented, keys in the given order."""
    return write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def write_npy(path: Path, array: Array) -> Path:
    """Write a `.npy` file, as `replacing` does, without holding a second copy in memory."""
    with replacing(path) as stream:
        np.save(stream, array, allow_pickle=False)
    return path


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ValueError
        If the content is not JSON (empty or garbled); the message names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error})") from error


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a pattern, sorted, without hidden ones: macOS keeps a `._name` for each on other disks."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def checksum(path: Path) -> int:
    """Return the crc32 of a file's bytes, read in pieces of 4 MiB."""
    value = 0
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 22):
            value = zlib.crc32(piece, value)
    return value


def sha256(path: Path) -> str:
    """Return the sha256 of a file; computed again only when its size or time of change differ."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sampled_sha256(path: Path) -> str:
    """Return `<length>:<sha256>` of a file, where a file above 4 MiB is sampled: 64 pieces of 64 KiB, evenly spaced.

    The first and the last piece are always among them, so the header and, of a `.gz`, the checksum of all its content.
    """
    status = path.stat()
    if status.st_size <= _PIECES * _PIECE_BYTES:
        return f"{status.st_size}:{sha256(path)}"
    return f"{status.st_size}:{_sampled(path, status.st_size, status.st_mtime_ns)}"


@lru_cache(maxsize=100_000)
def _sampled(path: Path, size: int, _changed: int) -> str:
    value = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in range(_PIECES):
            stream.seek(piece * (size - _PIECE_BYTES) // (_PIECES - 1))
            value.update(stream.read(_PIECE_BYTES))
    return value.hexdigest()


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk is full or that a quota is used up."""
    if not isinstance(error, OSError):
        return False
    return error.errno in _FULL or (error.errno is None and _SHORT_WRITE.fullmatch(str(error)) is not None)


def is_storage_failure(error: BaseException) -> bool:
    """Return whether an error says that the disk takes no more: full, over a quota, or read-only."""
    return is_full(error) or (isinstance(error, OSError) and error.errno == errno.EROFS)


def describe_room(folder: Path) -> str:
    """Return what is free where `folder` lies, or will lie: `1.2 GiB and 310,000 files are free`.

    A quota is not seen: it may be used up although the disk has room.
    """
    found = os.statvfs(_existing(folder))
    free = f"{format_bytes(found.f_bavail * found.f_frsize)}"
    # Some file systems do not count files and say that they have none at all.
    return f"{free} and {found.f_favail:,} files are free" if found.f_files else f"{free} are free"


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free where `folder` lies, for a user without privileges."""
    found = os.statvfs(_existing(folder))
    return found.f_bavail * found.f_frsize


def require_possible(folder: Path) -> None:
    """Raise `WorkspaceError` if a file has the name of the workspace or of a folder above it."""
    place = _existing(folder)
    if not place.is_dir():
        raise WorkspaceError(f"the workspace {folder} is no folder: {place} is a file; give another by {_ELSEWHERE}")


def require_writable(folder: Path) -> None:
    """Raise unless files can be made in `folder`, or it can be made itself.

    Raises
    ------
    WorkspaceError
        If it, or the closest folder above that exists, is read-only or belongs to somebody else.
    """
    require_possible(folder)
    place = _existing(folder)
    if os.access(place, os.W_OK | os.X_OK):
        return
    is_mounted_so = bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    why = "it is mounted read-only" if is_mounted_so else "its permissions do not allow it"
    raise WorkspaceError(
        f"the workspace {folder} cannot be written: {place} is not writable by this process ({why}). "
        f"Nothing was changed. Make it writable, or compute into another folder with {_ELSEWHERE}"
    )


def _existing(folder: Path) -> Path:
    """Return the closest of a folder and those above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
