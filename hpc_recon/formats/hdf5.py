"""HDF5 files that others wrote: opened, looked into and read with nothing taken on trust.

A file may say more than it holds (a declared size, a chain of links, a thousand references to one text), name other
files, or ask for plugins. The functions here are what every reader of such a file goes through: they never follow a
link out of the file, never read from other files, load no filter plugin, and read no more than the file can hold.

Source of the rules: the HDF5 file format specification, version 3 (links, layouts, filter identifiers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError, ReconError
from hpc_recon.core.text import closest, format_bytes
from hpc_recon.formats.hdf5_texts import LONGEST_TEXT, read_variable

#: What an HDF5 file starts with, at byte 0 or after a user block of 512, 1024, ... bytes.
SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: User blocks are looked for up to here (MATLAB's is 512 bytes).
_LARGEST_USER_BLOCK = 1 << 20
#: Filters that are part of HDF5 or of h5py: deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf. Any other is
#: a plugin, that is, code found by name on this machine.
_KNOWN_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
#: Deflate, the strongest of them, cannot make data more than 1032 times smaller.
LARGEST_COMPRESSION = 1100
#: Soft links that may lead to one another.
_LONGEST_CHAIN = 16
#: What h5py raises at a file that is damaged or holds what it does not support.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, SystemError)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    What HDF5 itself raises inside the block (OSError, RuntimeError) becomes `DataError` naming the file.

    Raises
    ------
    DataError
        If the file is absent, a folder, empty, no HDF5 file, truncated or damaged.
    """
    path = Path(path)
    _require_signature(path)
    with translated(path, "cannot be opened as HDF5; is it damaged? Copy or download it again"):
        try:
            opened = h5py.File(path, "r", locking="best-effort")
        except OSError as error:
            if "truncated file" in str(error):
                raise DataError(
                    f"{path} is truncated: it has {path.stat().st_size} bytes, fewer than it says that it has "
                    f"({_tail(error)}); copy or download it again"
                ) from error
            raise
    try:
        yield opened
    except ReconError:
        raise
    except (OSError, RuntimeError) as error:  # not all of _H5PY_ERRORS: the block's own mistakes must show
        raise DataError(f"{path} cannot be read ({_tail(error)}); is it damaged? Copy or download it again") from error
    finally:
        # of a damaged file, closing what is open may fail as well
        with translated(path, "cannot be closed; is it damaged? Copy or download it again"):
            opened.close()


@contextmanager
def translated(path: Path, rule: str) -> Iterator[None]:
    """Turn what h5py raises at a damaged file into a `DataError` that names the file, the rule and the cause."""
    try:
        yield
    except ReconError:
        raise
    except _H5PY_ERRORS as error:
        raise DataError(f"{path} {rule} ({type(error).__name__}: {_tail(error)})") from error


def names(group: h5py.Group) -> list[str]:
    """Return the names in a group, in the file's order.

    Raises
    ------
    DataError
        If a name is not UTF-8; shows its bytes.
    """
    with translated(Path(group.file.filename), "has a damaged group"):
        listed = list(group)
    found = []
    for name in listed:
        if isinstance(name, bytes):  # h5py hands out what it cannot decode
            raise DataError(f"{place(group)} has a name that is not UTF-8: {name!r}; rename it in the file")
        found.append(name)
    return found


