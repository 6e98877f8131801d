"""bdpy's `SparseArray` in `.mat` v7.3: a structure of coordinates, values, shape and background.

Source of the format: bdpy 0.26, `bdpy.dataform.SparseArray`; its marker is spelled with three r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import format_bytes
from hpc_recon.formats import matlab
from hpc_recon.formats.hdf5 import dataset_at, node, open_hdf5, translated

MARKER = "__bdpy_sparse_arrray"
#: A sparse array in a file becomes dense if it takes no more than this, or than as many times the file.
_DENSE_BYTES, _DENSE_TIMES = 1 << 26, 1024
FIELDS = (MARKER, "index", "value", "shape", "background")


@dataclass(frozen=True)
class Sparse:
    """An array that is `background` but at some places."""

    #: (ndim, n_values) int64, zero-based.
    index: Array
    #: (n_values,), of the type in the file.
    value: Array
    #: Shape of the whole.
    shape: tuple[int, ...]
    #: The value everywhere else.
    background: float = 0.0

    def dense(self, *, limit: int = 1 << 34) -> Array:
        """Return the whole as float64, as bdpy does.

        Raises
        ------
        DataError
            If it would take more than `limit` bytes.
        """
        size = 8 * math.prod(self.shape)
        if size > limit:
            raise DataError(
                f"a sparse array {self.shape} takes {format_bytes(size)} if dense, over {format_bytes(limit)}"
            )
        whole = np.full(self.shape, self.background, dtype=np.float64)
        whole[tuple(self.index)] = self.value
        return whole


def from_dense(array: Array, background: float = 0.0) -> Sparse:
    """Keep the values that differ from the background."""
    index = np.nonzero(array != background)
    return Sparse(np.array(index, dtype=np.int64), array[index], array.shape, background)


def from_value(value: matlab.Value, where: str) -> Sparse | None:
    """Turn a structure read by `matlab` into a sparse array; None if it is something else.

    `index` is a cell array of one vector an axis (Python), or one plain array (n_axes, n_values) (Julia).

    Raises
    ------
    DataError
        If a field is missing, lengths disagree, or an index lies outside the shape.
    """
    if not isinstance(value, dict) or MARKER not in value:
        return None
    missing = [name for name in FIELDS if name not in value]
    if missing:
        raise DataError(f"{where} is a sparse array without {', '.join(missing)}; write it again")
    shape = tuple(int(n) for n in _whole(_vector(value["shape"], f"shape of {where}"), f"shape of {where}"))
    values = _vector(value["value"], f"value of {where}")
    index = _index(value["index"], len(shape), where)
    if index.shape[1] != values.size or any(n < 0 for n in shape):
        raise DataError(f"{where} has {values.size} values at {index.shape[1]} places of shape {shape}; write it again")
    outside = ((index < 0) | (index >= np.array(shape)[:, None])).any(axis=0)
    if outside.any():
        first = int(np.argmax(outside))
        raise DataError(
            f"{where} has {np.count_nonzero(outside)} places outside its shape {shape} "
            f"(first: {index[:, first].tolist()})"
        )
    background = _vector(value["background"], f"background of {where}")
    if background.size != 1:
        raise DataError(f"{where} has {background.size} backgrounds, and must have 1; write it again")
    return Sparse(index, values, shape, float(background[0]))


def read_either(path: Path, key: str) -> Sparse | Array:
    """Read a sparse array as it is, and a plain array of numbers as that.

    Raises
    ------
    DataError
        As `matlab.read_value` and `from_value`; if the variable is neither.
    """
    value = matlab.read_value(path, key)
    if isinstance(value, np.ndarray):
        return value
    found = from_value(value, f"{key} in {path}")
    if found is None:
        raise DataError(f"{key} in {path} is neither an array of numbers nor a SparseArray (no {MARKER})")
    return found


def n_stored(path: Path, key: str) -> tuple[int, bool] | None:
    """Return how many values a file stores of an array, zeros of a plain one included, and whether it is sparse.

    Only the header is read; None for v5, which must be read.

    Raises
    ------
    DataError
        If the file is absent or damaged, or lacks the variable.
    """
    if matlab.version(path) == 5:
        return None
    with open_hdf5(path) as stream, translated(path, f"cannot be read at {key}; is it damaged?"):
        item = node(stream, key)
        if isinstance(item, h5py.Group):
            return int(dataset_at(item, "value").size or 0), True
        return int(item.size or 0), False


def read_dense(path: Path, key: str) -> Array:
    """Read an array, plain (its own type) or sparse (float64)."""
    value = matlab.read_value(path, key)
    found = from_value(value, f"{key} in {path}")
    if found is not None:
        return found.dense(limit=max(_DENSE_BYTES, _DENSE_TIMES * path.stat().st_size))
    if not isinstance(value, np.ndarray):
        raise DataError(
            f"{key} in {path} must be an array of numbers or a SparseArray, but is a {type(value).__name__}"
        )
    return value


def write_sparse(path: Path, key: str, sparse: Sparse) -> Path:
    """Write a sparse array as bdpy does, so that `bdpy.dataform.load_array` reads it."""

    def fill(stream: h5py.File) -> None:
        group, cells = stream.create_group(key), stream.create_group("#refs#")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        letters = np.empty(len(FIELDS), dtype=object)
        letters[:] = [np.array(list(name), dtype="S1") for name in FIELDS]
        group.attrs.create("MATLAB_fields", letters, dtype=h5py.vlen_dtype(np.dtype("S1")))
        group.attrs.create("Python.Fields", list(FIELDS), dtype=h5py.string_dtype())
        for name, text in (
            ("Type", "dict"),
            ("dict.StoredAs", "individually"),
            ("dict.key_str_types", "t" * len(FIELDS)),
        ):
            group.attrs[f"Python.{name}"] = np.bytes_(text)
        whole = float(sparse.background).is_integer()
        background = np.array(int(sparse.background) if whole else sparse.background)
        matlab.put_array(group, MARKER, np.array(True), python_type="bool")
        _put_cells(group, cells, "index", list(sparse.index.astype(np.int64, copy=False)), "numpy.ndarray")
        matlab.put_array(group, "value", sparse.value)
        _put_cells(group, cells, "shape", [np.array(n, dtype=np.int64) for n in sparse.shape], "int")
        matlab.put_array(group, "background", background, python_type="int" if whole else "float")

    return matlab.write_hdf5(path, fill)


def _put_cells(group: h5py.Group, cells: h5py.Group, name: str, values: list[Array], python_type: str) -> None:
    items = [matlab.put_array(cells, f"{name}{i}", value, python_type=python_type) for i, value in enumerate(values)]
    cell = group.create_dataset(name, (1, len(items)), dtype=h5py.ref_dtype)
    for i, item in enumerate(items):
        cell[0, i] = item.ref
    described = {"MATLAB_class": "cell", "Python.Type": "tuple", "H5PATH": group.name}
    described |= {"Python.numpy.UnderlyingType": "object", "Python.numpy.Container": "ndarray"}
    for attribute, text in described.items():
        cell.attrs[attribute] = np.bytes_(text)
    cell.attrs["Python.Shape"] = np.array([len(items)], dtype=np.uint64)


def _vector(value: matlab.Value, where: str) -> Array:
    parts = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, np.ndarray)]
    if (isinstance(value, list) and len(parts) != len(value)) or not isinstance(value, list | np.ndarray):
        raise DataError(f"{where} must be numbers; write it again")
    return np.concatenate([np.ravel(part) for part in parts]) if parts else np.zeros(0)


def _index(value: matlab.Value, n_axes: int, where: str) -> Array:
    if isinstance(value, np.ndarray):
        plain = (
            value.reshape(value.shape[-2:]) if value.ndim > 2 and value.size == math.prod(value.shape[-2:]) else value
        )
        if plain.ndim == 2 and n_axes in plain.shape:
            return _whole(plain if plain.shape[0] == n_axes else plain.T, f"index of {where}")
        raise DataError(f"index of {where} has shape {value.shape} for {n_axes} axes; write it again")
    if not isinstance(value, list) or len(value) != n_axes:
        raise DataError(f"index of {where} must have one vector for each of {n_axes} axes; write it again")
    vectors = [_vector(part, f"index of {where}") for part in value]
    if len({vector.size for vector in vectors}) > 1:
        raise DataError(
            f"index of {where} has vectors of lengths {[vector.size for vector in vectors]}; write it again"
        )
    found = np.empty((n_axes, vectors[0].size if vectors else 0), dtype=np.int64)
    for axis, vector in enumerate(vectors):
        found[axis] = _whole(vector, f"index of {where}")
    return found


def _whole(values: Array, where: str) -> Array:
    """Return whole numbers as int64."""
    if values.dtype.kind in "iu":  # without the copies that fractions need
        if values.size and max(-int(values.min()), int(values.max())) >= 2**53:
            raise DataError(f"{where} must hold whole numbers below 2^53; write it again")
        return np.asarray(values, dtype=np.int64)
    if not (np.abs(values.astype(np.float64)) < 2**53).all() or (values % 1 != 0).any():
        raise DataError(f"{where} must hold whole numbers; write it again")
    return np.asarray(values, dtype=np.int64)
