"""Which of a lab's files were read, and whether they are still the same: by size and time, then by content.

A file is known by the size and time of change that it had when it was first read, its *token*, and by its sha256. One
that was only copied or touched since keeps its token, after it was read once more. So plans look at directories, not
at contents, and yet notice a file that holds something else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import read_json, write_json
from hpc_recon.core.tiles import FORMAT_VERSION

#: Folder of the workspace that holds the records.
SOURCES = "sources"
#: Files whose status is asked for, or that are read, at once: enough to hide the waiting for a network disk.
AT_ONCE = 16


def identity(folder: Path, files: Mapping[str, Path], *, redo: str) -> str:
    """Return 16 hexadecimal digits that stay the same while files hold what was read.

    Parameters
    ----------
    folder
        Of the records that `record` wrote.
    files
        By label.
    redo
        The command that makes the records anew, for errors.

    Raises
    ------
    DamagedStore
        If a record is garbled.
    """
    known = _recorded(folder, redo)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tokens = pool.map(lambda item: _token(item[1], known.get(item[0])), files.items())
        text = "\n".join(f"{label}\x1f{token}" for label, token in zip(files, tokens, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record(folder: Path, files: Mapping[str, Path], labels: Sequence[str], *, name: str, redo: str) -> Path:
    """Write `<folder>/<name>.json`: token and sha256 of the files of some labels; errors as `identity`."""
    known = _recorded(folder, redo)

    def entry(label: str) -> list[str]:
        return [_token(files[label], known.get(label)), _sha256(files[label])]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        entries = dict(zip(labels, pool.map(entry, labels), strict=True))
    return write_json(folder / f"{name}.json", {"format": FORMAT_VERSION, "files": entries})


def _recorded(folder: Path, redo: str) -> dict[str, tuple[str, str]]:
    """Return token and sha256 of each label that was read before."""
    known: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content: Mapping[str, Any] = read_json(path)
            known |= {str(label): (str(token), str(digest)) for label, (token, digest) in content["files"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedStore(
                f"{path}, which says what files were read, is damaged ({error}); remove it and run {redo}"
            ) from error
    return known


def _token(path: Path, known: tuple[str, str] | None) -> str:
    """Return a file's size and time, or those recorded before if its content is still the same."""
    status = path.stat()
    token = f"{status.st_size}:{status.st_mtime_ns}"
    if known is None or known[0] == token:
        return token
    return known[0] if _sha256(path) == known[1] else token


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
