"""Arrays as laboratories keep them: `.mat` (v5 and v7.3), `.h5`, `.npz`, `.npy`; images are those of `images`.

Nothing is guessed: a file that cannot be read, or a key that it does not have, is an error that says what is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import sha256 as sha256
from hpc_recon.core.text import closest
from hpc_recon.formats import hdf5, mat5, matlab
from hpc_recon.formats.archives import npz_keys, open_npz, read_npy, read_npz
from hpc_recon.formats.images import IMAGE_ENDINGS as IMAGE_ENDINGS
from hpc_recon.formats.images import list_images as list_images
from hpc_recon.formats.images import read_image as read_image
from hpc_recon.formats.images import resize as resize

ARRAY_ENDINGS = (".mat", ".h5", ".hdf5", ".npz", ".npy")
#: Names looked at to say which keys a file has, and groups in one another.
_MOST_LISTED, _DEEPEST = 2000, 8


def read_array(file: Path, key: str | None = None) -> Array:
    """Read one array, with the axes that the lab's own software shows.

    MATLAB's v7.3 files hold HDF5 arrays with reversed axes, so those of a `.mat` are reversed back. Cell
    arrays of text, character matrices and HDF5 strings become arrays of text; sparse matrices (v5) become dense.

    Parameters
    ----------
    file
        `.mat`, `.h5`, `.hdf5`, `.npz` or `.npy`.
    key
        Variable (fields of a MATLAB structure with `.`), dataset path (with `/`) or npz entry; None for `.npy`.

    Returns
    -------
    Array
        Numbers, booleans or text (dtype kind U).

    Raises
    ------
    DataError
        If the file is missing, cannot be read, lacks the key (its keys are listed), or holds something else.
    """
    ending = file.suffix.lower()
    if not file.is_file():
        raise DataError(f"{file} does not exist, or is not a file; correct the path, which starts at the study file")
    if ending not in ARRAY_ENDINGS:
        raise DataError(f"{file} is none of {' '.join(ARRAY_ENDINGS)}; convert it to one of them")
    if (key is None) != (ending == ".npy"):
        rule = (
            "a .npy file holds one array, so it takes no key" if ending == ".npy" else "key says which array is meant"
        )
        raise DataError(f"{file}: {rule}; {'remove' if ending == '.npy' else 'give'} `key` in the study")
    try:
        found = _read(file, key or "")
    except DataError:
        raise
    except Exception as error:  # the readers raise whatever they like at a damaged file
        raise DataError(
            f"{file} cannot be read as {ending} ({type(error).__name__}: {error}); is it damaged?"
        ) from error
    if found.dtype.kind not in "biufU":
        raise DataError(
            f"{key or 'the array'} in {file} holds {found.dtype} {found.shape}, neither numbers nor text; save it as a "
            "plain array (text as a cell array of character vectors)"
        )
    return found


def numbers(array: Array, where: str) -> Array:
    """Return an array of numbers (booleans too) unchanged.

    Raises
    ------
    DataError
        If it holds text.
    """
    if array.dtype.kind == "U":
        raise DataError(f"{where} must hold numbers, but holds text (first: {str(array.flat[0])!r})")
    return array


def column(array: Array, where: str) -> Array:
    """Return a vector from (n,), (n, 1) or (1, n).

    Raises
    ------
    DataError
        If more than one axis is longer than 1.
    """
    if array.ndim == 0 or max(array.shape) != array.size:
        raise DataError(f"{where} must be a vector, but has shape {array.shape}")
    return array.reshape(-1)


def text(array: Array, where: str, *, nan: str | None = None) -> tuple[str, ...]:
    """Return a vector as text: 3.0 and 3 are both `'3'`, 1518878.005958 keeps all its digits.

    Parameters
    ----------
    nan
        What NaN becomes; None: NaN is refused.

    >>> text(np.array([3.0, 1518878.005958]), "labels")
    ('3', '1518878.005958')
    """
    values = column(array, where)
    if values.dtype.kind == "U":
        return tuple(str(value).strip() for value in values)
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values) if nan is None else np.isinf(values)
        if bad.any():
            raise DataError(f"{where} has {np.count_nonzero(bad)} labels that are NaN or infinite")
    return tuple(_number_text(float(value), nan or "") for value in values)


def _number_text(value: float, nan: str) -> str:
    if math.isnan(value):
        return nan
    return str(int(value)) if value.is_integer() else repr(value)


def _read(file: Path, key: str) -> Array:
    ending = file.suffix.lower()
    if ending == ".npy":
        return read_npy(file)
    if ending == ".npz":
        with open_npz(file) as archive:
            _require_key(key, npz_keys(archive), file)
            return read_npz(archive, key, file)
    if ending != ".mat":
        return _read_hdf5(file, key)
    if matlab.version(file) == 5:
        root, *fields = key.split(".")
        _require_key(root, mat5.names(file), file)
        return _as_array(mat5.read(file, root, fields), key, file)
    with hdf5.open_hdf5(file) as stream:
        path = _path_of(stream, key, file)
    return _as_array(matlab.read_value(file, path), key, file)


def _require_key(key: str, known: Sequence[str], file: Path) -> None:
    if key not in known:
        raise _no_key(key, known, file)


def _no_key(key: str, known: Sequence[str], file: Path) -> DataError:
    shown = ", ".join(sorted(known)[:30]) + (", ..." if len(known) > 30 else "")
    near = closest(key, known) if known else ""
    guess = near if near.startswith("; did") else ""
    return DataError(f"{file} has no key {key!r}{guess} (its keys: {shown or 'none'}); correct `key` in the study")


def _as_array(value: matlab.Value, key: str, file: Path) -> Array:
    """Turn a MATLAB value into an array of numbers or text."""
    if isinstance(value, dict):
        fields = ", ".join(f"{key}.{name}" for name in list(value)[:30]) or "none"
        raise DataError(
            f"{file} has no key {key!r} that is an array: it is a structure (its keys: {fields}); correct `key` in the "
            "study"
        )
    if isinstance(value, mat5.Cells):
        return _text_cells(value, f"{key} in {file}")
    if isinstance(value, str | mat5.CharacterRows):
        return np.array([value] if isinstance(value, str) else value, dtype=np.str_)
    if not value.size:
        raise DataError(f"{key} in {file} is empty, its shape is {value.shape}; correct `key`, or save it again")
    return value


def _text_cells(cells: mat5.Cells, where: str) -> Array:
    """Turn MATLAB cells, each a text or one number, into an array of text."""
    words = []
    for cell in cells:
        inner = [cell] if isinstance(cell, str) else cell
        if not isinstance(inner, list | np.ndarray) or isinstance(inner, mat5.Cells) or len(np.ravel(inner)) > 1:
            kind = f"numbers {inner.shape}" if isinstance(inner, np.ndarray) else matlab.KINDS[type(cell)]
            raise DataError(
                f"{where} has a cell that holds {kind}, neither numbers nor text; save it as a plain array (text as a "
                "cell array of character vectors)"
            )
        words.append(text(np.ravel(inner), f"a cell of {where}")[0] if len(np.ravel(inner)) else "")
    return np.array(words, dtype=np.str_).reshape(cells.shape)


def _read_hdf5(file: Path, key: str) -> Array:
    with hdf5.open_hdf5(file) as stream:
        item = hdf5.node(stream, _path_of(stream, key, file))
        if not isinstance(item, h5py.Dataset):
            raise _no_key(key, _datasets(stream), file)
        hdf5.require_contained(item)
        with hdf5.translated(file, f"cannot be read at {key}; is it damaged?"):
            is_text, shape = h5py.check_string_dtype(item.dtype) is not None, item.shape
        if is_text:
            return np.array(hdf5.read_texts(item, flat=True), dtype=np.str_).reshape(shape)
        hdf5.require_numbers(item, ndim=len(shape or ()))
        with hdf5.translated(file, f"cannot be read at {key}; is it damaged?"):
            return np.asarray(item[()])


def _path_of(stream: h5py.File, key: str, file: Path) -> str:
    """Return the path that a key means: itself, or with `/` for `.`."""
    for path in dict.fromkeys((key.strip("/"), key.strip("/").replace(".", "/"))):
        if path and hdf5.exists(stream, path):
            return path
    raise _no_key(key, _datasets(stream), file)


def _datasets(stream: h5py.File) -> list[str]:
    """Return the paths of datasets, without what MATLAB keeps for itself (`#refs#`); of a large file the first."""
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", stream)]
    looked_at = 0
    while waiting and looked_at < _MOST_LISTED:
        above, group = waiting.pop(0)
        for name in hdf5.names(group)[: _MOST_LISTED - looked_at]:
            looked_at += 1
            if name.startswith("#") or hdf5.is_link(group, name):
                continue
            item = hdf5.node(group, name)
            if isinstance(item, h5py.Dataset):
                found.append(above + name)
            elif above.count("/") < _DEEPEST:
                waiting.append((f"{above}{name}/", item))
    return found
