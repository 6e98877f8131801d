"""BData: samples by columns in HDF5, with metadata that say what each column is. Read without loading the file.

Layout (specs, section 3.1; bdpy's `BData`), with the older spellings that are read but not written:

- `dataset` (`dataSet`): (n_samples, n_columns) numbers: voxels, labels, run numbers, motion parameters;
- `metadata/key`, `description`, `value` (`metaData/...`): names, texts, and (n_keys, n_columns) numbers, of which 1
  means that the column belongs to the key, NaN or another number that it does not, or numbers such as coordinates;
- `vmap/<key>/<number>`: the text that a number in the column of a key stands for; optional;
- `header/<name>`: texts; optional.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.text import closest
from hpc_recon.formats import hdf5
from hpc_recon.formats.selectors import Reading, select_columns

#: What bdpy gives for a sample without a label.
NO_LABEL = "n/a"
#: Bytes of the file held at once while columns are read: large enough for the disk's full speed.
BLOCK_BYTES = 16 << 20
#: Entries of a vmap that are listed to find those wanted: HDF5 takes 30 s to list a million names.
LISTED_ENTRIES = 10_000
_FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


class BData:
    """A BData file: names and descriptions are read when it is opened, numbers and labels when asked for.

    The file is open only during a call, so nothing needs closing.

    Parameters
    ----------
    path
        The `.h5` file.

    Raises
    ------
    DataError
        If it is no HDF5 file, truncated, or no BData (the part that is missing or does not fit is named).

    Notes
    -----
    Memory: `BLOCK_BYTES` (one chunk, where chunks are larger) and what is returned. Threads may share an object.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._member: dict[str, Array] = {}
        with hdf5.open_hdf5(self.path) as file:
            self._state = self._status()
            found = hdf5.names(file)
            where = f"{self.path} is no BData file: it"
            self._values = hdf5.require_one(found, ("dataset", "dataSet"), where)
            self._metadata = hdf5.require_one(found, ("metadata", "metaData"), where)
            self._has_vmap, self._has_header = "vmap" in found, "header" in found
            dataset = hdf5.dataset_at(file, self._values)
            hdf5.require_numbers(dataset, ndim=2)
            self.shape: tuple[int, int] = (int(dataset.shape[0]), int(dataset.shape[1]))
            self._precision = np.float32 if dataset.dtype.kind == "f" and dataset.dtype.itemsize < 8 else np.float64
            if 0 in self.shape:
                raise DataError(f"{hdf5.place(dataset)} is empty, its shape is {self.shape}; it holds no samples")
            self.keys: tuple[str, ...] = tuple(hdf5.read_texts(hdf5.dataset_at(file, f"{self._metadata}/key")))
            texts = tuple(hdf5.read_texts(hdf5.dataset_at(file, f"{self._metadata}/description")))
            self._require_metadata(file, len(texts))
            self.descriptions: dict[str, str] = dict(zip(self.keys, texts, strict=True))

    @property
    def header(self) -> dict[str, Any]:
        """The header: name to text, number, or list of texts; empty where the file has none."""
        with self._open() as file:
            if not self._has_header:
                return {}
            group = hdf5.group_at(file, "header")
            return {name: _header_value(hdf5.dataset_at(group, name)) for name in hdf5.names(group)}

    @property
    def vmaps(self) -> tuple[str, ...]:
        """The keys whose numbers stand for texts."""
        with self._open() as file:
            return tuple(hdf5.names(hdf5.group_at(file, "vmap"))) if self._has_vmap else ()

    def columns(self, selector: str, *, reading: Reading = "agreed") -> Array:
        """Return the columns that a selector chooses, int64, in dataset order; see `formats.selectors`."""
        try:
            return select_columns(selector, self.keys, self.member, reading=reading)
        except DataError as error:
            if str(self.path) in str(error):
                raise
            raise DataError(f"{self.path}: {error}") from error

    def member(self, key: str) -> Array:
        """Return the (n_columns,) bool mask of the columns that belong to a key: those whose value is 1."""
        if key not in self._member:
            self._member[key] = self.value(key) == 1
        return self._member[key]

    def value(self, key: str) -> Array:
        """Return the metadata numbers of a key, (n_columns,) float64: 1 and NaN, or coordinates and the like.

        Raises
        ------
        DataError
            If the key is unknown, or occurs several times with different numbers.
        """
        rows = [i for i, name in enumerate(self.keys) if name == key]
        if not rows:
            raise DataError(f"{self.path} has no metadata key {key!r}{closest(key, self.keys)}")
        with self._open() as file:
            dataset = hdf5.dataset_at(file, f"{self._metadata}/value")
            with hdf5.translated(self.path, f"cannot be read at {dataset.name}"):
                first, *others = (np.asarray(dataset[row], dtype=np.float64) for row in rows)
        if any(not np.array_equal(first, other, equal_nan=True) for other in others):
            raise DataError(
                f"{self.path} has the metadata key {key!r} {len(rows)} times with different values; keep one"
            )
        return first

    def read(
        self,
        columns: str | Array | None = None,
        rows: slice | Array | None = None,
        *,
        dtype: Any = np.float32,
    ) -> Array:
        """Return samples by columns, reading the file in blocks.

        Parameters
        ----------
        columns
            A selector, column indices in the wanted order, a (n_columns,) bool mask, or None for all.
        rows
            A slice, sample indices in the wanted order, a (n_samples,) bool mask, or None for all.
        dtype
            float32 or float64.

        Returns
        -------
        Array
            (rows, columns), C-contiguous; NaN where the file has NaN.

        Raises
        ------
        DataError
            If an index is outside, or a number is too large for float32.
        """
        wanted = np.dtype(dtype)
        if wanted not in _FLOATS:
            raise DataError(f"dtype must be float32 or float64, but is {wanted}")
        if isinstance(columns, str):
            columns = self.columns(columns)
        column = _indices(columns, self.shape[1], f"columns of {self.path}")
        row = _indices(rows, self.shape[0], f"rows of {self.path}")
        out = np.empty((row.size, column.size), dtype=wanted)
        with self._open() as file, hdf5.translated(self.path, f"cannot be read at {self._values}"):
            _gather(hdf5.dataset_at(file, self._values), row, column, out)
        return out

    def numbers(self, key: str, *, column: int | None = None) -> Array:
        """Return the column of a key, (n_samples,) float64; float32 if the file has no more, so that ids are refused.

        Parameters
        ----------
        key
            Metadata key, such as `Run`; taken as it is, not as a selector.
        column
            Which of several columns of the key, from 0; None where it has one.

        Raises
        ------
        DataError
            If the key is unknown, or its number of columns does not fit.
        """
        places = np.flatnonzero(self.member(key))
        if column is None and places.size != 1:
            raise DataError(f"{key!r} in {self.path} has {places.size} columns; say which with column=0, 1, ...")
        chosen = 0 if column is None else column
        if not 0 <= chosen < places.size:
            raise DataError(f"{key!r} in {self.path} has {places.size} columns, so column={column} does not exist")
        return self.read(places[[chosen]], dtype=self._precision)[:, 0]

    def label(self, key: str, *, column: int | None = None) -> tuple[str, ...]:
        """Return the text of each sample by the key's vmap; `n/a` where the number is NaN.

        Raises
        ------
        DataError
            If the key has no vmap (the keys that have one are listed), or a number is not in it.
        """
        numbers = self.numbers(key, column=column)
        texts = self.vmap(key, numbers)
        return tuple(NO_LABEL if math.isnan(number) else texts[number] for number in numbers.tolist())

    def vmap(self, key: str, numbers: Array) -> dict[float, str]:
        """Return the texts that some numbers of a key stand for; of a large vmap, no other text is read.

        Raises
        ------
        DataError
            If the key has no vmap, a number is not in it, or is in it with two texts.
        """
        known = self.vmaps
        if key not in known:
            have = f"keys that have one: {', '.join(known[:20])}" if known else "no key of the file has one"
            raise DataError(f"{self.path} has no vmap for {key!r} ({have}); read its numbers instead")
        wanted = {float(number) for number in np.unique(numbers[~np.isnan(numbers)])}
        found: dict[float, str] = {}
        with self._open() as file:
            group = hdf5.group_at(hdf5.group_at(file, "vmap"), key)
            for name, number in _vmap_entries(group, wanted):
                (text,) = _one_text(hdf5.dataset_at(group, name))
                if found.setdefault(number, text) != text:
                    raise DataError(f"{hdf5.place(group)} gives {number} two texts, {found[number]!r} and {text!r}")
        missing = sorted(wanted - set(found))
        if missing:
            raise DataError(
                f"{missing[0]} ({len(missing)} numbers) of {key!r} in {self.path} is not in its vmap; add it"
            )
        return found

    def _require_metadata(self, file: h5py.File, n_descriptions: int) -> None:
        values = hdf5.dataset_at(file, f"{self._metadata}/value")
        hdf5.require_numbers(values, ndim=2)
        if values.shape != (len(self.keys), self.shape[1]) or n_descriptions != len(self.keys):
            raise DataError(
                f"{self.path}: {self._metadata} has {len(self.keys)} keys, {n_descriptions} descriptions and values of "
                f"shape {values.shape} for {self.shape[1]} columns; values must be (keys, columns), and each key "
                "have a description. Write the file again"
            )

    def _status(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        with hdf5.open_hdf5(self.path) as file:
            if self._status() != self._state:
                raise DataError(f"{self.path} has changed since it was opened; open it again")
            yield file


def _gather(dataset: h5py.Dataset, row: Array, column: Array, out: Array) -> None:
    """Fill `out` from blocks of whole chunks: of a contiguous dataset, a chunk is a row between the outer columns."""
    if not out.size:
        return
    if dataset.chunks is None:
        first, height = int(column.min()), 1
        width = int(column.max()) + 1 - first
    else:
        first, (height, width) = 0, (int(n) for n in dataset.chunks)
    step = max(1, BLOCK_BYTES // max(1, width * dataset.dtype.itemsize * height)) * height
    by_row, by_column = np.argsort(row, kind="stable"), np.argsort(column, kind="stable")
    for low in range(first, dataset.shape[1], width):
        places = _within(column, by_column, low, low + width)
        if not places.size:
            continue
        high = min(low + width, dataset.shape[1])
        for top in range(0, dataset.shape[0], step):
            targets = _within(row, by_row, top, top + step)
            if not targets.size:
                continue
            begin, end = int(row[targets[0]]), int(row[targets[-1]]) + 1
            block, local = dataset[begin:end, low:high], row[targets] - begin
            whole = np.array_equal(local, np.arange(end - begin))  # the usual case: one copy, not two
            taken = block[:, column[places] - low] if whole else block[np.ix_(local, column[places] - low)]
            _store(taken, out, targets, places, dataset)


def _store(taken: Array, out: Array, targets: Array, places: Array, dataset: h5py.Dataset) -> None:
    with np.errstate(over="ignore"):
        cast = taken.astype(out.dtype, copy=False)
    if taken.dtype.itemsize > out.dtype.itemsize and (np.isinf(cast) & np.isfinite(taken)).any():
        raise DataError(f"{hdf5.place(dataset)} has numbers too large for {out.dtype}; read it as float64")
    if np.array_equal(places, np.arange(out.shape[1])):  # the usual case: without a copy more
        out[targets] = cast
    else:
        out[np.ix_(targets, places)] = cast


def _within(index: Array, order: Array, low: int, high: int) -> Array:
    """Return the places whose index is in [low, high), by index."""
    bounds = np.searchsorted(index, (low, high), sorter=order)
    return order[bounds[0] : bounds[1]]


def _indices(chosen: slice | Array | None, length: int, where: str) -> Array:
    """Return indices as int64, checked."""
    if chosen is None or isinstance(chosen, slice):
        return np.arange(length)[chosen if chosen is not None else slice(None)]
    found = np.asarray(chosen)
    if found.dtype == bool:
        if found.shape != (length,):
            raise DataError(f"{where}: a mask must have shape {(length,)}, but has {found.shape}")
        return np.flatnonzero(found)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise DataError(f"{where}: indices must be whole numbers in one axis, but are {found.dtype} {found.shape}")
    found = found.astype(np.int64)
    if found.size and (found.min() < 0 or found.max() >= length):
        raise DataError(f"{where}: indices must be 0 to {length - 1}, but are {found.min()} to {found.max()}")
    return found


def _vmap_entries(group: h5py.Group, wanted: set[float]) -> Iterator[tuple[str, float]]:
    """Yield name and number of the wanted entries; in a large group by the usual spellings, where they suffice."""
    if len(group) > LISTED_ENTRIES:
        spelled = {
            number: [name for name in _spellings(number) if group.id.links.exists(name.encode())] for number in wanted
        }
        if all(spelled.values()):
            yield from ((name, number) for number, found in spelled.items() for name in found)
            return
    for name in hdf5.names(group):
        number = _vmap_number(name, hdf5.place(group))
        if number in wanted:
            yield name, number


def _spellings(number: float) -> list[str]:
    """Return how bdpy (`1.0`), and those who had integers (`1`), name an entry."""
    return [repr(number)] + ([str(int(number))] if number.is_integer() else [])


def _vmap_number(name: str, where: str) -> float:
    try:
        return float(name)
    except ValueError as error:
        raise DataError(
            f"{where} has the entry {name!r}, which is no number; rename it to the number it means"
        ) from error


def _one_text(dataset: h5py.Dataset) -> list[str]:
    found = hdf5.read_texts(dataset)
    if len(found) != 1:
        raise DataError(f"{hdf5.place(dataset)} must hold one text, but holds {len(found)}")
    return found


def _header_value(dataset: h5py.Dataset) -> Any:
    with hdf5.translated(Path(dataset.file.filename), f"has values of an unsupported type at {dataset.name}"):
        numeric = dataset.dtype.kind in "biuf"
    if numeric:
        return hdf5.read_numbers(dataset, ndim=len(dataset.shape or ())).tolist()
    found = hdf5.read_texts(dataset)
    return found if dataset.shape else found[0]