def node(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return what lies below a group at a path (`a/b`), following links within the file only.

    Raises
    ------
    DataError
        If there is nothing (the nearest name is given), if a link leads to another file, in a circle or nowhere, or if
        the path leads through a dataset.
    """
    return _node(group, name, _LONGEST_CHAIN)


def exists(group: h5py.Group, name: str) -> bool:
    """Return whether there is something, be it a link that leads nowhere, below a group at a path."""
    *above, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
    found: h5py.Group | h5py.Dataset = group
    for part in above:
        if not isinstance(found, h5py.Group) or not exists(found, part):
            return False
        found = node(found, part)
    with translated(Path(group.file.filename), f"has a damaged group {found.name}"):
        return isinstance(found, h5py.Group) and bool(last) and bool(found.id.links.exists(last.encode()))


def is_link(group: h5py.Group, name: str) -> bool:
    """Return whether a name in a group is a link to another name."""
    with translated(Path(group.file.filename), f"has a damaged link {name!r} in {group.name}"):
        return not isinstance(group.get(name, getlink=True), h5py.HardLink)


def group_at(group: h5py.Group, name: str) -> h5py.Group:
    """Return a group as `node` does; a dataset in its place is a `DataError`."""
    found = node(group, name)
    if not isinstance(found, h5py.Group):
        raise DataError(f"{place(found)} must be a group, but is {_kind(found)}")
    return found


def dataset_at(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset as `node` does, checked by `require_contained`; a group in its place is a `DataError`."""
    found = node(group, name)
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{place(found)} must be a dataset, but is {_kind(found)}")
    require_contained(found)
    return found


def place(found: h5py.Group | h5py.Dataset) -> str:
    """Return `PATH in FILE` for messages."""
    return f"{found.name} in {found.file.filename}"


def require_contained(dataset: h5py.Dataset) -> None:
    """Require that a dataset's values lie in its own file, all of them, and that no plugin is needed to read them.

    Raises
    ------
    DataError
        If it is virtual or stored in other files, uses an unknown filter, or declares more values than the file holds.
    """
    where = place(dataset)
    with translated(Path(dataset.file.filename), f"has a damaged dataset at {dataset.name}"):
        if dataset.is_virtual:
            raise DataError(f"{where} is a virtual dataset, whose values lie in other files; save it as a plain one")
        if dataset.external:
            raise DataError(f"{where} is stored outside the file, in {dataset.external[0][0]!r}; save it inside")
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        unknown = sorted(set(filters) - _KNOWN_FILTERS)
        if unknown:
            raise DataError(
                f"{where} is compressed by the plugin filter {unknown[0]}, and plugins are not loaded; "
                "rewrite the file with `h5repack -f GZIP=4`"
            )
        if dataset.shape is None:
            return
        stored = int(dataset.id.get_storage_size())
        whole = Path(dataset.file.filename).stat().st_size
        declared = int(np.prod([int(n) for n in dataset.shape], dtype=object)) * int(dataset.id.get_type().get_size())
        if declared > min(stored, whole) * (LARGEST_COMPRESSION if filters else 1):
            raise DataError(
                f"{where} declares {dataset.shape} values, {format_bytes(declared)}, but the file stores "
                f"{format_bytes(min(stored, whole))} for them; it was not written to its end, or is damaged"
            )
        if dataset.chunks is not None:
            chunk = int(np.prod([int(n) for n in dataset.chunks], dtype=object)) * dataset.id.get_type().get_size()
            if chunk > max(LONGEST_TEXT, 2 * declared):
                raise DataError(f"{where} has chunks of {format_bytes(chunk)}, more than the dataset; is it damaged?")


def require_numbers(dataset: h5py.Dataset, *, ndim: int) -> None:
    """Require integers, booleans or floats of at most 64 bits, and a number of axes.

    Raises
    ------
    DataError
        For text, references, ragged arrays ("object arrays"), structures, complex numbers, or other axes.
    """
    with translated(Path(dataset.file.filename), f"has values of an unsupported type at {dataset.name}"):
        dtype = dataset.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"{place(dataset)} must hold numbers, but holds {_dtype_name(dtype)}; save it as a plain array of floats"
        )
    if dataset.shape is None or len(dataset.shape) != ndim:
        raise DataError(f"{place(dataset)} must have {ndim} axes, but has shape {dataset.shape}")


def read_numbers(dataset: h5py.Dataset, *, ndim: int) -> Array:
    """Return a whole small dataset of numbers as float64; checks as `require_numbers`."""
    require_numbers(dataset, ndim=ndim)
    with translated(Path(dataset.file.filename), f"cannot be read at {dataset.name}; is it damaged?"):
        return np.asarray(dataset[()], dtype=np.float64)


