"""numpy's `.npy` and `.npz`: nothing is allocated that the file does not hold, and nothing is unpickled.

Source: numpy's format specification (numpy.lib.format), versions 1 and 2: a magic, the length of a header, the header
as a Python literal, the values. `.npz` is a zip of such files.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import format_bytes

#: Deflate cannot make data more than 1032 times smaller.
_LARGEST_COMPRESSION = 1032
_READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: Path) -> Array:
    """Read a `.npy` file.

    Raises
    ------
    DataError
        If it holds Python objects, or its header announces another number of bytes than follow.
    """
    with open(path, "rb") as stream:
        _require_honest(stream, path.stat().st_size, f"{path}")
        stream.seek(0)
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def open_npz(path: Path) -> zipfile.ZipFile:
    """Open a `.npz` for `npz_keys` and `read_npz`, in a `with`; entries are never unpacked to disk."""
    return zipfile.ZipFile(path)


def npz_keys(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the arrays of a `.npz`, in its order."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_npz(archive: zipfile.ZipFile, key: str, where: Path) -> Array:
    """Read one array of a `.npz` that is open.

    Raises
    ------
    DataError
        As `read_npy`; if the entry is there twice, is compressed by something else than deflate, or announces more than
        deflate can hold.
    """
    name = f"{key} in {where}"
    entries = [entry for entry in archive.infolist() if entry.filename == f"{key}.npy"]
    if len(entries) != 1:
        raise DataError(f"{where} has {key!r} {len(entries)} times, and must have it once; save it again")
    entry = entries[0]
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{name} is compressed by method {entry.compress_type}; save it with numpy.savez_compressed")
    times = 1 if entry.compress_type == zipfile.ZIP_STORED else _LARGEST_COMPRESSION
    if entry.file_size > times * min(entry.compress_size, where.stat().st_size):
        raise DataError(
            f"{name} says that it has {format_bytes(entry.file_size)}, but {format_bytes(entry.compress_size)} are "
            "stored for it; copy or download it again"
        )
    with archive.open(entry) as stream:
        _require_honest(stream, entry.file_size, name)
    with archive.open(entry) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _require_honest(stream: Any, n_bytes: int, where: str) -> None:
    """Raise unless the header of an array announces the bytes that follow it, and no objects."""
    version = np.lib.format.read_magic(stream)
    if version not in _READERS:
        raise DataError(f"{where} is an array of format version {version}; save it as a plain array (versions 1 and 2)")
    shape, _, dtype = _READERS[version](stream)
    _require_plain(shape, dtype, where)
    announced, left = math.prod(shape) * dtype.itemsize, n_bytes - stream.tell()
    if announced != left:
        raise DataError(
            f"{where} announces {shape} of {dtype}, {announced} bytes, but {left} follow its header; it is truncated "
            "or damaged: copy or download it again"
        )


def _require_plain(shape: Sequence[int], dtype: np.dtype[Any], where: str) -> None:
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which are never loaded (pickle); save plain arrays")
    if any(not isinstance(n, int) or n < 0 for n in shape):
        raise DataError(f"{where} has shape {tuple(shape)}; is it damaged?")
