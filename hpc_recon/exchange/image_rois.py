"""ROIs from images: masks and atlases on the grid of the samples, labels of hemispheres, parcels of grayordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import IngestRoi
from hpc_recon.core.text import closest
from hpc_recon.exchange import places
from hpc_recon.formats import surfaces, volumes
from hpc_recon.stores.positions import Positions


def is_image(roi: IngestRoi) -> bool:
    """Return whether an ROI is given as an image."""
    return roi.mask is not None or roi.atlas is not None or roi.left is not None


def read(name: str, roi: IngestRoi, positions: Positions | None) -> Array:
    """Return which voxels of the samples are members, (n_voxels,) bool, at least one.

    Parameters
    ----------
    name
        The ROI's, for errors.
    roi
        With `mask`, `atlas`, or `left` and `right`.
    positions
        Where the voxels of the samples lie; None where that is not known.

    Raises
    ------
    DataError
        If positions are not known, the image is on another grid or surface (both are named), a label does not occur, or
        no voxel is a member.
    """
    what = f"rois.{name}"
    if positions is None:
        raise DataError(f"{what} is an image, but it is not known where the voxels lie; give the subject's `positions`")
    if roi.mask is not None:
        mask = volumes.read_mask(roi.mask, above=roi.above)
        member = _in_volume(mask.inside, mask.grid, positions, roi.mask, what)
    else:
        labels, names, image = _labels(roi, positions, what)
        numbers = _numbers(roi.labels, names, image, what)
        member = np.isin(labels, numbers)
    if not member.any():
        chosen = "" if roi.labels is None else f" with the labels {', '.join(map(str, roi.labels))}"
        where = roi.mask or roi.atlas or f"{roi.left} and {roi.right}"
        raise DataError(f"{what} has no voxel: none of the {len(member)} of the samples is in {where}{chosen}")
    return np.asarray(member, dtype=bool)


def _in_volume(values: Array, grid: volumes.Grid, positions: Positions, path: Path, what: str) -> Array:
    """Return the value of an image (i, j, k) at each voxel; 0 for vertices."""
    own = places.grid_of(positions)
    if own is None:
        raise DataError(f"{what}: {path} is a volume, but the samples are vertices of surfaces; give left and right")
    volumes.require_grid(grid, own, f"{what}: {path}", "the samples")
    found = np.zeros(positions.n_voxels, dtype=values.dtype)
    inside = positions.in_grid
    found[inside] = values[tuple(positions.ijk[inside].T)]
    return found


def _labels(roi: IngestRoi, positions: Positions, what: str) -> tuple[Array, Mapping[int, str], str]:
    """Return the label of each voxel (0 outside), the names of the labels, and what the image is called."""
    if roi.left is not None and roi.right is not None:
        found, names = np.zeros(positions.n_voxels, dtype=np.int32), dict[int, str]()
        for path, structure in zip((roi.left, roi.right), places.CORTEX, strict=True):
            labels, own = surfaces.read_gifti_labels(path)
            contradicting = [n for n in own if n in names and names[n] != own[n]]
            if contradicting:
                raise DataError(
                    f"{what}: the label {contradicting[0]} is {names[contradicting[0]]!r} in {roi.left} and "
                    f"{own[contradicting[0]]!r} in {path}; give tables that agree"
                )
            names |= own
            _on_surface(found, labels, structure, positions, path, what)
        return found, names, f"{roi.left} and {roi.right}"
    assert roi.atlas is not None, "the study was validated"
    if roi.atlas.name.endswith(".dlabel.nii"):
        labels, names, columns = surfaces.read_dense_labels(roi.atlas)
        return _of_columns(labels, columns, positions, what), names, str(roi.atlas)
    table = volumes.read_label_table(roi.table) if roi.table is not None else None
    atlas = volumes.read_atlas(roi.atlas, table)
    return _in_volume(atlas.labels, atlas.grid, positions, roi.atlas, what), atlas.names, str(roi.atlas)


def _on_surface(found: Array, labels: Array, structure: str, positions: Positions, path: Path, what: str) -> None:
    """Put the labels of one surface at its vertices."""
    size = positions.surface_sizes.get(structure)
    if size is None:
        raise DataError(
            f"{what}: {path} is of {structure}, but the samples have {', '.join(positions.structures)}; give an atlas "
            f"of these"
        )
    if len(labels) != size:
        raise DataError(
            f"{what}: {path} has {len(labels)} vertices, but the surface of the samples {size}; resample one"
        )
    here = (positions.structure == positions.structures.index(structure)) & ~positions.in_grid
    found[here] = labels[positions.vertex[here]]


def _of_columns(labels: Array, columns: surfaces.Grayordinates, positions: Positions, what: str) -> Array:
    """Return the label of each voxel from a file of grayordinates that may have others too; 0 where it has none."""
    parts = places.of_grayordinates(columns, np.ones(columns.n_columns, dtype=bool))
    for structure, size in parts.surface_sizes.items():
        own = positions.surface_sizes.get(structure, size)
        if own != size:
            raise DataError(
                f"{what}: the surface {structure} of {columns.path} has {size} vertices, that of the samples {own}; "
                f"resample one to the other"
            )
    mine, its = places.grid_of(positions), places.grid_of(parts)
    if mine is not None and its is not None:
        volumes.require_grid(its, mine, f"{what}: {columns.path}", "the samples")
    known = dict(zip(_keys(parts), labels.tolist(), strict=True))
    keys = _keys(positions)
    if not any(key in known for key in keys):
        raise DataError(f"{what}: {columns.path} has none of the {len(keys)} voxels and vertices of the samples")
    return np.array([known.get(key, 0) for key in keys], dtype=np.int32)


def _keys(positions: Positions) -> list[tuple[str, int, int, int]]:
    """Return what makes each place unique: the structure and vertex, or the indices in the grid."""
    names = [positions.structures[index] for index in positions.structure.tolist()]
    rows = zip(names, positions.vertex.tolist(), positions.ijk.tolist(), strict=True)
    return [(name, vertex, -1, -1) if vertex >= 0 else ("", *ijk) for name, vertex, ijk in rows]


def _numbers(wanted: Sequence[int | str] | None, names: Mapping[int, str], image: str, what: str) -> list[int]:
    """Return the numbers of labels given by name or number; all that are not 0 where none are given."""
    if wanted is None:
        return [number for number in names if number != 0]
    numbers: list[int] = []
    for label in wanted:
        fitting = [n for n, name in names.items() if (n == label if isinstance(label, int) else name == label)]
        if not fitting:
            known = ", ".join(f"{number} {name}" for number, name in list(names.items())[:20])
            hint = closest(label, list(names.values())) if isinstance(label, str) else ""
            raise DataError(f"{what}: {image} has no label {label!r}{hint} (it has {known})")
        numbers += fitting
    return numbers
