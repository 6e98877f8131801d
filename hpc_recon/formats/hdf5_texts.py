"""Texts of variable length in HDF5 files, read from the bytes: libhdf5 loops for ever at some damaged heaps.

Each text is stored as a reference (length, address of a collection, number in it) to an object of the global heap. The
references are read here without libhdf5, collections are walked object by object, and nothing is read that lies
outside the file or a second time. Source: HDF5 file format specification, version 3, section III.E (global heap).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hpc_recon.core.errors import DataError

_SIGNATURE = b"GCOL\x01"
#: A text longer than this is none: no name, label or header of the formats read here comes near it.
LONGEST_TEXT = 1 << 26
#: Attributes lie in an object's header, which takes no more.
_LARGEST_ATTRIBUTE = 1 << 16
_DEFLATE, _SHUFFLE = 1, 2


@dataclass
class _Collection:
    """One collection of the heap; `objects` says where those that were met begin, and how long they are."""

    content: bytes
    unmet: Iterator[tuple[int, int, int]]
    objects: dict[int, tuple[int, int]] = field(default_factory=dict)

    def find(self, wanted: int) -> tuple[int, int]:
        """Return start and length of an object; (0, -1) if it does not exist."""
        while wanted not in self.objects:
            number, start, n_bytes = next(self.unmet, (wanted, 0, -1))
            self.objects[number] = (start, n_bytes)
        return self.objects[wanted]


@dataclass
class _Heap:
    """The global heap of one file; `left` is how many bytes of collections may still be walked."""

    stream: BinaryIO
    where: str
    base: int
    n_bytes: int
    width: int
    left: int
    collections: dict[int, _Collection] = field(default_factory=dict)

    def text(self, n_bytes: int, address: int, number: int) -> bytes:
        """Return one text, to its first NUL, as HDF5 gives it to programs in C."""
        if n_bytes == 0 or address == 0:
            return b""
        if address not in self.collections:
            content = self._collection(address)
            self.collections[address] = _Collection(content, self._objects(content, address))
        found = self.collections[address]
        start, size = found.find(number)
        if n_bytes > size:
            raise self._damaged(f"a text of {n_bytes} bytes is object {number}, which has {max(size, 0)}", address)
        return found.content[start : start + n_bytes].split(b"\0", 1)[0]

    def _collection(self, address: int) -> bytes:
        start = self._bytes(address, 8 + self.width)
        if not start.startswith(_SIGNATURE):
            raise self._damaged("there is no collection of texts", address)
        size = int.from_bytes(start[8:], "little")
        self.left -= size  # so those that overlap one another are found out as well
        if size < len(start) or self.left < 0:
            raise self._damaged(f"a collection of texts says that it has {size} bytes", address)
        return self._bytes(address, size)

    def _objects(self, content: bytes, address: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and length of the objects of a collection."""
        head, size = 8 + self.width, len(content)
        at = head + -head % 8
        while at + head <= size:
            number = int.from_bytes(content[at : at + 2], "little")
            n_bytes = int.from_bytes(content[at + 8 : at + head], "little")
            if number == 0:  # free space, with its own header; of a length of 0, libhdf5 never comes to the end
                if n_bytes < head:
                    return
                at += n_bytes
                continue
            if at + head + n_bytes > size:
                raise self._damaged(f"object {number} says that it has {n_bytes} bytes", address)
            yield number, at + head, n_bytes
            at += head + n_bytes + -n_bytes % 8

    def _bytes(self, address: int, size: int) -> bytes:
        if address + self.base + size > self.n_bytes:
            raise self._damaged(f"{size} bytes are announced beyond the end of the file, {self.n_bytes}", address)
        self.stream.seek(address + self.base)
        return self.stream.read(size)

    def _damaged(self, what: str, address: int) -> DataError:
        return DataError(f"{self.where} is damaged: {what} (byte {address + self.base}); copy or download it again")


