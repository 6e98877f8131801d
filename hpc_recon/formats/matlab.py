"""MATLAB's `.mat` files, v5 to v7 (MAT-file level 5) and v7.3 (HDF5): one variable read, or a few written.

Sources: MathWorks, "MAT-File Format" (level 5: header, classes); for v7.3 what MATLAB and Python's hdf5storage
write: a user block of 512 bytes, axes reversed, the attributes `MATLAB_class` and `MATLAB_empty`, and
`Python.Shape`, the true shape of vectors and scalars, for which MATLAB has none.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import scipy.io

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing, sync_folder
from hpc_recon.core.text import format_bytes
from hpc_recon.formats import mat5
from hpc_recon.formats.hdf5 import SIGNATURE, names, node, open_hdf5, place, require_contained, translated
from hpc_recon.formats.hdf5_texts import attribute
from hpc_recon.formats.mat5 import Cells, CharacterRows

#: What a variable becomes: numbers, text, rows of a character matrix, a cell array or a structure.
Value: TypeAlias = "Array | str | CharacterRows | Cells | dict[str, Any]"
#: The same in words, for messages.
KINDS: dict[type, str] = {str: "text", CharacterRows: "text", Cells: "a cell array", dict: "a structure"}

USER_BLOCK = 512
#: A v5 variable is at most this long, by its 32-bit length.
LARGEST_V5 = (1 << 31) - 1
#: MATLAB's names of numpy's types.
CLASSES = {
    "float32": "single",
    "float64": "double",
    "bool": "logical",
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}
_DTYPES = {matlab: numpy for numpy, matlab in CLASSES.items()}
#: Datasets of more bytes than this are written in compressed chunks, as hdf5storage does: coordinates of sparse arrays
#: shrink sixfold (measured: 36.7 to 6.1 bytes a weight of 25,600, in equal time).
CHUNKED_ABOVE = 1 << 14
_DEEPEST = 8


def read_value(path: Path, key: str) -> Value:
    """Read one variable, with the shape that MATLAB or Python showed.

    Parameters
    ----------
    path
        A `.mat` file of v5 to v7.3; the version is told by its content.
    key
        Name of the variable.

    Returns
    -------
    Array, str, CharacterRows, Cells or dict
        Numbers and logicals as an array in C order; a character row as text, and a character matrix as its rows; a cell
        array as a list in MATLAB's linear order; a scalar structure as a dict. Sparse matrices (v5) become dense.

    Raises
    ------
    DataError
        If the file is absent, truncated, damaged or no `.mat` file, lacks the variable (what it has is listed) or has
        it twice, declares more than it can hold, or holds objects or functions.
    """
    path = Path(path)
    if version(path) == 5:
        value: Value = mat5.read(path, key)
        return value
    with open_hdf5(path) as stream, translated(path, f"cannot be read at {key}; is it damaged?"):
        return from_node(node(stream, key))


def read_array(path: Path, key: str) -> Array:
    """Read one variable of real numbers or logicals as `read_value` does; anything else is a `DataError`."""
    value = read_value(path, key)
    if not isinstance(value, np.ndarray):
        raise DataError(f"{key} in {path} must be an array of numbers, but is {KINDS[type(value)]}")
    return value


def write_v5(path: Path, variables: Mapping[str, Array]) -> Path:
    """Write arrays of numbers as MAT-file level 5, whole or not at all; vectors become rows (1, n).

    Raises
    ------
    DataError
        If an array is of 2 GB or more (use `write_v73`), or holds neither real numbers nor logicals.
    """
    arrays = {name: np.asarray(value) for name, value in variables.items()}
    for name, value in arrays.items():
        _require_class(value, name, path)
        if value.nbytes + 4096 > LARGEST_V5:
            raise DataError(f"{name} for {path} has {format_bytes(value.nbytes)}, and v5 takes 2 GB; write v7.3")
    with replacing(Path(path)) as stream:
        save: Any = scipy.io.savemat  # its stubs, where they are installed, know no streams
        save(stream, arrays, format="5", oned_as="row")
    return Path(path)


def write_v73(path: Path, variables: Mapping[str, Array]) -> Path:
    """Write arrays of numbers as v7.3, whole or not at all; the true shape is kept in `Python.Shape`."""

    def fill(stream: h5py.File) -> None:
        for name, value in variables.items():
            put_array(stream, name, np.asarray(value))

    return write_hdf5(path, fill)


def write_hdf5(path: Path, fill: Any) -> Path:
    """Create a v7.3 file; `fill(h5py.File)` puts the variables into it. The file appears whole, or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with h5py.File(partial, "x", userblock_size=USER_BLOCK) as stream:
            fill(stream)
        header = b"MATLAB 7.3 MAT-file, Platform: hpc_recon, HDF5 schema 1.00".ljust(116) + bytes(8) + b"\x00\x02IM"
        with open(partial, "r+b") as raw:
            raw.write(header)
            raw.flush()
            os.fsync(raw.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def put_array(group: h5py.Group, name: str, value: Array, *, python_type: str = "numpy.ndarray") -> h5py.Dataset:
    """Put one array into a v7.3 file, its axes reversed; vectors are stored as MATLAB columns (1, n) in HDF5.

    Raises
    ------
    DataError
        If it holds neither real numbers nor logicals.
    """
    _require_class(value, name, Path(group.file.filename))
    stored = value.astype(np.uint8) if value.dtype.kind == "b" else value
    if not value.size:  # MATLAB stores the shape itself
        shape = value.shape if value.ndim > 1 else (*value.shape, 0)
        item = group.create_dataset(name, data=np.array(shape, dtype=np.uint64))
        item.attrs["MATLAB_empty"] = np.uint8(1)
        item.attrs["Python.Empty"] = np.uint8(1)
    else:
        reversed_axes = stored.reshape(1, -1) if value.ndim < 2 else stored.T
        large = value.nbytes > CHUNKED_ABOVE
        options = {"chunks": True, "compression": "gzip", "compression_opts": 4, "shuffle": True} if large else {}
        item = group.create_dataset(name, data=reversed_axes, **options)
    item.attrs["MATLAB_class"] = np.bytes_(CLASSES[value.dtype.name])
    if value.dtype.kind == "b":
        item.attrs["MATLAB_int_decode"] = np.uint8(1)
    item.attrs["Python.Type"] = np.bytes_(python_type)
    item.attrs["Python.Shape"] = np.array(value.shape, dtype=np.uint64)
    item.attrs["Python.numpy.UnderlyingType"] = np.bytes_(value.dtype.name)
    item.attrs["Python.numpy.Container"] = np.bytes_("scalar" if value.ndim == 0 else "ndarray")
    if group.name != "/":
        item.attrs["H5PATH"] = np.bytes_(group.name)
    return item


def from_node(item: h5py.Group | h5py.Dataset, depth: int = 0) -> Value:
    """Turn what lies at a name of a v7.3 file into its value, as `read_value` says, to 8 levels."""
    where = place(item)
    if depth > _DEEPEST:
        raise DataError(f"{where} lies more than {_DEEPEST} structures or cells deep; save it flat")
    if attribute(item, "MATLAB_object_decode") is not None:
        raise mat5.object_refused(where, _class(item))
    if isinstance(item, h5py.Group):
        if attribute(item, "MATLAB_sparse") is not None:
            raise DataError(f"{where} is a sparse matrix of v7.3; save full(x)")
        return {name: from_node(node(item, name), depth + 1) for name in names(item)}
    require_contained(item)
    kind = _class(item)
    if attribute(item, "MATLAB_empty") is not None:
        return _empty(item, kind)
    if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
        references = np.asarray(item[()]).T
        cells = (_referred(item, reference, depth) for reference in references.ravel(order="F"))
        return Cells(cells, references.shape)
    if item.shape is None or item.dtype.kind not in "biuf" or item.dtype.itemsize > 8:
        raise DataError(
            f"{where} holds neither real numbers, text nor cells ({item.dtype}; an object array?); save plain arrays"
        )
    value = np.asarray(item[()]).T
    if kind == "char":
        return _text(value, where)
    if kind == "logical":
        value = value != 0
    return np.ascontiguousarray(_true_shape(item, value))


def _true_shape(item: h5py.Dataset, value: Array) -> Array:
    """Give an array the shape that Python wrote it with: the same but for axes of length 1."""
    shape = _python_shape(item)
    if shape is None:
        return value
    if [n for n in shape if n != 1] != [n for n in value.shape if n != 1]:
        reversed_too = [n for n in shape if n != 1] == [n for n in value.shape[::-1] if n != 1]
        hint = "; its axes were not reversed when it was written" if reversed_too else ""
        raise DataError(f"{place(item)} has shape {value.shape}, but says that it is {shape}{hint}; write it again")
    return value.reshape(shape)


def _python_shape(item: h5py.Dataset) -> tuple[int, ...] | None:
    value = attribute(item, "Python.Shape")
    if value is None:
        return None
    if np.asarray(value).dtype.kind not in "iu" or np.ndim(value) > 1:
        raise DataError(f"the attribute Python.Shape of {place(item)} must be whole numbers; write it again")
    return tuple(int(n) for n in np.atleast_1d(value))


def _empty(item: h5py.Dataset, kind: str) -> Value:
    """Return an empty array: the dataset holds its shape instead of values."""
    if kind == "char":
        return ""
    if kind == "cell":
        return Cells((), (0, 0))
    shape = _python_shape(item)
    if shape is None:  # at most 32 axes
        shape = tuple(int(n) for n in np.ravel(item[()])) if item.size <= 32 and item.dtype.kind in "iu" else ()
    if kind not in _DTYPES or 0 not in shape:
        raise DataError(f"{place(item)} says that it is empty, of class {kind!r} and shape {shape}; is it damaged?")
    return np.zeros(shape, dtype=_DTYPES[kind])


def _referred(item: h5py.Dataset, reference: Any, depth: int) -> Value:
    if not reference:
        raise DataError(f"{place(item)} has a cell that refers to nothing; is it damaged?")
    # by its name, so that what is referred to is checked as any other dataset
    name = h5py.h5r.get_name(reference, item.file.id)
    if name is None:
        raise DataError(f"{place(item)} has a cell whose content is not in the file; is it damaged?")
    return from_node(node(item.file, name.decode("utf-8", "replace")), depth + 1)


def _text(codes: Array, where: str) -> str | CharacterRows:
    if codes.dtype.kind != "u" or codes.dtype.itemsize > 4:
        raise DataError(f"{where} is text stored as {codes.dtype}; is it damaged?")
    encoding = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}[codes.dtype.itemsize]
    try:
        text = codes.ravel(order="F").astype(codes.dtype.newbyteorder("<")).tobytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no {encoding} text ({error.reason}); save it again") from error
    is_row = codes.ndim < 2 or (codes.ndim == 2 and codes.shape[0] == 1)
    return text if is_row else mat5.text_rows(np.array(list(text)), codes.shape, where)


def _class(item: h5py.Group | h5py.Dataset) -> str:
    value = attribute(item, "MATLAB_class")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def version(path: Path) -> int:
    """Return the version of a `.mat` file: 5, or 7 for HDF5.

    Raises
    ------
    DataError
        If it does not exist, or is neither.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is not a file; correct the path")
    with open(path, "rb") as stream:
        start = stream.read(USER_BLOCK + len(SIGNATURE))
    if start.startswith((SIGNATURE, b"MATLAB 7.3")) or start[USER_BLOCK:] == SIGNATURE:
        return 7
    if start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return 5
    raise DataError(
        f"{path} ({path.stat().st_size} bytes) is neither a v5 nor a v7.3 .mat file: it starts with {start[:16]!r}; "
        "copy it again, or save it in MATLAB with -v7"
    )


def _require_class(value: Array, name: str, path: Path) -> None:
    if value.dtype.name not in CLASSES:
        raise DataError(f"{name} for {path} holds {value.dtype}; MATLAB takes {', '.join(CLASSES)}")
