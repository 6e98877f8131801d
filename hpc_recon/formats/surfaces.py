"""Surfaces: GIFTI runs of two hemispheres, CIFTI-2 runs of grayordinates, their labels, and maps written back.

GIFTI (`.func.gii`, `.label.gii`; nitrc.org/projects/gifti) is XML and is read whole. CIFTI-2 (`.dtseries.nii`,
`.dlabel.nii`, `.dscalar.nii`; nitrc.org/projects/cifti) is NIfTI-2 whose XML says which vertex or voxel each column
is; its values are read by columns, which is how they lie in the file. Data that a file keeps in another file are
refused. Vertices of the left hemisphere come before those of the right.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

import nibabel as nib
import numpy as np
from nibabel.cifti2.cifti2 import Cifti2HeaderError
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, SeriesAxis
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.gifti.parse_gifti_fast import GiftiParseError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing
from hpc_recon.formats.nifti_bounds import require_bounded_header, require_held
from hpc_recon.formats.volumes import Grid
from hpc_recon.formats.xml_bounds import require_bounded_gifti, require_counted, require_no_entities

#: Columns of a CIFTI file read at a time.
_BLOCK_COLUMNS = 4096
#: Bytes parsed at a time to find the first array of a GIFTI file.
_HEAD_BYTES = 65536
#: Seconds of one unit of a CIFTI series; hertz and the like are no time.
_TIME_UNIT = "SECOND"
_NIBABEL_ERRORS = (ImageFileError, HeaderDataError, WrapStructError, Cifti2HeaderError, GiftiParseError, ExpatError)
_PYTHON_ERRORS = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError,
    MemoryError, zlib.error,
)  # fmt: skip


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what nibabel raises about a bad file into one error that names the file.

    Its XML handlers take a well-formed file for granted: a missing element shows as an AttributeError or TypeError.
    """
    try:
        yield
    except (DataError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (*_NIBABEL_ERRORS, *_PYTHON_ERRORS) as error:
        raise DataError(
            f"{path}: not a readable {kind} file: {type(error).__name__}: {error}. Is it truncated, or a pointer of"
            " git-annex or Git LFS? Fetch it again."
        ) from error


def _gifti(path: Path) -> Any:
    """Parse one GIFTI file, after a look at what it announces."""
    with _reading(path, "GIFTI"):
        content = path.read_bytes()
        require_bounded_gifti(content, path)
        kind: Any = nib.GiftiImage
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of empty arrays, which are an error to all who call this
            image = kind.from_bytes(content)
        if image is None or not image.darrays:
            raise DataError(f"{path}: has no data array.")
        return image


def gifti_shape(path: Path) -> tuple[int, int]:
    """Return the numbers of volumes and of vertices of a `.func.gii` file, from its first elements alone.

    Raises
    ------
    DataError
        If the file does not start as GIFTI, or its first array is neither (vertices,) nor, alone, (vertices, volumes).
    """
    n_arrays, first = "0", dict[str, str]()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal n_arrays
        if name == "GIFTI":
            n_arrays = attributes.get("NumberOfDataArrays", "0")
        elif name == "DataArray" and not first:
            first.update(attributes)

    def refuse(*_entity: object) -> None:
        raise DataError(f"{path}: declares XML entities, which no such file needs. It is not read.")

    with _reading(path, "GIFTI"), path.open("rb") as stream:
        parser = ParserCreate()
        parser.StartElementHandler = start
        parser.EntityDeclHandler = refuse
        while not first and (piece := stream.read(_HEAD_BYTES)):
            parser.Parse(piece)
        shape = [int(first[f"Dim{axis}"]) for axis in range(int(first.get("Dimensionality", "0")))]
        if len(shape) == 1 and min(shape[0], int(n_arrays)) > 0:
            return int(n_arrays), shape[0]
        if len(shape) == 2 and int(n_arrays) == 1 and min(shape) > 0:
            return shape[1], shape[0]
    raise DataError(f"{path}: {n_arrays} arrays, the first of shape {shape}; a run has one of (vertices,) a volume.")


def read_gifti(path: Path) -> Array:
    """Read the values of one hemisphere.

    Parameters
    ----------
    path
        `.func.gii` or `.shape.gii`: one array a volume, or one array (vertices, volumes).

    Returns
    -------
    (n_volumes, n_vertices) float32.

    Raises
    ------
    DataError
        If the file is damaged, keeps data elsewhere, or its arrays differ in size.
    """
    arrays = [np.asarray(array.data) for array in _gifti(path).darrays]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or 0 in arrays[0].shape or any(array.dtype.kind not in "iuf" for array in arrays):
        raise DataError(f"{path}: arrays must be numbers of one size, not of {sorted(shapes)[:5]}.")
    if len(arrays) == 1 and arrays[0].ndim == 2:
        return np.ascontiguousarray(arrays[0].T, dtype=np.float32)
    if arrays[0].ndim != 1:
        raise DataError(f"{path}: each array must be (vertices,), not {arrays[0].shape}. Is it a surface mesh?")
    return np.stack(arrays).astype(np.float32)


def read_hemispheres(left: Path, right: Path) -> Array:
    """Read a run of both hemispheres.

    Returns
    -------
    (n_volumes, n_left + n_right) float32.

    Raises
    ------
    DataError
        If a file is unusable or the hemispheres have other numbers of volumes.
    """
    runs = read_gifti(left), read_gifti(right)
    if len(runs[0]) != len(runs[1]):
        raise DataError(
            f"{left} has {len(runs[0])} volumes, {right} has {len(runs[1])}. Are they hemispheres of one run?"
        )
    return np.concatenate(runs, axis=1)


def read_gifti_labels(path: Path) -> tuple[Array, dict[int, str]]:
    """Read a `.label.gii` file: (n_vertices,) int32 label numbers, and the name of each number.

    Raises
    ------
    DataError
        If the file is damaged, has several arrays, values that are no whole numbers, or numbers without a name.
    """
    image = _gifti(path)
    labels = np.asarray(image.darrays[0].data)
    if len(image.darrays) != 1 or labels.ndim != 1:
        raise DataError(
            f"{path}: a label file must have one array of vertices, not {len(image.darrays)} of {labels.shape}."
        )
    with _reading(path, "GIFTI"):
        names = {int(number): str(name) for number, name in image.labeltable.get_labels_as_dict().items()}
    return _checked_labels(labels, names, path), names


def _checked_labels(labels: Array, names: Mapping[int, str], path: Path) -> Array:
    """Return label numbers as int32 if they are whole and have names (0 may have none)."""
    found = np.unique(labels)
    if not np.isfinite(found).all() or (found != np.rint(found)).any():
        raise DataError(f"{path}: labels must be whole numbers; this looks like a map.")
    unnamed = [int(number) for number in found if number != 0 and int(number) not in names]
    if unnamed:
        raise DataError(f"{path}: {len(unnamed)} labels have no name in the file's table: {unnamed[:10]}.")
    return labels.astype(np.int32)


def write_gifti(path: Path, values: Array) -> None:
    """Write maps of one hemisphere as GIFTI: `values` (n_vertices,) or (n_maps, n_vertices), float32.

    Raises
    ------
    DataError
        If the values have another number of axes.
    """
    if values.ndim not in (1, 2) or values.size == 0:
        raise DataError(f"{path}: maps must be (n_vertices,) or (n_maps, n_vertices), not {values.shape}.")
    kinds: Any = nib.gifti
    maps = np.atleast_2d(values).astype(np.float32)
    arrays = [kinds.GiftiDataArray(row, intent="NIFTI_INTENT_NONE", datatype="NIFTI_TYPE_FLOAT32") for row in maps]
    content = kinds.GiftiImage(darrays=arrays).to_bytes()
    with replacing(path) as stream:
        stream.write(content)


@dataclass(frozen=True)
class Grayordinates:
    """What the columns of a CIFTI file are: nibabel's `axis` and the file that said so."""

    path: Path
    axis: Any

    @property
    def n_columns(self) -> int:
        """How many vertices and voxels."""
        return len(self.axis)

    def structures(self) -> Array:
        """Return (n_columns,) texts such as `CIFTI_STRUCTURE_CORTEX_LEFT`."""
        return np.asarray(self.axis.name).astype(str)

    def vertices(self) -> Array:
        """Return (n_columns,) int64: the vertex of its surface, -1 for a voxel."""
        return np.asarray(self.axis.vertex, dtype=np.int64)

    def ijk(self) -> Array:
        """Return (n_columns, 3) int64: the voxel of the volume, -1 for a vertex."""
        return np.asarray(self.axis.voxel, dtype=np.int64)

    def surface_sizes(self) -> dict[str, int]:
        """Return how many vertices the whole surface of each structure has that is one."""
        return {str(name): int(n) for name, n in self.axis.nvertices.items()}

    def grid(self) -> Grid | None:
        """Return the grid of the voxels; None if all columns are vertices."""
        if self.axis.volume_shape is None:
            return None
        i, j, k = (int(n) for n in self.axis.volume_shape)
        return Grid((i, j, k), np.asarray(self.axis.affine, dtype=np.float64))

    def require_same(self, other: Grayordinates) -> None:
        """Raise `DataError` naming both files if their columns are not the same vertices and voxels."""
        if self.n_columns != other.n_columns:
            raise DataError(
                f"{self.path} has {self.n_columns} grayordinates, {other.path} has {other.n_columns}. Resample one."
            )
        if self.axis != other.axis:
            raise DataError(
                f"{self.path} and {other.path} have {self.n_columns} grayordinates each, but of other structures or"
                " vertices. Resample one to the other."
            )


@contextmanager
def _cifti(path: Path) -> Iterator[tuple[Any, Any, Grayordinates]]:
    """Open a dense CIFTI file: nibabel's image, its first axis, and its columns."""
    if not path.name.endswith(".nii"):
        raise DataError(f"{path}: a CIFTI file is one .nii file, not compressed.")
    with _reading(path, "CIFTI"), path.open("rb") as stream:
        _, n_header = require_bounded_header(stream, path.stat().st_size, path)
        require_no_entities(stream.read(n_header), path)
        stream.seek(0)
        kind: Any = nib.Cifti2Image
        with warnings.catch_warnings():
            # nibabel warns of odd extensions, and where the XML and the header differ in shape: an error below.
            warnings.simplefilter("ignore", UserWarning)
            image = kind.from_file_map({"image": FileHolder(fileobj=stream)}, mmap=False)
        if len(image.shape) != 2:
            raise DataError(f"{path}: must have two axes, not shape {image.shape}.")
        require_held(image.dataobj, path)
        require_counted(image.header, image.shape, path)
        first, columns = image.header.get_axis(0), image.header.get_axis(1)
        if not isinstance(columns, BrainModelAxis):
            raise DataError(f"{path}: is not dense: its columns are a {type(columns).__name__}. Use the dense file.")
        if (len(first), len(columns)) != tuple(image.shape):
            raise DataError(f"{path}: the header describes {(len(first), len(columns))} values, not {image.shape}.")
        if image.dataobj.dtype.kind not in "iuf" or 0 in image.shape:
            raise DataError(f"{path}: must have real numbers, not {image.dataobj.dtype} of shape {image.shape}.")
        # The first row and the last value are read: a file that was cut is known before a run is planned on it.
        np.asarray(image.dataobj[-1:, -1:])
        yield image, first, Grayordinates(path, columns)


@dataclass(frozen=True)
class CiftiSeries:
    """A `.dtseries.nii` file, nothing read yet. `tr_s` (seconds) is 0 if the series is not one of time."""

    grayordinates: Grayordinates
    n_volumes: int
    tr_s: float

    def read(self, columns: Array | None = None) -> Array:
        """Return (n_volumes, n) float32: all columns, or those of (n_columns,) bool, 4,096 at a time."""
        path = self.grayordinates.path
        chosen = np.ones(self.grayordinates.n_columns, dtype=bool) if columns is None else columns
        if chosen.dtype != bool or chosen.shape != (self.grayordinates.n_columns,):
            raise DataError(
                f"{path} has {self.grayordinates.n_columns} grayordinates; columns must be as many bools, not"
                f" {chosen.dtype} of {chosen.shape}."
            )
        run = np.empty((self.n_volumes, int(chosen.sum())), dtype=np.float32)
        done = 0
        with _cifti(path) as (image, _, _):
            for start in range(0, chosen.size, _BLOCK_COLUMNS):
                part = chosen[start : start + _BLOCK_COLUMNS]
                if part.any():
                    block = np.asarray(image.dataobj[:, start : start + part.size])[:, part]
                    with np.errstate(over="raise"):  # a value beyond float32 is an error, not infinity
                        run[:, done : done + block.shape[1]] = block
                    done += block.shape[1]
        return run


def open_cifti(path: Path) -> CiftiSeries:
    """Look at a `.dtseries.nii` file.

    Raises
    ------
    DataError
        If it is damaged, not dense, or not a series.
    """
    with _cifti(path) as (image, first, grayordinates):
        if not isinstance(first, SeriesAxis):
            raise DataError(f"{path}: is no series: its rows are a {type(first).__name__}.")
        tr_s = float(first.step) if first.unit == _TIME_UNIT else 0.0
        return CiftiSeries(grayordinates, int(image.shape[0]), tr_s if np.isfinite(tr_s) and tr_s > 0 else 0.0)


def read_dense_labels(path: Path) -> tuple[Array, dict[int, str], Grayordinates]:
    """Read a `.dlabel.nii` file: (n_columns,) int32 labels, the name of each number, and what the columns are.

    Raises
    ------
    DataError
        If the file is damaged, or has several maps.
    """
    with _cifti(path) as (image, first, own):
        if not isinstance(first, LabelAxis) or len(first) != 1:
            raise DataError(f"{path}: must have one map of labels, not {len(first)} rows of {type(first).__name__}.")
        names = {int(number): str(entry[0]) for number, entry in first.label[0].items()}
        return _checked_labels(np.asarray(image.dataobj)[0], names, path), names, own


def write_cifti(path: Path, values: Array, grayordinates: Grayordinates, names: Sequence[str]) -> None:
    """Write maps as `.dscalar.nii`, float32.

    Parameters
    ----------
    path
        Ends in `.dscalar.nii`; replaced whole.
    values
        (n_maps, n_columns).
    grayordinates
        Of the run that the maps belong to.
    names
        One a map.

    Raises
    ------
    DataError
        If shape or names do not fit.
    """
    if not path.name.endswith(".dscalar.nii"):
        raise DataError(f"{path}: maps of grayordinates are written as .dscalar.nii.")
    if values.shape != (len(names), grayordinates.n_columns) or not names:
        raise DataError(
            f"{path}: {len(names)} names and {grayordinates.n_columns} grayordinates need values of that shape, not"
            f" {values.shape}."
        )
    kinds: Any = nib.cifti2
    image = kinds.Cifti2Image(values.astype(np.float32), (kinds.ScalarAxis(list(names)), grayordinates.axis))
    image.update_headers()
    content = image.to_bytes()
    with replacing(path) as stream:
        stream.write(content)
