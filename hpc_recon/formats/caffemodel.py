"""Weights of Caffe networks (`.caffemodel`), read without Caffe.

Field numbers are those of BVLC/caffe, `src/caffe/proto/caffe.proto`: a `NetParameter` has layers of the present kind
(`layer`, 100), of the older one (`layers`, 2), or of the oldest one inside the older; each has a name and blobs; a
`BlobProto` has a shape, or four legacy dimensions, and float or double data, packed or not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Wire

#: NetParameter
_NET_NAME, _LAYERS_V1, _LAYER = 1, 2, 100
#: Field numbers of (name, blobs) of LayerParameter, V1LayerParameter and V0LayerParameter, which V1's field 1 holds.
_V2, _V1, _V0 = (1, 7), (4, 6), (1, 50)
_V0_IN_V1 = 1
#: BlobProto; 1 to 4 are num, channels, height, width.
_LEGACY, _DATA, _SHAPE, _DOUBLE = (1, 2, 3, 4), 5, 7, 8
#: Caffe's own limit of axes (kMaxBlobAxes).
MAX_AXES = 32
#: Far above any published network, and few enough that their descriptions take some MB at most.
MAX_LAYERS, MAX_BLOBS = 10_000, 5_000
#: Writers make one piece of data a blob; concatenated messages make a few.
MAX_PIECES = 16
MAX_NAME_BYTES = 1024
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class _Segment:
    """Values in the file: `count` of them, the first at byte `start`, `stride` bytes apart."""

    start: int
    count: int
    stride: int


@dataclass(frozen=True)
class Blob:
    """One array of a layer, not read yet.

    `shape` is that of the file: legacy blobs have four axes, the first ones 1 where they are not used.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    _data: Array
    _segments: tuple[_Segment, ...]

    def read(self) -> Array:
        """Return the values as a new array of `shape`, little-endian `dtype` (float32, or float64 of double data)."""
        width = self.dtype.itemsize
        result = np.empty(math.prod(self.shape), self.dtype)
        raw = result.view(np.uint8)
        at = 0
        for segment in self._segments:
            stop = segment.start + (segment.count - 1) * segment.stride + width
            rows = np.lib.stride_tricks.as_strided(
                self._data[segment.start : stop], (segment.count, width), (segment.stride, 1), writeable=False
            )
            raw[at * width : (at + segment.count) * width].reshape(segment.count, width)[:] = rows
            at += segment.count
        return result.reshape(self.shape)


@dataclass(frozen=True)
class CaffeModel:
    """The layers of a `.caffemodel` that have weights, in the file's order."""

    #: Name of the network, as "CaffeNet".
    name: str
    #: By layer name: its blobs; weight, then bias.
    layers: Mapping[str, tuple[Blob, ...]]


def open_caffemodel(path: Path) -> CaffeModel:
    """Find the layers and blobs of a `.caffemodel`; values are read by `Blob.read` alone.

    Parameters
    ----------
    path
        A file that Caffe wrote in its binary format, of any version.

    Raises
    ------
    DataError
        If the file cannot be read, is not such a file (HDF5, text), is cut off or damaged, holds no weights, or names
        a layer with weights twice.

    Notes
    -----
    The file stays mapped into memory as long as a blob of it lives. Besides, some KB a layer.
    """
    wire = _map(path)
    name = ""
    found: dict[int, list[Field]] = {_LAYER: [], _LAYERS_V1: []}
    for field in wire.fields(0, len(wire.data)):
        if field.number == _NET_NAME and field.wire == BYTES:
            name = wire.text(field, limit=MAX_NAME_BYTES)
        elif field.number in found:
            wire.require(field, BYTES)
            found[field.number].append(field)
            if sum(len(fields) for fields in found.values()) > MAX_LAYERS:
                raise wire.error(field.start, f"there are more than {MAX_LAYERS} layers")
    if found[_LAYER] and found[_LAYERS_V1]:
        raise wire.error(0, "it has layers of both kinds, `layer` and `layers`, which Caffe refuses too")
    layers: dict[str, tuple[Blob, ...]] = {}
    n_blobs = 0
    for number, fields in found.items():
        for field in fields:
            layer, blobs = _layer(wire, field, *(_V2 if number == _LAYER else _V1), may_hold_v0=number == _LAYERS_V1)
            n_blobs += len(blobs)
            if n_blobs > MAX_BLOBS:
                raise wire.error(field.start, f"there are more than {MAX_BLOBS} blobs")
            if blobs and layer in layers:
                raise wire.error(field.start, f"two layers with weights are called {layer!r}")
            if blobs:
                layers[layer] = blobs
    if not layers:
        raise DataError(
            f"{path} holds no layer with weights, so it is not a .caffemodel ({len(wire.data)} bytes); the .prototxt "
            "beside it is the description of the network, not its weights"
        )
    return CaffeModel(name, MappingProxyType(layers))


