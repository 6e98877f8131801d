"""NIfTI volumes: runs read volume by volume within a mask, masks, atlases, and maps written back. By nibabel.

One file, `.nii` or `.nii.gz` (NIfTI-1 and -2; nifti.nimh.nih.gov); pairs `.hdr`/`.img` are refused: one file would lead
to another. Voxels of a mask are in C order of (i, j, k), as `numpy.nonzero` gives them; that order is kept by
every array here, and by the maps that are written. Values are scaled by the header's slope and intercept.
"""

from __future__ import annotations

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing
from hpc_recon.formats.nifti_bounds import MAX_GZIP_RATIO, require_bounded_header, require_held
from hpc_recon.formats.texts import read_text

#: Two grids are one if no voxel centre is farther apart than this (mm): headers store float32 and round.
GRID_TOLERANCE_MM = 1e-2
#: Seconds of one unit of the header's time.
_TIME_UNITS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
#: Labels above this are no label image but a scan.
_MAX_LABELS = 100_000
#: A table has a line a label.
_MAX_TABLE = 16 * 2**20
_NIBABEL_ERRORS = (ImageFileError, HeaderDataError, WrapStructError)
_READ_ERRORS = (*_NIBABEL_ERRORS, OSError, EOFError, ValueError, KeyError, ArithmeticError, MemoryError, zlib.error)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what nibabel raises about a bad file into one error that names the file."""
    try:
        yield
    except (DataError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except _READ_ERRORS as error:
        raise DataError(
            f"{path}: not a readable NIfTI file: {error}. Is it truncated, or a pointer of git-annex or Git LFS? Fetch"
            " it again."
        ) from error


@dataclass(frozen=True)
class Grid:
    """Where voxels are: `shape` (3 numbers) and `affine` (4, 4) from (i, j, k, 1) to mm."""

    shape: tuple[int, int, int]
    affine: Array

    def differs(self, other: Grid) -> str | None:
        """Return in words how another grid differs, or None. A corner may be 0.01 mm away."""
        if self.shape != other.shape:
            return f"shape {self.shape} and {other.shape}"
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
        corners[:, :3] *= np.array(self.shape) - 1
        apart = float(np.abs(corners @ (self.affine - other.affine).T).max())
        if apart <= GRID_TOLERANCE_MM:
            return None
        mine, its = self.affine[:3].round(3).tolist(), other.affine[:3].round(3).tolist()
        return f"affine {mine} and {its} ({apart:.3g} mm apart)"


@dataclass(frozen=True)
class Mask:
    """Voxels of a grid: `inside` (i, j, k) bool. Voxels are numbered in C order of (i, j, k)."""

    name: str
    grid: Grid
    inside: Array

    @property
    def n_voxels(self) -> int:
        """How many voxels are inside."""
        return int(np.count_nonzero(self.inside))

    def ijk(self) -> Array:
        """Return (n_voxels, 3) int64: the indices of each voxel, from 0."""
        return np.argwhere(self.inside)

    def coordinates_mm(self) -> Array:
        """Return (n_voxels, 3) float64: the centre of each voxel in mm, by the affine."""
        return np.asarray(self.ijk() @ self.grid.affine[:3, :3].T + self.grid.affine[:3, 3])

    def columns_of(self, part: Mask) -> Array:
        """Return (n_voxels,) bool: which voxels of this mask are in another, e.g. a ROI.

        Raises
        ------
        DataError
            If the grids differ.
        """
        require_grid(part.grid, self.grid, part.name, self.name)
        return np.asarray(part.inside[self.inside])


def require_grid(grid: Grid, expected: Grid, name: str, expected_name: str) -> None:
    """Raise `DataError` naming both files and both grids if these differ."""
    difference = grid.differs(expected)
    if difference is not None:
        raise DataError(
            f"{name} and {expected_name} are not on one grid: {difference}. Resample one to the other (nearest"
            " neighbour for labels); nothing is resampled here."
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Grid]]:
    """Open one NIfTI file, check its header against the file's size, and close it in the end.

    Yields nibabel's image, whose voxels are not read yet, and its grid.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: a volume must be one file, .nii or .nii.gz. Convert pairs of .hdr and .img first.")
    is_packed = path.name.endswith(".gz")
    with _reading(path), gzip.open(path) if is_packed else path.open("rb") as stream:
        n_bytes = path.stat().st_size
        size, _ = require_bounded_header(stream, n_bytes * (MAX_GZIP_RATIO if is_packed else 1), path)
        kind: Any = nib.Nifti2Image if size == 540 else nib.Nifti1Image
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # nibabel's of odd extensions, which are not read here
            image: Any = kind.from_file_map({"image": FileHolder(fileobj=stream)}, mmap=False)
        proxy = image.dataobj
        require_held(proxy, path, is_packed=is_packed)
        affine = np.asarray(image.affine, dtype=np.float64)
        shape = tuple(int(n) for n in image.shape)
        if len(shape) < 3 or min(shape) < 1 or not np.isfinite(affine).all() or proxy.dtype.kind not in "iuf":
            raise DataError(
                f"{path}: volumes must have three axes or more, a finite affine and real numbers, not shape {shape} of"
                f" {proxy.dtype} with affine {affine.tolist()}."
            )
        yield image, Grid((shape[0], shape[1], shape[2]), affine)


