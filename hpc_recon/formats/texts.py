"""Text files of others: UTF-8, of a bounded size, without NUL."""

from __future__ import annotations

from pathlib import Path

from hpc_recon.core.errors import DataError
from hpc_recon.core.text import format_bytes


def read_text(path: Path, *, limit: int, what: str) -> str:
    r"""Return the content of a text file; a byte order mark is dropped, line ends become `\n`.

    Parameters
    ----------
    path
        The file.
    limit
        Bytes that it may have; checked before it is read.
    what
        What it should be, for messages: `table of one run`.

    Raises
    ------
    DataError
        If it does not exist, is larger, not UTF-8, or holds NUL bytes.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is not a file; correct the path")
    size = path.stat().st_size
    if size > limit:
        raise DataError(
            f"{path}: {size} bytes are too many for a {what} ({format_bytes(limit)} at most). Is it another file?"
        )
    raw = path.read_bytes()
    if b"\0" in raw:
        raise DataError(
            f"{path}: NUL at byte {raw.index(0)}, so it is no UTF-8 text. Is it UTF-16, or damaged? Save the {what} as "
            "UTF-8."
        )
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}). Save the {what} as UTF-8."
        ) from error
