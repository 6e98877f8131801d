"""What the header of a NIfTI file announces, compared with what the file holds, before nibabel reads as much.

Source: the NIfTI-1 and NIfTI-2 headers (nifti.nimh.nih.gov): size of the header, magic, `vox_offset`, extensions (a
flag of 4 bytes, then each with its size and code, to `vox_offset`).
"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import DataError
from hpc_recon.core.text import format_bytes

#: The deflate format cannot expand a byte to more; a gzip file that claims to is a lie.
MAX_GZIP_RATIO = 1032
#: Scans and maps pack to a tenth or so. Of a file that announces more, and more than this, bytes are counted first.
_USUAL_GZIP_RATIO, _FREE_BYTES = 20, 1 << 26
#: Headers with their extensions: those of CIFTI have some MB.
_LARGEST_HEADER = 1 << 28
_SMALLEST_EXTENSION = 16


@dataclass(frozen=True)
class _Kind:
    """Bytes of the header, its magic and where it stands, and where and how `vox_offset` is stored."""

    size: int
    magic: bytes
    magic_at: int
    offset_at: int
    offset_format: str


_KINDS = (_Kind(348, b"n+1\0", 344, 108, "f"), _Kind(540, b"n+2\0", 4, 168, "q"))


def require_bounded_header(stream: Any, n_bytes: int, path: Path) -> tuple[int, int]:
    """Return the bytes of the header, 348 or 540, and where the values begin; extensions end before that.

    Parameters
    ----------
    stream
        At the start of the file, unpacked if it is packed; left at the start.
    n_bytes
        How many bytes the header with its extensions may have: those of the file.

    Raises
    ------
    DataError
        If it is no single NIfTI file, the values begin beyond `n_bytes`, or an extension is larger than its place.
    """
    start = stream.read(_KINDS[-1].size)
    found = [(kind, o) for kind in _KINDS for o in "<>" if start[:4] == struct.pack(f"{o}i", kind.size)]
    if not found or len(start) < found[0][0].size:
        raise DataError(f"{path}: not a readable NIfTI file: it starts with {start[:8]!r}. Fetch it again.")
    kind, order = found[0]
    magic = start[kind.magic_at : kind.magic_at + 4]
    if magic != kind.magic:
        raise DataError(
            f"{path}: not a readable NIfTI file: its magic is {magic!r}, and must be {kind.magic!r}. Is it one of a "
            "pair (.hdr, .img), or damaged? Convert it to one file, or fetch it again."
        )
    offset = struct.unpack(order + kind.offset_format, start[kind.offset_at :][: struct.calcsize(kind.offset_format)])[
        0
    ]
    largest = min(n_bytes, _LARGEST_HEADER)
    if not 0 <= offset <= largest:
        raise DataError(
            f"{path}: the header announces values from byte {offset:g}, but header and extensions have "
            f"{format_bytes(largest)} at most. It is truncated or damaged; fetch it again."
        )
    stream.seek(kind.size)
    at = kind.size + 4
    has_extensions = stream.read(4)[:1] not in (b"", b"\0")
    if has_extensions and offset < at:
        raise DataError(
            f"{path}: the header announces extensions, and values from byte {offset:g}, in front of them. It is "
            "damaged; fetch it again."
        )
    while has_extensions and offset - at >= _SMALLEST_EXTENSION:
        stream.seek(at)
        size = struct.unpack(f"{order}i", stream.read(4).ljust(4, b"\0"))[0]
        if not _SMALLEST_EXTENSION <= size <= offset - at:
            raise DataError(
                f"{path}: the header has an extension of {size} bytes where {offset - at:g} are left. It is damaged; "
                "fetch it again."
            )
        at += size
    stream.seek(0)
    return kind.size, int(offset)


def require_held(proxy: Any, path: Path, *, is_packed: bool = False) -> None:
    """Raise if a file holds fewer bytes than nibabel's array proxy announces.

    Of a packed file that announces no more than 64 MiB, or than twenty times its bytes, what is missing shows when it
    is read; of others the bytes are counted, without being kept.
    """
    needed = int(proxy.offset) + _product(proxy.shape) * int(proxy.dtype.itemsize)
    held = path.stat().st_size
    if is_packed and needed > held * MAX_GZIP_RATIO:
        pass
    elif is_packed and needed <= max(_FREE_BYTES, held * _USUAL_GZIP_RATIO):
        return
    elif is_packed:
        held = _unpacked_bytes(path, needed)
    if needed > held:
        raise DataError(
            f"{path}: the header announces {proxy.shape} of {proxy.dtype}, {needed} bytes, but the file has"
            f" {held}. It is truncated or damaged; fetch it again."
        )


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= int(n)
    return count


def _unpacked_bytes(path: Path, enough: int) -> int:
    count = 0
    with gzip.open(path) as stream:
        while count < enough and (piece := stream.read(min(1 << 20, enough - count))):
            count += len(piece)
    return count
