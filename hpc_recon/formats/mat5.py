"""MAT-file level 5 (MATLAB v5 to v7): a bounded reader of its own, because scipy's can crash at damaged bytes.

Nothing is allocated that the file does not hold, or unpack to. Source: MathWorks, "MAT-File Format", chapter 1 (level
5): data elements, compressed elements, and the subelements of numeric, character, cell and structure arrays.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import closest, format_bytes

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
#: Data types of elements that hold numbers or characters.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
#: Array classes of numbers.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CELL, _STRUCT, _CHAR, _SPARSE, _OPAQUE = 1, 2, 4, 5, 17
_REFUSED = {3: "an object", 16: "a function"}
#: A sparse matrix becomes dense if it takes no more than this, or than as many times its bytes.
_DENSE_BYTES, _DENSE_TIMES = 1 << 26, 1024
#: Enough of a compressed variable to read its name.
_START = 1024
_DEEPEST = 8


class _Damaged(Exception):
    """A rule of the format is broken; becomes a DataError that names the file."""


class Cells(list[Any]):
    """The values of a cell array in MATLAB's linear order, and its shape."""

    def __init__(self, values: Iterable[Any], shape: tuple[int, ...]) -> None:
        super().__init__(values)
        self.shape = shape


class CharacterRows(tuple[str, ...]):
    """The rows of a character matrix, padded with blanks to one length."""


@dataclass
class _Reader:
    data: memoryview
    order: str
    at: int = 0

    def element(self) -> tuple[int, memoryview]:
        """Return the type and the bytes of the next element."""
        first, size = struct.unpack(f"{self.order}II", self._take(8))
        if first >> 16:  # small: type, size and up to 4 bytes in 8
            size, kind = first >> 16, first & 0xFFFF
            if size > 4:
                raise _Damaged(f"a small element says that it has {size} bytes, more than 4")
            return kind, self.data[self.at - 4 : self.at - 4 + size]
        found = self._take(size)
        self.at = min(self.at + -size % 8, len(self.data))
        return first, found

    def _take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise _Damaged(f"{size} bytes are announced, but {len(self.data) - self.at} are left; it is truncated")
        self.at += size
        return self.data[self.at - size : self.at]


def read(path: Path, key: str, fields: Sequence[str] = ()) -> Any:
    """Read one variable as `matlab.read_value` says, or what lies at `fields` inside its structures.

    Raises
    ------
    DataError
        If the variable is absent or there twice, the file is truncated or damaged, or the class is not supported.
    """
    found = []
    names_found = []
    with _translated(path):
        for name, matrix in _variables(path, key):
            names_found.append(name)
            if name == key:
                found.append(matrix)
        if len(found) == 1:
            return _value(found[0], key, path, 0, tuple(fields))
    has = ", ".join(sorted(set(names_found))[:30]) or "none"
    rule = f"has {key!r} {len(found)} times" if found else f"has no variable {key!r} (its variables: {has})"
    raise DataError(f"{path} {rule}; correct the file or the key")