def read_variable(dataset: h5py.Dataset, where: str) -> list[bytes]:
    """Return the texts of variable length of a dataset, in C order.

    Parameters
    ----------
    dataset
        Checked by `hdf5.require_contained`; its type is text of variable length.
    where
        The dataset and its file, for messages.

    Returns
    -------
    list of bytes
        `b""` where nothing was written.

    Raises
    ------
    DataError
        If a reference, a collection or an object leads out of the file or out of one another, the texts together are
        longer than the file, or the layout is one that cannot be read without libhdf5.

    Notes
    -----
    Cost: one pass over the references and over the collections that they name, each once.
    """
    properties = dataset.file.id.get_create_plist()
    width = int(properties.get_sizes()[0])  # of addresses and of lengths, in bytes
    with open(dataset.file.filename, "rb") as stream:
        n_bytes = os.fstat(stream.fileno()).st_size
        raw = _references(dataset, stream, where, 8 + width)
        heap = _Heap(stream, where, int(properties.get_userblock()), n_bytes, width, n_bytes)
        found, total = [], 0
        for at in range(0, len(raw), 8 + width):
            part = raw[at : at + 8 + width]
            length, number = struct.unpack("<I", part[:4])[0], struct.unpack("<I", part[-4:])[0]
            if length > LONGEST_TEXT:
                raise DataError(f"{where} has a text of {length} bytes, which is none; is it damaged?")
            found.append(heap.text(length, int.from_bytes(part[4:-4], "little"), number))
            total += len(found[-1])
            if total > n_bytes:
                raise DataError(f"{where} has texts of more than {n_bytes} bytes, the size of the file")
    return found


def attribute(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute that is a number, an array of numbers or a text of fixed length; None if there is none.

    Raises
    ------
    DataError
        If it is something else: text of variable length would be read from the heap by libhdf5.
    """
    where = f"the attribute {name} of {item.name} in {item.file.filename}"
    if not h5py.h5a.exists(item.id, name.encode()):
        return None
    found = h5py.h5a.open(item.id, name.encode())
    kind = found.get_type()
    plain = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or (
        kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    )
    count = int(np.prod([int(n) for n in found.shape], dtype=object))
    if not plain or count * int(kind.get_size()) > _LARGEST_ATTRIBUTE:
        raise DataError(
            f"{where} is neither numbers nor text of fixed length; write it as MATLAB does (in Python, np.bytes_(...))"
        )
    return item.attrs[name]


def _references(dataset: h5py.Dataset, stream: BinaryIO, where: str, width: int) -> bytes:
    """Return the stored references, `width` bytes each, in C order; zeros where none is stored."""
    properties = dataset.id.get_create_plist()
    layout, count = properties.get_layout(), int(dataset.size)
    if layout == h5py.h5d.CONTIGUOUS:
        start = dataset.id.get_offset()
        if start is None or dataset.id.get_storage_size() == 0:
            return bytes(count * width)
        # a damaged address may be beyond what a seek takes
        stream.seek(min(int(start), os.fstat(stream.fileno()).st_size))
        raw = stream.read(count * width)
    elif layout == h5py.h5d.CHUNKED:
        raw = _chunked(dataset, properties, where, width)
    else:
        raise DataError(
            f"{where} holds text of variable length in an object's header; save it with `h5repack -l CONTI`"
        )
    if len(raw) != count * width:
        raise DataError(f"{where} is damaged: {count} texts need {count * width} bytes, but {len(raw)} are stored")
    return raw


def _chunked(dataset: h5py.Dataset, properties: Any, where: str, width: int) -> bytes:
    whole = np.zeros(dataset.shape, dtype=f"V{width}")
    chunk, size = dataset.chunks, Path(dataset.file.filename).stat().st_size
    n_bytes = int(np.prod([int(n) for n in chunk], dtype=object)) * width
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    for i in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(i)
        if info.size > size:
            raise DataError(f"{where} is damaged: a chunk has {info.size} bytes, the file {size}; copy it again")
        skipped, raw = dataset.id.read_direct_chunk(info.chunk_offset)
        for number in reversed(range(len(filters))):
            if not skipped >> number & 1:
                raw = _unfiltered(raw, filters[number], n_bytes, where)
        if len(raw) != n_bytes:
            raise DataError(f"{where} is damaged: a chunk has {len(raw)} bytes, not {n_bytes}; copy it again")
        place = tuple(slice(low, low + n) for low, n in zip(info.chunk_offset, chunk, strict=True))
        target = whole[place]
        part = np.frombuffer(raw, dtype=whole.dtype).reshape(chunk)
        target[...] = part[tuple(slice(0, n) for n in target.shape)]
    return whole.tobytes()


def _unfiltered(raw: bytes, described: Any, n_bytes: int, where: str) -> bytes:
    code, values = described[0], described[2]
    if code == _DEFLATE:
        try:
            return zlib.decompressobj().decompress(raw, n_bytes + 1)
        except zlib.error as error:
            raise DataError(f"{where} is damaged: a chunk does not unpack ({error}); copy it again") from error
    if code == _SHUFFLE and values and values[0] > 0 and len(raw) % values[0] == 0:
        return np.frombuffer(raw, np.uint8).reshape(values[0], -1).T.tobytes()
    raise DataError(f"{where} is text compressed by the filter {code}; save it with `h5repack -f GZIP=4`")
