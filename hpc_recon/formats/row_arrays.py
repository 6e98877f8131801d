"""Arrays with a row for each stimulus, read some rows at a time: `.npy` and HDF5 from the disk, others as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats import hdf5, labfiles

#: Endings of files that are read by rows.
_BY_ROWS = (".h5", ".hdf5", ".npy")


@dataclass(frozen=True)
class RowArray:
    """One array (n_rows, ...) of numbers in a file, `key` as in `labfiles.read_array`."""

    file: Path
    key: str | None = None

    @property
    def in_pieces(self) -> bool:
        """Whether rows are read without the rest."""
        return self.file.suffix.lower() in _BY_ROWS

    def shape(self) -> tuple[int, ...]:
        """Return its shape, of two axes or more.

        Raises
        ------
        DataError
            If the file or the key is missing, or it does not hold numbers in rows.
        """
        if self.file.suffix.lower() in (".h5", ".hdf5") and self.file.is_file():
            with hdf5.open_hdf5(self.file) as stream:
                dataset = hdf5.dataset_at(stream, self._key())
                axes = len(dataset.shape or ())
                hdf5.require_numbers(dataset, ndim=axes)
                found = tuple(int(n) for n in dataset.shape or ())
        else:
            values = self._whole()
            labfiles.numbers(values[:0], f"{self.key or 'the array'} in {self.file}")
            found = tuple(values.shape)
        if len(found) < 2 or 0 in found:
            raise DataError(
                f"{self.key or 'the array'} in {self.file} must have a row for each stimulus, as (1050, 512), but has "
                f"shape {found}; save it with stimuli first"
            )
        return found

    def read(self, rows: Sequence[int]) -> Array:
        """Return some rows, (n, ...) float32.

        Raises
        ------
        DataError
            If a value is not finite, or the file cannot be read.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if self.file.suffix.lower() in (".h5", ".hdf5"):
            distinct, place = np.unique(wanted, return_inverse=True)
            with hdf5.open_hdf5(self.file) as stream, hdf5.translated(self.file, "cannot be read; is it damaged?"):
                found = np.asarray(hdf5.dataset_at(stream, self._key())[distinct], dtype=np.float32)[place]
        else:
            found = np.asarray(self._whole()[wanted], dtype=np.float32)
        bad = np.argwhere(~np.isfinite(found))
        if len(bad):
            raise DataError(
                f"{self.key or 'the array'} in {self.file} has {len(bad):,} values that are not finite, the first in "
                f"row {wanted[bad[0, 0]]}; remove or repair these stimuli"
            )
        return found

    def _key(self) -> str:
        if self.key is None:
            raise DataError(f"{self.file} holds several arrays; give `key`, which says which one is meant")
        return self.key

    def _whole(self) -> Array:
        if self.file.suffix.lower() == ".npy" and self.file.is_file() and self.key is None:
            try:
                mapped: Array = np.load(self.file, mmap_mode="r", allow_pickle=False)
                return mapped
            except (ValueError, OSError, EOFError) as error:
                raise DataError(f"{self.file} cannot be read as .npy ({error}); is it damaged?") from error
        if not self.file.is_file():
            return labfiles.read_array(self.file, self.key)  # says what is wrong
        status = self.file.stat()
        return _read(self.file, self.key, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4)
def _read(file: Path, key: str | None, _stamp: tuple[int, int]) -> Array:
    """Read a whole array once in a process."""
    return labfiles.read_array(file, key)
