"""What an XML file of surfaces announces, compared with what it holds, before nibabel unpacks it.

A few bytes of base64 may unpack to gigabytes, a number of axes may be counted to for hours, and entities may name one
another without end. Sources: GIFTI 1.0 (nitrc.org/projects/gifti; DataArray, Data), CIFTI-2 (nitrc.org/projects/cifti).
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from nibabel.nifti1 import data_type_codes

from hpc_recon.core.errors import DataError

#: Axes of a GIFTI array; nibabel counts to the number that the file says.
_MOST_AXES = 6
_PIECE = 1 << 20


def require_no_entities(content: bytes, path: Path) -> None:
    """Raise if entities are declared, in UTF-8 or UTF-16."""
    if any("<!ENTITY".encode(encoding) in content for encoding in ("utf-8", "utf-16-le", "utf-16-be")):
        raise DataError(f"{path}: declares XML entities, which no such file needs. It is not read.")


def require_bounded_gifti(content: bytes, path: Path) -> None:
    """Raise unless each array of a GIFTI file unpacks to the bytes that its dimensions say.

    Raises
    ------
    DataError
        If an array is larger or smaller than it says, lies in another file or has absurd dimensions, or if entities are
        declared.
    ExpatError, ValueError, LookupError
        If it is no XML, or an attribute is no number.

    Notes
    -----
    Memory: the text of one array. Time: that of unpacking, once.
    """
    require_no_entities(content, path)
    scan = _Scan(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = scan.start
    parser.EndElementHandler = scan.end
    parser.CharacterDataHandler = scan.text
    parser.Parse(content, True)
    if scan.expected not in (None, scan.n_arrays):
        raise DataError(
            f"{path}: says that it has {scan.expected} arrays (NumberOfDataArrays), but has {scan.n_arrays}. Are "
            "volumes missing? Fetch it again."
        )


class _Scan:
    """What the elements met so far say: `announced` bytes of the array that is open, and how they are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.announced: int | None = None
        self.expected: int | None = None
        self.n_arrays = 0
        self.encoding = ""
        self.pieces: list[str] | None = None

    def start(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Take what an element announces."""
        if name == "GIFTI" and "NumberOfDataArrays" in attributes:
            self.expected = int(attributes["NumberOfDataArrays"])
        elif name == "DataArray":
            self.n_arrays += 1
            n_axes = int(attributes.get("Dimensionality", 0))
            if not 0 <= n_axes <= _MOST_AXES:
                raise DataError(f"{self.path}: an array has {n_axes} axes; is it damaged? Fetch it again.")
            shape = [int(attributes[f"Dim{i}"]) for i in range(n_axes)]
            if any(n < 0 for n in shape):
                raise DataError(f"{self.path}: an array has shape {shape}; is it damaged? Fetch it again.")
            dtype: Any = data_type_codes.dtype[attributes["DataType"]]
            self.announced = math.prod(shape) * int(dtype.itemsize)
            self.encoding = attributes["Encoding"]
            if self.encoding == "ExternalFileBinary":
                raise DataError(f"{self.path}: ExternalFileBinary is not supported: an array lies in another file.")
        elif name == "Data":
            self.pieces = []

    def text(self, text: str) -> None:
        """Keep a piece of the data of an array."""
        if self.pieces is not None:
            self.pieces.append(text)

    def end(self, name: str) -> None:
        """Compare the data of an array with what it announced."""
        if name != "Data" or self.pieces is None:
            return
        text, self.pieces = "".join(self.pieces), None
        if self.announced is None:
            raise DataError(f"{self.path}: has data outside an array; is it damaged? Fetch it again.")
        if "Base64" in self.encoding:
            packed = base64.b64decode(text.encode("ascii"))
            held = len(packed) if "GZip" not in self.encoding else _unpacked_bytes(packed, self.announced + 1)
            if held != self.announced:
                more = "more than " if held > self.announced else ""
                raise DataError(
                    f"{self.path}: an array says that it has {self.announced} bytes, but holds "
                    f"{more}{min(held, self.announced)}. It is damaged; fetch it again."
                )


def _unpacked_bytes(packed: bytes, enough: int) -> int:
    """Return how many bytes a zlib stream unpacks to, or `enough`; nothing is kept."""
    unpacking = zlib.decompressobj()
    count = 0
    while count < enough and not unpacking.eof:
        piece = unpacking.decompress(packed, min(_PIECE, enough - count))
        if not piece and not unpacking.unconsumed_tail:
            break
        count += len(piece)
        packed = unpacking.unconsumed_tail
    return count


def require_counted(header: Any, shape: tuple[int, ...], path: Path) -> None:
    """Raise if a CIFTI header describes more vertices and voxels than the file has columns (or rows).

    Parameters
    ----------
    header
        nibabel's, whose axes are not built yet: they would be allocated.
    """
    for axis, n in enumerate(shape):
        counts = [int(model.index_count) for model in header.matrix.get_index_map(axis).brain_models]
        if min(counts, default=0) < 0 or sum(counts) > n:
            raise DataError(
                f"{path}: the header describes {sum(counts)} grayordinates, but the file has {n}. Fetch it again."
            )