def read_texts(dataset: h5py.Dataset, *, flat: bool = False) -> list[str]:
    """Return the texts of a scalar (one) or 1-D dataset: fixed or variable length, ASCII or UTF-8.

    With `flat`, datasets of more axes too, in C order.

    Raises
    ------
    DataError
        If it holds something else, a text is not UTF-8 (its place and bytes are given), or the texts together are
        longer than the file (many references to one text).
    """
    path = Path(dataset.file.filename)
    with translated(path, f"has values of an unsupported type at {dataset.name}"):
        dtype, shape = dataset.dtype, dataset.shape
        info = h5py.check_string_dtype(dtype)
    if info is None or shape is None or (len(shape) > 1 and not flat):
        raise DataError(f"{place(dataset)} must hold text in one axis, but holds {_dtype_name(dtype)} {shape}")
    with translated(path, f"cannot be read at {dataset.name}; is it damaged?"):
        if info.length is None:
            raw = read_variable(dataset, place(dataset))
        else:
            raw = [bytes(value) for value in np.ravel(dataset[()])]
    return [_decoded(value, f"text {i} of {place(dataset)}") for i, value in enumerate(raw)]


def _decoded(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8: {value[:80]!r}; save it as UTF-8") from error


def _node(group: h5py.Group, name: str, links_left: int) -> h5py.Group | h5py.Dataset:
    found: Any = group.file if name.startswith("/") else group
    for part in (part for part in name.split("/") if part not in ("", ".")):
        if not isinstance(found, h5py.Group):
            raise DataError(f"{place(found)} is {_kind(found)}, so it has no {part!r}")
        path = Path(found.file.filename)
        with translated(path, f"has a damaged link or object {part!r} in {found.name}"):
            # `part in found` would follow the link; this looks at the link only
            link = found.get(part, getlink=True) if found.id.links.exists(part.encode()) else None
            if isinstance(link, h5py.ExternalLink):
                raise DataError(
                    f"{part!r} of {place(found)} is a link to another file ({link.filename!r}); copy the data into it"
                )
            if isinstance(link, h5py.SoftLink):
                if links_left == 0:
                    raise DataError(f"{part!r} of {place(found)} is a link that leads in a circle")
                found = _node(found, link.path, links_left - 1)
            elif link is None:
                raise DataError(f"{place(found)} has no {part!r}{closest(part, names(found))}")
            else:
                found = found[part]
    if not isinstance(found, h5py.Group | h5py.Dataset):
        raise DataError(f"{name!r} in {group.file.filename} is {_kind(found)}, neither a group nor a dataset")
    return found


def _require_signature(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist; correct the path")
    if not path.is_file():
        raise DataError(f"{path} is not a file; correct the path")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty; copy or download it again")
    with open(path, "rb") as stream:
        start = stream.read(len(SIGNATURE))
        at, found = 512, start == SIGNATURE
        while not found and at < min(size, _LARGEST_USER_BLOCK + 1):
            stream.seek(at)
            found, at = stream.read(len(SIGNATURE)) == SIGNATURE, at * 2
    if not found:
        raise DataError(
            f"{path} is no HDF5 file: it starts with {start!r}, and must with {SIGNATURE!r}; copy it again, or correct "
            "the path"
        )


def _kind(found: object) -> str:
    if isinstance(found, h5py.Dataset):
        return "a dataset"
    return "a group" if isinstance(found, h5py.Group) else f"a {type(found).__name__}"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_ref_dtype(dtype) is not None:
        return "references (an object array)"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "arrays of different lengths (an object array)"
    return f"{dtype}"


def _tail(error: BaseException) -> str:
    """Return an error's text on one line: HDF5's may be long."""
    return " ".join(str(error).split())[-300:]


def require_one(found: Sequence[str], spellings: Sequence[str], where: str) -> str:
    """Return the one of two spellings that a file has.

    Raises
    ------
    DataError
        If it has none of them, or several.
    """
    present = [name for name in spellings if name in found]
    if len(present) != 1:
        rule = f"has no {' or '.join(spellings)}" if not present else f"has both {' and '.join(present)}"
        remedy = f"; it has {', '.join(found[:20]) or 'nothing'}" if not present else "; delete the one not meant"
        raise DataError(f"{where} {rule}{remedy}")
    return present[0]