def names(path: Path) -> list[str]:
    """Return the names of the variables, in the file's order; a variable without a name is not one of them."""
    with _translated(path):
        return [name for name, _ in _variables(path, "") if name]


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (_Damaged, zlib.error, struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as v5 .mat ({error}); copy it again, or save it anew") from error


def _variables(path: Path, key: str) -> Iterator[tuple[str, _Reader]]:
    """Yield each variable's name, and the reader of its content, which is whole for `key` alone."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        order = "<" if stream.read(_HEADER)[126:] == b"IM" else ">"
        at = _HEADER
        while at < size:
            stream.seek(at)
            tag = stream.read(8)
            if len(tag) < 8:
                raise _Damaged(f"{size - at} bytes follow the last variable; it is truncated")
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            if kind not in (_MATRIX, _COMPRESSED) or at + 8 + n_bytes > size:
                raise _Damaged(f"at byte {at} stands an element of type {kind} and {n_bytes} bytes, of {size} in all")
            start = _content(stream.read(min(n_bytes, _START)), kind, order, whole=False)
            name = _head(_Reader(start, order))[3] if len(start) else ""
            if name == key:
                stream.seek(at + 8)
                start = _content(stream.read(n_bytes), kind, order, whole=True)
            yield name, _Reader(start, order)
            at += 8 + n_bytes


def _content(raw: bytes, kind: int, order: str, *, whole: bool) -> memoryview:
    """Return what a matrix element holds, or its start; unpacked if it is compressed, no further than it announces."""
    if kind == _MATRIX:
        return memoryview(raw)
    unpacking = zlib.decompressobj()
    inner, n_bytes = struct.unpack(f"{order}II", unpacking.decompress(raw, 8))
    if inner != _MATRIX:
        raise _Damaged(f"a compressed element holds one of type {inner}, not a variable")
    if not whole:
        return memoryview(unpacking.decompress(unpacking.unconsumed_tail, min(_START, n_bytes) or 1))
    found = unpacking.decompress(unpacking.unconsumed_tail, n_bytes or 1)
    if len(found) != n_bytes:
        raise _Damaged(f"a variable says that it has {n_bytes} bytes, but unpacks to {len(found)}")
    rest = unpacking.decompress(unpacking.unconsumed_tail)  # to the end, where zlib compares the checksum
    if rest or not unpacking.eof:
        raise _Damaged("a compressed variable does not end where it says")
    return memoryview(found)


def _head(reader: _Reader) -> tuple[int, int, tuple[int, ...], str]:
    """Return class, flags, shape and name."""
    kind, flags = reader.element()
    if kind != 6 or len(flags) != 8:
        raise _Damaged("a variable has no array flags")
    word = struct.unpack(f"{reader.order}I", flags[:4])[0]
    if word & 0xFF == _OPAQUE:  # has no dimensions: its name, "MCOS" and the name of its class follow
        return _OPAQUE, 0, (), bytes(reader.element()[1]).decode("utf-8")
    kind, dimensions = reader.element()
    if kind not in (5, 6) or len(dimensions) % 4 or not 8 <= len(dimensions) <= 128:
        raise _Damaged("a variable has no dimensions")
    shape = tuple(int(n) for n in np.frombuffer(dimensions, f"{reader.order}i4"))
    if min(shape) < 0:
        raise _Damaged(f"a variable has shape {shape}")
    return word & 0xFF, word >> 8 & 0xFF, shape, bytes(reader.element()[1]).decode("utf-8")


def _value(reader: _Reader, name: str, path: Path, depth: int, fields: tuple[str, ...] = ()) -> Any:
    where = f"{name} in {path}"
    if depth > _DEEPEST:
        raise DataError(f"{where} lies more than {_DEEPEST} structures or cells deep; save it flat")
    if not len(reader.data):
        if fields:
            raise _no_structure(where, fields[0])
        return np.zeros((0, 0))
    kind, flags, shape, _ = _head(reader)
    if kind == _STRUCT and math.prod(shape) == 1:
        return _structure(reader, name, path, depth, fields)
    if kind == _OPAQUE:
        reader.element()
        raise object_refused(where, bytes(reader.element()[1]).decode("utf-8"))
    if fields:
        raise _no_structure(where, fields[0])
    if kind in _CLASSES:
        return _numbers(reader, kind, flags, shape, where)
    if kind == _CHAR:
        return _text(reader, shape, where)
    if kind == _SPARSE:
        return _sparse(reader, flags, shape, where)
    if kind == _CELL:
        count = _bounded(reader, math.prod(shape))
        return Cells((_inner(reader, f"a cell of {name}", path, depth) for _ in range(count)), shape)
    if kind == _STRUCT:
        raise DataError(f"{where} is a structure array {shape}; save a single structure")
    raise DataError(f"{where} is {_REFUSED.get(kind, f'of the unknown class {kind}')}; save it as an array of numbers")


def object_refused(where: str, name: str) -> DataError:
    """Return the error for an object of MATLAB's, such as a string array or a table, whose values lie elsewhere."""
    return DataError(
        f"{where} is a MATLAB object of class {name!r}, not an array of numbers; save numbers as such, and text as a "
        "cell array of character vectors: cellstr(x)"
    )


def _structure(reader: _Reader, name: str, path: Path, depth: int, fields: tuple[str, ...]) -> Any:
    """Return a structure as a dict, or one of its fields: then the others are passed over."""
    has = _fields(reader)
    if not fields:
        return {field: _inner(reader, f"{name}.{field}", path, depth) for field in has}
    wanted = f"{name}.{fields[0]}"
    if fields[0] not in has:
        shown = ", ".join(f"{name}.{field}" for field in has[:30])
        near = closest(fields[0], has) if has else ""
        guess = near if near.startswith("; did") else ""
        raise DataError(f"{path} has no key {wanted!r}{guess} (its keys: {shown}); correct `key`")
    for _ in range(has.index(fields[0])):
        reader.element()
    return _inner(reader, wanted, path, depth, fields[1:])


def _no_structure(where: str, field: str) -> DataError:
    return DataError(f"{where} is not a single structure, so it has no field {field!r}; correct `key`")


def _inner(reader: _Reader, name: str, path: Path, depth: int, fields: tuple[str, ...] = ()) -> Any:
    kind, data = reader.element()
    if kind != _MATRIX:
        raise _Damaged(f"{name} is an element of type {kind}, not an array")
    return _value(_Reader(data, reader.order), name, path, depth + 1, fields)


def _numbers(reader: _Reader, kind: int, flags: int, shape: tuple[int, ...], where: str) -> Array:
    if flags & 0x08:
        raise DataError(f"{where} holds complex numbers, not real ones; save the part that is meant")
    data = _stored(reader, where)
    if data.size != math.prod(shape):
        raise _Damaged(
            f"{where} declares shape {shape}, {math.prod(shape)} values, but has {data.nbytes} bytes of {data.dtype}"
        )
    values = data.reshape(shape, order="F")
    if flags & 0x02:
        return np.asarray(np.not_equal(values, 0, order="C"))
    with np.errstate(invalid="ignore"):  # a damaged class may turn NaN into integers
        return np.array(values, dtype=_CLASSES[kind], order="C")  # one copy, not two: it may be large


def _stored(reader: _Reader, where: str, *, n_bytes: int | None = None) -> Array:
    """Return the numbers of the next element, as they are stored; bytes, whatever it says, if it has `n_bytes`."""
    stored, data = reader.element()
    if len(data) == n_bytes:
        return np.frombuffer(data, np.uint8)
    if stored not in _NUMBERS:
        raise _Damaged(f"{where} holds numbers of the unknown type {stored}")
    dtype = np.dtype(_NUMBERS[stored]).newbyteorder(reader.order)  # type: ignore[arg-type]
    if len(data) % dtype.itemsize:
        raise _Damaged(f"{where} has {len(data)} bytes of {dtype}")
    return np.frombuffer(data, dtype)


def _sparse(reader: _Reader, flags: int, shape: tuple[int, ...], where: str) -> Array:
    """Return a sparse matrix dense: the row of each value, where each column begins, the values."""
    if flags & 0x08:
        raise DataError(f"{where} holds complex numbers, not real ones; save the part that is meant")
    size = 8 * math.prod(shape)
    if size > max(_DENSE_BYTES, _DENSE_TIMES * len(reader.data)):
        raise DataError(f"{where} is sparse, and takes {format_bytes(size)} if dense; save the part that is needed")
    rows, begins = _stored(reader, where), _stored(reader, where)
    if len(shape) != 2 or rows.dtype.kind not in "iu" or begins.dtype.kind not in "iu" or begins.size != shape[1] + 1:
        raise _Damaged(f"{where} is a sparse matrix {shape} with {begins.size} columns of type {begins.dtype}")
    begin = begins.astype(np.int64)
    counts, n_values = begin[1:] - begin[:-1], int(begin[-1])
    # MATLAB says of the bytes of a logical sparse matrix that they are doubles.
    values = _stored(reader, where, n_bytes=n_values if flags & 0x02 else None)
    if begin[0] != 0 or (counts < 0).any() or n_values > min(rows.size, values.size):
        raise _Damaged(f"{where} is a sparse matrix whose columns have {counts[:10].tolist()} values of {rows.size}")
    row = rows[:n_values].astype(np.int64)
    if row.size and (row.min() < 0 or row.max() >= shape[0]):
        raise _Damaged(f"{where} is a sparse matrix {shape} with values in rows {row.min()} to {row.max()}")
    whole = np.zeros(shape, dtype=bool if flags & 0x02 else np.float64)
    whole[row, np.repeat(np.arange(shape[1]), counts)] = values[:n_values]
    return whole


def _text(reader: _Reader, shape: tuple[int, ...], where: str) -> str | CharacterRows:
    if math.prod(shape) == 0:
        return ""
    kind, data = reader.element()
    if kind not in _TEXTS:
        raise _Damaged(f"{where} holds text of the unknown type {kind}")
    wide = _TEXTS[kind] in ("utf-16", "utf-32")
    text = bytes(data).decode(_TEXTS[kind] + (("-le" if reader.order == "<" else "-be") if wide else ""))
    return text_rows(np.array(list(text)), shape, where) if shape[0] != 1 or len(shape) > 2 else text


def text_rows(characters: Array, shape: tuple[int, ...], where: str) -> CharacterRows:
    """Return the rows of a character matrix (n, width) from its characters in MATLAB's linear order.

    Raises
    ------
    DataError
        If it has more axes, or another number of characters.
    """
    if len(shape) != 2 or characters.size != math.prod(shape):
        raise DataError(f"{where} is text of {characters.size} characters and shape {shape}; save a cell array of rows")
    return CharacterRows("".join(row) for row in characters.reshape(shape, order="F"))


def _fields(reader: _Reader) -> list[str]:
    length_kind, raw = reader.element()
    names = bytes(reader.element()[1])
    length = struct.unpack(f"{reader.order}i", raw)[0] if length_kind == 5 and len(raw) == 4 else 0
    if length <= 0 or len(names) % length:
        raise _Damaged(f"the names of fields have {len(names)} bytes, not a multiple of {length}")
    parts = [names[i : i + length] for i in range(0, len(names), length)]
    return [part.split(b"\0", 1)[0].decode("utf-8") for part in parts]


def _bounded(reader: _Reader, count: int) -> int:
    if count * 8 > len(reader.data) - reader.at:
        raise _Damaged(f"{count} cells are announced in {len(reader.data) - reader.at} bytes")
    return count