@dataclass(frozen=True)
class VolumeSeries:
    """A 4-D file and a mask on its grid, nothing read yet. `tr_s` (seconds) is 0 if the header does not know it."""

    path: Path
    mask: Mask
    n_volumes: int
    tr_s: float

    def blocks(self, n_volumes: int = 16) -> Iterator[Array]:
        """Yield the masked voxels of up to `n_volumes` volumes at a time.

        Yields
        ------
        (volumes, n_voxels) float32, scaled by the header, in the order of time.

        Raises
        ------
        DataError
            If the file is truncated or damaged.

        Notes
        -----
        Memory: two whole volumes in float64 and the block. The file is read once from start to end, so a `.nii.gz` is
        decompressed once.
        """
        if n_volumes < 1:
            raise ValueError(f"a block has at least one volume, not {n_volumes}")
        with _opened(self.path) as (image, _):
            for start in range(0, self.n_volumes, n_volumes):
                stop = min(start + n_volumes, self.n_volumes)
                block = np.empty((stop - start, self.mask.n_voxels), dtype=np.float32)
                for row, volume in enumerate(range(start, stop)):
                    values = np.asarray(image.dataobj[..., volume])[self.mask.inside]
                    with np.errstate(over="raise"):  # a value beyond float32 is an error, not infinity
                        block[row] = values
                yield block

    def read(self) -> Array:
        """Return (n_volumes, n_voxels) float32: the whole run within the mask."""
        run = np.empty((self.n_volumes, self.mask.n_voxels), dtype=np.float32)
        row = 0
        for block in self.blocks():
            run[row : row + len(block)] = block
            row += len(block)
        return run


def open_series(path: Path, mask: Mask) -> VolumeSeries:
    """Look at a 4-D NIfTI file: its number of volumes and TR. Voxels are read by `VolumeSeries.blocks`.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz`, axes (i, j, k, volume).
    mask
        The voxels to read; its grid must be the file's.

    Raises
    ------
    DataError
        If the file is unreadable, not 4-D, or on another grid.
    """
    with _opened(path) as (image, grid):
        if len(image.shape) != 4:
            raise DataError(f"{path}: a run must have four axes (i, j, k, volume), not shape {image.shape}.")
        require_grid(grid, mask.grid, str(path), mask.name)
        unit = _TIME_UNITS.get(image.header.get_xyzt_units()[1], 0.0)
        tr_s = float(image.header.get_zooms()[3]) * unit
        return VolumeSeries(path, mask, int(image.shape[3]), tr_s if np.isfinite(tr_s) and tr_s > 0 else 0.0)


def read_grid(path: Path) -> Grid:
    """Return the grid of a NIfTI file, from its header.

    Raises
    ------
    DataError
        If the file is unreadable.
    """
    with _opened(path) as (_, grid):
        return grid


def _read_3d(path: Path) -> tuple[Array, Grid]:
    """Read the only volume of a file: (i, j, k), scaled."""
    with _opened(path) as (image, grid):
        if int(np.prod(image.shape[3:])) != 1:
            raise DataError(f"{path}: a mask or an atlas must be one volume, not shape {image.shape}.")
        return np.asarray(image.dataobj).reshape(grid.shape), grid


def read_mask(path: Path, *, above: float | None = None) -> Mask:
    """Read a mask: the voxels that are not 0, or those above a threshold.

    Parameters
    ----------
    path
        A 3-D NIfTI file.
    above
        Needed for a map of probabilities or statistics: voxels with a greater value are inside.

    Raises
    ------
    DataError
        If the file has NaN, no voxel is inside, or it has several values besides 0 and no threshold is given.
    """
    values, grid = _read_3d(path)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {int((~np.isfinite(values)).sum())} voxels are NaN or infinite; a mask has none.")
    if above is None:
        kinds = np.unique(values[values != 0])
        if kinds.size > 1:
            raise DataError(
                f"{path}: a mask must have one value besides 0, this file has {kinds.size} ({kinds[:4].tolist()} ...)."
                " Give a threshold (`above`), or read it as an atlas."
            )
    inside = values != 0 if above is None else values > above
    if not inside.any():
        raise DataError(f"{path}: no voxel is inside the mask; the largest value is {values.max():g}.")
    return Mask(str(path), grid, inside)