def _map(path: Path) -> Wire:
    """Map a file into memory."""
    try:
        size = path.stat().st_size
        if size == 0:
            raise DataError(f"{path} is empty; fetch it again")
        data = np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give an existing file") from error
    if data[:8].tobytes() == _HDF5:
        raise DataError(
            f"{path} is an HDF5 file, not Caffe's binary format; save it as .caffemodel, or as a torch state dict"
        )
    return Wire(data, where=str(path))


def _layer(
    wire: Wire, layer: Field, name_number: int, blobs_number: int, *, may_hold_v0: bool
) -> tuple[str, tuple[Blob, ...]]:
    """Return name and blobs of a layer; those of the oldest kind inside it where there is one."""
    name = ""
    blobs: list[Blob] = []
    for field in wire.fields(layer.start, layer.stop):
        if may_hold_v0 and field.number == _V0_IN_V1:
            wire.require(field, BYTES)
            return _layer(wire, field, *_V0, may_hold_v0=False)
        if field.number == name_number:
            name = wire.text(field, limit=MAX_NAME_BYTES)
        elif field.number == blobs_number:
            wire.require(field, BYTES)
            if len(blobs) == MAX_BLOBS:
                raise wire.error(field.start, f"there are more than {MAX_BLOBS} blobs")
            blobs.append(_blob(wire, field.start, field.stop))
    return name, tuple(blobs)


def _blob(wire: Wire, start: int, stop: int) -> Blob:
    """Find shape and values of a blob, and check that they agree."""
    legacy = dict.fromkeys(_LEGACY, 0)
    shape: tuple[int, ...] | None = None
    segments: dict[int, list[_Segment]] = {_DATA: [], _DOUBLE: []}
    for field in wire.fields(start, stop):
        if field.number in legacy:
            wire.require(field, VARINT)
            legacy[field.number] = wire.integers(field, limit=1)[0]
        elif field.number == _SHAPE:
            if shape is not None:
                raise wire.error(field.start, "a blob has two shapes")
            shape = _dimensions(wire, field)
        elif field.number in segments:
            piece = _values(wire, field)
            if piece.count:
                segments[field.number].append(piece)
            if len(segments[field.number]) > MAX_PIECES:
                raise wire.error(field.start, f"the data of a blob are in more than {MAX_PIECES} pieces")
    if shape is None:
        shape = tuple(legacy[number] for number in _LEGACY)
    if segments[_DATA] and segments[_DOUBLE]:
        raise wire.error(start, "a blob has float and double data")
    used = segments[_DATA] or segments[_DOUBLE]
    count = sum(segment.count for segment in used)
    if min(shape, default=1) < 0 or math.prod(shape) != count:
        raise wire.error(start, f"a blob of shape {shape} has {count} values")
    return Blob(shape, np.dtype("<f8" if segments[_DOUBLE] else "<f4"), wire.data, tuple(used))


def _dimensions(wire: Wire, shape: Field) -> tuple[int, ...]:
    """Return the dimensions of a BlobShape: field 1, packed or not."""
    wire.require(shape, BYTES)
    found: list[int] = []
    for field in wire.fields(shape.start, shape.stop):
        if field.number == 1:
            found += wire.integers(field, limit=MAX_AXES)
        if len(found) > MAX_AXES:
            raise wire.error(shape.start, f"a blob has more than {MAX_AXES} axes")
    return tuple(found)


def _values(wire: Wire, field: Field) -> _Segment:
    """Return where the values of a `data` or `double_data` field lie: packed, or a run of single values."""
    width, wanted = (8, FIXED64) if field.number == _DOUBLE else (4, FIXED32)
    if field.wire == BYTES:
        n_bytes = field.stop - field.start
        if n_bytes % width:
            raise wire.error(field.start, f"{n_bytes} bytes are no whole number of {width}-byte values")
        return _Segment(field.start, n_bytes // width, width)
    wire.require(field, wanted)
    return _Segment(field.start, field.count, field.stride)
