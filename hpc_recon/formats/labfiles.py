"""Arrays and images as laboratories keep them: `.mat` (v5 and v7.3), `.h5`, `.npz`, `.npy`, and folders of images.

Nothing is guessed: a file that cannot be read, or a key that it does not have, is an error that says what is there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from PIL import Image, ImageOps

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import closest

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
#: What `sampled_sha256` reads of a large file.
_PIECES = 64
_PIECE_BYTES = 65536
ARRAY_ENDINGS = (".mat", ".h5", ".hdf5", ".npz", ".npy")


def read_array(file: Path, key: str | None = None) -> Array:
    """Read one array, with the axes that the lab's own software shows.

    MATLAB's v7.3 files hold HDF5 arrays with reversed axes, so those of a `.mat` are reversed back. Cell
    arrays of text, character matrices and HDF5 strings become arrays of text; sparse matrices become dense.

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


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name.

    Raises
    ------
    DataError
        If the folder is missing or has no image.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} does not exist, or is not a folder; correct the path, which starts at the study file"
        )
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder} has no image ({' '.join(IMAGE_ENDINGS)}); correct the path")
    return found


def read_image(path: Path) -> Array:
    """Read an image as (H, W, 3) uint8 RGB, turned upright; grey is repeated, transparency laid on white.

    Raises
    ------
    DataError
        If it cannot be read, or has more bits than can be converted without a choice.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):
                deep = np.asarray(image).astype(np.float64)
                return np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2)
            if image.mode in ("I", "F"):
                raise DataError(f"{path} has 32 bits a pixel (mode {image.mode}); save it with 8 or 16")
            if image.has_transparency_data:
                layer = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            return np.asarray(image.convert("RGB")).copy()
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"the image {path} cannot be read ({type(error).__name__}: {error}); is it damaged?") from error


def resize(image: Array, size: int) -> Array:
    """Resize (H, W, 3) uint8 to (size, size, 3), bicubic with antialiasing; unchanged if it has that size."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)).copy()


def sha256(path: Path) -> str:
    """Return the sha256 of a file; computed again only when its size or time has changed."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


def sampled_sha256(path: Path) -> str:
    """Return `<length>:<sha256>` of a file, where a file above 4 MiB is sampled: 64 pieces of 64 KiB, evenly spaced.

    The first and the last piece are always among them, so the header and, of a `.gz`, the checksum of all its content.
    """
    status = path.stat()
    if status.st_size <= _PIECES * _PIECE_BYTES:
        return f"{status.st_size}:{sha256(path)}"
    return f"{status.st_size}:{_sampled(path, status.st_size, status.st_mtime_ns)}"


@lru_cache(maxsize=100_000)
def _sampled(path: Path, size: int, time: int) -> str:
    value = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in range(_PIECES):
            stream.seek(piece * (size - _PIECE_BYTES) // (_PIECES - 1))
            value.update(stream.read(_PIECE_BYTES))
    return value.hexdigest()


@lru_cache(maxsize=100_000)
def _sha256(path: Path, size: int, time: int) -> str:
    value = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 22):
            value.update(piece)
    return value.hexdigest()


def _read(file: Path, key: str) -> Array:
    ending = file.suffix.lower()
    if ending == ".npy":
        return np.asarray(np.load(file, allow_pickle=False))
    if ending == ".npz":
        # Opened here: numpy leaves a file that is no archive open.
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            _require_key(key, archive.files, file)
            return np.asarray(archive[key])
    if ending == ".mat" and not h5py.is_hdf5(file):
        return _read_mat5(file, key)
    with h5py.File(file, "r") as stream:
        return _read_hdf5(stream, key, file=file, reverse=ending == ".mat")


def _require_key(key: str, known: Sequence[str], file: Path) -> None:
    if key not in known:
        shown = ", ".join(sorted(known)[:30]) + (", ..." if len(known) > 30 else "")
        near = closest(key, known) if known else ""
        guess = near if near.startswith("; did") else ""
        raise DataError(f"{file} has no key {key!r}{guess} (its keys: {shown or 'none'}); correct `key` in the study")


def _read_mat5(file: Path, key: str) -> Array:
    root, *fields = key.split(".")
    _require_key(root, [str(name) for name, _, _ in scipy.io.whosmat(file)], file)
    value: Any = scipy.io.loadmat(file, variable_names=[root], spmatrix=False)[root]
    for depth, name in enumerate(fields):
        place = ".".join((root, *fields[:depth]))
        if not isinstance(value, np.ndarray) or value.dtype.names is None or value.size != 1:
            raise DataError(f"{place} in {file} is not a single structure, so it has no field {name!r}")
        _require_key(f"{place}.{name}", [f"{place}.{field}" for field in value.dtype.names], file)
        value = value.flat[0][name]
    value = np.asarray(value.toarray() if hasattr(value, "toarray") else value)  # MATLAB's sparse matrices are scipy's
    return _text_cells(list(value.flat), value.shape) if value.dtype == object else value


def _text_cells(cells: Sequence[Any], shape: tuple[int, ...]) -> Array:
    """Turn MATLAB cells, each a text or one number, into an array of text; other content keeps dtype object."""
    words = []
    for cell in cells:
        inner = np.asarray(cell)
        if inner.size > 1 or inner.dtype.kind not in "biufU":
            return np.empty(shape, dtype=object)  # refused by read_array
        words.append(text(inner.reshape(-1), "a cell")[0] if inner.size else "")
    return np.array(words, dtype=np.str_).reshape(shape)


def _read_hdf5(stream: Any, key: str, *, file: Path, reverse: bool) -> Array:
    known: list[str] = []
    stream.visititems(lambda name, item: known.append(name) if isinstance(item, h5py.Dataset) else None)
    plain = [name for name in known if not name.startswith("#")]  # MATLAB keeps the contents of cells in #refs#
    path = key.strip("/")
    if reverse and path not in plain:
        path = path.replace(".", "/")
    if path not in plain:
        _require_key(key, plain, file)
    item = stream[path]
    if item.external or item.is_virtual:
        # Such a file would read any file of the user's as brain data; a virtual one reads what is absent as zeros.
        raise DataError(
            f"{key} in {file} takes its values from another file; store the values themselves, and name that"
        )
    kind = item.attrs.get("MATLAB_class", b"")
    if kind == b"char":
        return np.array(_characters(item), dtype=np.str_)
    if kind == b"cell" or h5py.check_ref_dtype(item.dtype) is not None:
        cells = [_cell(stream[reference]) for reference in np.asarray(item).T.flat]
        return _text_cells(cells, item.shape[::-1])
    if "MATLAB_empty" in item.attrs:
        raise DataError(f"{key} in {file} is empty")
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.asarray(item.asstr()[()], dtype=np.str_)
    value = np.asarray(item)
    return np.ascontiguousarray(value.T) if reverse else value


def _characters(item: Any) -> list[str]:
    """Return the rows of a MATLAB character matrix, stored as numbers with reversed axes."""
    if "MATLAB_empty" in item.attrs:
        return [""]
    return ["".join(map(chr, row)).rstrip() for row in np.atleast_2d(np.asarray(item).T)]


def _cell(item: Any) -> Any:
    if item.attrs.get("MATLAB_class", b"") == b"char":
        return np.array(_characters(item)[:1])
    return np.asarray(item)