@dataclass(frozen=True)
class Atlas:
    """A label image: `labels` (i, j, k) int32, 0 outside; `names` of the labels that have voxels or a table row."""

    path: Path
    grid: Grid
    labels: Array
    names: Mapping[int, str]

    def mask(self, name: str) -> Mask:
        """Return the voxels of one label.

        Raises
        ------
        DataError
            If there is no such name, or it has no voxel.
        """
        numbers = [number for number, known in self.names.items() if known == name]
        if not numbers:
            raise DataError(
                f"{self.path}: there is no label {name!r}. Known: {', '.join(list(self.names.values())[:20])}."
            )
        inside = np.isin(self.labels, numbers)
        if not inside.any():
            raise DataError(f"{self.path}: label {name!r} (number {numbers[0]}) has no voxel.")
        return Mask(f"{self.path}:{name}", self.grid, inside)


def read_atlas(path: Path, names: Mapping[int, str] | None = None) -> Atlas:
    """Read a label image; each label becomes a ROI.

    Parameters
    ----------
    path
        A 3-D NIfTI file of whole numbers; numbers below 1 are outside (NSD marks voxels without data by -1).
    names
        Name of each number (`read_label_table`); without a table a label is called by its number.

    Raises
    ------
    DataError
        If values are not whole, or a label has no name in the table.
    """
    values, grid = _read_3d(path)
    if not np.isfinite(values).all() or (values != np.rint(values)).any() or values.max() > _MAX_LABELS:
        raise DataError(
            f"{path}: an atlas must have whole numbers up to {_MAX_LABELS}; this looks like a map or a scan."
        )
    labels = np.maximum(values, 0).astype(np.int32)
    found = [int(number) for number in np.unique(labels) if number > 0]
    if names is None:
        names = {number: str(number) for number in found}
    unnamed = [number for number in found if number not in names]
    if unnamed:
        raise DataError(f"{path}: {len(unnamed)} labels have no name in the table: {unnamed[:10]}. Complete the table.")
    return Atlas(path, grid, labels, {number: name for number, name in names.items() if number > 0})


def read_label_table(path: Path) -> dict[int, str]:
    """Read the names of an atlas: BIDS `_dseg.tsv` (columns index and name), or lines of a number and a name.

    Raises
    ------
    DataError
        If a number is missing, not whole, or there twice; the line is named.
    """
    text = read_text(path, limit=_MAX_TABLE, what="table of labels")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    first = lines[0][1].split("\t") if lines else []
    is_bids = "index" in first and "name" in first
    names: dict[int, str] = {}
    for number, line in lines[1:] if is_bids else lines:
        if is_bids:
            cells = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE))
            cells += [""] * (len(first) - len(cells))
            pair = [cells[first.index("index")], cells[first.index("name")]]
        else:
            pair = [*re.split(r"[\s,]+", line.strip(), maxsplit=1), ""][:2]
        if not re.fullmatch(r"-?\d{1,9}", pair[0].strip()) or not pair[1].strip() or int(pair[0]) in names:
            raise DataError(f"{path}, line {number}: needs a new whole number and a name, not {line!r}.")
        names[int(pair[0])] = pair[1].strip()
    if not names:
        raise DataError(f"{path}: the table has no label.")
    return names


def write_map(path: Path, values: Array, mask: Mask, *, outside: float = 0.0) -> None:
    """Write values of voxels as NIfTI-1 float32 on the mask's grid, e.g. weights or how often a voxel was selected.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz`; replaced whole. A `.nii.gz` of equal values has equal bytes.
    values
        (n_voxels,) one map, or (n_maps, n_voxels); in the order of the mask's voxels.
    mask
        Where they belong.
    outside
        Value of all other voxels, 0 or NaN.

    Raises
    ------
    DataError
        If the number of values is not that of the mask's voxels.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: a map is written as .nii or .nii.gz.")
    if values.ndim not in (1, 2) or values.shape[-1] != mask.n_voxels:
        raise DataError(f"{path}: {mask.name} has {mask.n_voxels} voxels, the map's values have shape {values.shape}.")
    maps = np.full((*mask.grid.shape, *values.shape[:-1]), outside, dtype=np.float32)  # (i, j, k[, n_maps])
    maps[mask.inside] = values.T
    kind: Any = nib.Nifti1Image
    image = kind(maps, mask.grid.affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    with replacing(path) as stream:
        stream.write(gzip.compress(content, mtime=0) if path.name.endswith(".gz") else content)
