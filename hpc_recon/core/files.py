"""Files that are either whole or absent: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from pathlib import Path
from typing import Any


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


def write_atomic(path: Path, payload: bytes) -> Path:
    """Write `payload` to `path` so that a reader sees the old file, the whole new one, or none.

    Creates the folder. The temporary file is removed if anything fails (a full disk leaves no litter).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(partial, "xb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def write_json(path: Path, content: object) -> Path:
    """Write JSON atomically, indented, keys in the given order."""
    return write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


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


def checksum(path: Path) -> int:
    """Return the crc32 of a file's bytes, read in pieces of 4 MiB."""
    value = 0
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 22):
            value = zlib.crc32(piece, value)
    return value
