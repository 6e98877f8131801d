"""Places that hold whole files by name: a folder, an object store (`core.objects`), or one of each.

Names are relative to the workspace, with `/`. `core.storage` says which place a workspace has.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hpc_recon.core.files import checksum, sync_file, sync_folder, write_atomic

RECEIPTS = "receipts"


class Storage(ABC):
    """Files that are read and replaced whole, by name."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Return the path or URL of a file, for messages."""

    @abstractmethod
    def read_bytes(self, name: str) -> bytes:
        """Read a whole file; `FileNotFoundError` if there is none."""

    @abstractmethod
    def write_atomic(self, name: str, payload: bytes) -> None:
        """Replace a file: a reader sees the old one or the new one; durable when this returns."""

    @abstractmethod
    def create(self, name: str, payload: bytes) -> bool:
        """Write a file unless there is one; return whether it was written. Of two that try at once, one succeeds."""

    @abstractmethod
    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the length in bytes of those of the files that exist."""

    @abstractmethod
    def measure(self, name: str) -> tuple[int, int]:
        """Return length and crc32 of a file as it is stored now; `FileNotFoundError` if there is none."""

    @abstractmethod
    def delete(self, names: Iterable[str], *, flush: bool = True) -> None:
        """Remove files; those that do not exist are left out. `flush`: they stay removed after a crash."""

    @abstractmethod
    def flush(self, names: Sequence[str], root: str) -> None:
        """Make files durable that zarr wrote, and their folders up to `root`."""

    @abstractmethod
    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the folders right below a folder, sorted; empty if it does not exist."""

    @abstractmethod
    def walk(self, prefix: str) -> Iterator[str]:
        """Yield every file below a folder by its full name, in no particular order; no file is looked at."""

    @abstractmethod
    def versions(self, prefix: str) -> frozenset[tuple[Any, ...]]:
        """Return what changes when a file below a folder is added, removed or replaced."""

    def holder(self, name: str) -> Storage:
        """Return the folder or object store that holds a file."""
        del name
        return self

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return name in self.sizes([name])

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Read those of the files that exist."""
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[name] = self.read_bytes(name)
        return found

    @contextlib.contextmanager
    def reaching(self) -> Iterator[None]:
        """Within the block, errors of the storage itself become `StoreUnreachable`."""
        yield


class Folder(Storage):
    """A folder: temporary file, fsync, rename, fsync of the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str) -> str:
        """Return the path."""
        return str(self.root / name)

    def read_bytes(self, name: str) -> bytes:
        """Read a file."""
        return (self.root / name).read_bytes()

    def write_atomic(self, name: str, payload: bytes) -> None:
        """Write a file."""
        write_atomic(self.root / name, payload)

    def create(self, name: str, payload: bytes) -> bool:
        """Write a file exclusively."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "xb") as stream:
                stream.write(payload)
                stream.flush()
                os.fsync(stream.fileno())
        except FileExistsError:
            return False
        sync_folder(path.parent)
        return True

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Ask for the status of each file."""
        found = {}
        root = str(self.root)
        for name in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found[name] = os.stat(f"{root}/{name}").st_size  # noqa: PTH116 - before every read; Path is slower
        return found

    def measure(self, name: str) -> tuple[int, int]:
        """Read a file in pieces."""
        path = self.root / name
        return path.stat().st_size, checksum(path)

    def delete(self, names: Iterable[str], *, flush: bool = True) -> None:
        """Unlink files."""
        folders = set()
        for name in names:
            path = self.root / name
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                folders.add(path.parent)
        for folder in sorted(folders) if flush else ():
            sync_folder(folder)

    def flush(self, names: Sequence[str], root: str) -> None:
        """Flush files, then each folder up to `root`."""
        top = self.root / root
        folders: set[Path] = set()
        for name in names:
            path = self.root / name
            sync_file(path)
            folders.update(parent for parent in path.parents if parent.is_relative_to(top))
        for folder in sorted(folders, reverse=True):
            sync_folder(folder)

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """List a folder."""
        files: list[str] = []
        folders: list[str] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / folder) as entries:
            for entry in entries:
                (folders if entry.is_dir() else files).append(entry.name)
        return sorted(files), sorted(folders)

    def walk(self, prefix: str) -> Iterator[str]:
        """List a folder and those below it, each once; names that start with a dot are unfinished and left out."""
        top = f"{self.root}/"
        for parent, _, names in os.walk(f"{top}{prefix}"):
            relative = parent[len(top) :]
            yield from (f"{relative}/{name}" for name in names if not name.startswith("."))

    def versions(self, prefix: str) -> frozenset[tuple[Any, ...]]:
        """Return name, inode, size and time of each file: a rewritten one gets a new inode."""
        found = set()
        for parent, _, names in os.walk(self.root / prefix):
            for name in names:
                path = f"{parent}/{name}"
                try:
                    status = os.stat(path)  # noqa: PTH116 - called before every read; Path is slower
                except FileNotFoundError:  # removed since the listing: the tile is being computed again
                    continue
                found.add((path, status.st_ino, status.st_size, status.st_mtime_ns))
        return frozenset(found)


class Bound(Storage):
    """A workspace whose arrays and receipts lie elsewhere; each name goes to the one that holds it."""

    def __init__(self, folder: Folder, arrays: Storage) -> None:
        self.folder = folder
        self.arrays = arrays

    def holder(self, name: str) -> Storage:
        """Return the other place for `*.zarr/...` and `receipts/...`, else the folder."""
        top = name.partition("/")[0]
        return self.arrays if top.endswith(".zarr") or top == RECEIPTS else self.folder

    def where(self, name: str) -> str:
        """Return the path or URL."""
        return self.holder(name).where(name)

    def read_bytes(self, name: str) -> bytes:
        """Read a file."""
        return self.holder(name).read_bytes(name)

    def write_atomic(self, name: str, payload: bytes) -> None:
        """Write a file."""
        self.holder(name).write_atomic(name, payload)

    def create(self, name: str, payload: bytes) -> bool:
        """Write a file unless there is one."""
        return self.holder(name).create(name, payload)

    def _split(self, names: Iterable[str]) -> list[tuple[Storage, list[str]]]:
        here: list[str] = []
        there: list[str] = []
        for name in names:
            (there if self.holder(name) is self.arrays else here).append(name)
        return [(part, members) for part, members in ((self.folder, here), (self.arrays, there)) if members]

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Ask both."""
        return {name: size for part, members in self._split(names) for name, size in part.sizes(members).items()}

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Read from both."""
        return {name: text for part, members in self._split(names) for name, text in part.read_many(members).items()}

    def measure(self, name: str) -> tuple[int, int]:
        """Read a file."""
        return self.holder(name).measure(name)

    def delete(self, names: Iterable[str], *, flush: bool = True) -> None:
        """Remove from both."""
        for part, members in self._split(names):
            part.delete(members, flush=flush)

    def flush(self, names: Sequence[str], root: str) -> None:
        """Flush what one place holds."""
        self.holder(root).flush(names, root)

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """List a folder of one place."""
        return self.holder(folder).listing(folder)

    def walk(self, prefix: str) -> Iterator[str]:
        """List a folder of one place."""
        return self.holder(prefix).walk(prefix)

    def versions(self, prefix: str) -> frozenset[tuple[Any, ...]]:
        """List a folder of one place."""
        return self.holder(prefix).versions(prefix)
