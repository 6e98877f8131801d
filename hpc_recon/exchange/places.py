"""Where voxels lie, from masks, surfaces and grayordinates: `stores.positions.Positions` of what `formats` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import VoxelPositions, VoxelSet
from hpc_recon.core.ingest_options import IngestSubject
from hpc_recon.core.ingest_section import ArrayKey
from hpc_recon.formats import labfiles, surfaces, volumes
from hpc_recon.formats.bdata import BData
from hpc_recon.stores import positions
from hpc_recon.stores.positions import Positions

#: CIFTI's names of the two cortical surfaces, which GIFTI files of two hemispheres get too.
CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
#: Part of a voxel that a position in mm may be away from a centre: files round to 0.01 mm or so, voxels are 1 to 3 mm.
SNAP_TOLERANCE = 0.05
#: A voxel smaller than this has an affine that cannot be inverted; real ones are above 0.001 mm3.
_LEAST_VOLUME_MM3 = 1e-9


def common_mask(paths: Sequence[Path]) -> volumes.Mask:
    """Return the voxels that are inside all masks.

    Raises
    ------
    DataError
        If a file is no mask, the grids differ, or no voxel is inside all of them.
    """
    first, *others = [volumes.read_mask(path) for path in paths]
    inside = first.inside
    for other in others:
        volumes.require_grid(other.grid, first.grid, other.name, first.name)
        inside = inside & other.inside
    if not inside.any():
        raise DataError(f"{first.name} and {len(others)} more masks have no voxel in common; name fewer or others")
    return replace(first, inside=inside)


def of_mask(mask: volumes.Mask) -> Positions:
    """Return the positions of a mask's voxels."""
    return positions.of_grid(mask.ijk(), mask.grid.shape, mask.grid.affine)


def hemisphere_masks(source: VoxelSet, sizes: tuple[int, int]) -> tuple[Array, Array]:
    """Return which vertices of two hemispheres are kept, (n_left,) and (n_right,) bool: all without masks.

    Raises
    ------
    DataError
        If a mask has another number of vertices, NaN, or no vertex.
    """
    if source.left_mask is None or source.right_mask is None:
        return np.ones(sizes[0], dtype=bool), np.ones(sizes[1], dtype=bool)
    masks = []
    for path, size in ((source.left_mask, sizes[0]), (source.right_mask, sizes[1])):
        mask = surface_mask(path)
        if len(mask) != size:
            raise DataError(f"{path} has {len(mask)} vertices, but the data {size}; give a mask on their surface")
        masks.append(mask)
    if not (masks[0].any() or masks[1].any()):
        raise DataError(f"{source.left_mask} and {source.right_mask}: no vertex is inside; a member is not 0")
    return masks[0], masks[1]


def of_hemispheres(left: Array, right: Array) -> Positions:
    """Return the positions of the kept vertices, left before right, from two bool masks over all vertices."""
    vertex = np.concatenate([np.flatnonzero(left), np.flatnonzero(right)]).astype(np.int32)
    structure = np.repeat([0, 1], [np.count_nonzero(left), np.count_nonzero(right)]).astype(np.int32)
    return Positions(
        np.full((len(vertex), 3), -1, dtype=np.int32),
        vertex,
        structure,
        CORTEX,
        surface_sizes=dict(zip(CORTEX, (len(left), len(right)), strict=True)),
    )


def of_grayordinates(columns: surfaces.Grayordinates, chosen: Array) -> Positions:
    """Return the positions of the chosen columns, (n_columns,) bool, of a CIFTI file."""
    names = columns.structures()[chosen]
    structures = tuple(dict.fromkeys(names.tolist()))
    number = {name: i for i, name in enumerate(structures)}
    vertex, grid = columns.vertices()[chosen].astype(np.int32), columns.grid()
    in_grid = bool((vertex < 0).any())
    return Positions(
        columns.ijk()[chosen].astype(np.int32),
        vertex,
        np.array([number[name] for name in names.tolist()], dtype=np.int32),
        structures,
        grid.shape if grid is not None and in_grid else None,
        grid.affine if grid is not None and in_grid else None,
        {name: n for name, n in columns.surface_sizes().items() if name in number},
    )


def same(one: Positions, other: Positions) -> bool:
    """Return whether two positions are the same voxels in the same order, on one grid (0.01 mm) or surface."""
    if not np.array_equal(one.ijk, other.ijk) or not np.array_equal(one.vertex, other.vertex):
        return False
    names, others = (np.array(p.structures)[p.structure] for p in (one, other))
    if not np.array_equal(names, others) or one.surface_sizes != other.surface_sizes:
        return False
    mine, its = grid_of(one), grid_of(other)
    return mine is its is None or (mine is not None and its is not None and mine.differs(its) is None)


def grid_of(found: Positions) -> volumes.Grid | None:
    """Return the grid that voxels lie in, None if there is none."""
    if found.grid_shape is None or found.affine is None:
        return None
    return volumes.Grid(found.grid_shape, found.affine)


def given(subject: IngestSubject, n_voxels: int) -> Positions | None:
    """Return the positions that the study gives for plain arrays or BData; None if it gives none.

    Raises
    ------
    DataError
        If a file, a key or a number is wrong, they are not `n_voxels`, or one lies outside the grid or off it.
    """
    source = subject.positions
    if source is None:
        return None
    if source.mask is not None:
        mask = volumes.read_mask(source.mask)
        order = np.lexsort(mask.ijk().T) if source.order == "F" else slice(None)
        ijk, grid, what = mask.ijk()[order], mask.grid, str(source.mask)
    else:
        assert source.grid is not None, "the study was validated"
        grid = volumes.read_grid(source.grid)
        ijk, what = _in_grid(source, subject, grid)
    if len(ijk) != n_voxels:
        raise DataError(f"positions: {what} has {len(ijk)} voxels, but the samples have {n_voxels}; give one for each")
    beyond = ((ijk < 0) | (ijk >= np.array(grid.shape))).any(axis=1)
    if beyond.any():
        first = int(np.argmax(beyond))
        raise DataError(
            f"positions: {np.count_nonzero(beyond)} of {len(ijk)} voxels of {what} lie outside the grid {grid.shape}, "
            f"the first is voxel {first + 1} at {ijk[first].tolist()} (from 0); correct them, the grid or first_index"
        )
    return positions.of_grid(ijk, grid.shape, grid.affine)


def _in_grid(source: VoxelPositions, subject: IngestSubject, grid: volumes.Grid) -> tuple[Array, str]:
    """Return (n, 3) indices in the grid, from indices or mm in an array or in BData, and what they are called."""
    if source.bdata is not None:
        axes, what = _bdata_axes(subject, source.bdata)
        return (_whole(axes, what) if source.bdata == "ijk" else _snapped(axes, grid, what)), what
    key = source.ijk or source.xyz
    assert key is not None, "the study was validated"
    what = f"{key.file}{f' {key.key}' if key.key else ''}"
    axes = _three(key, what)
    if source.ijk is not None:
        return _whole(axes, what) - source.first_index, what
    return _snapped(axes, grid, what), what


def _three(key: ArrayKey, what: str) -> Array:
    """Return (n, 3) float64 of an array that is (n, 3) or (3, n)."""
    values = labfiles.numbers(labfiles.read_array(key.file, key.key), f"positions: {what}").astype(np.float64)
    if values.ndim != 2 or 3 not in values.shape or values.shape == (3, 3):
        raise DataError(f"positions: {what} is (n_voxels, 3) or (3, n_voxels), got {values.shape}")
    return values if values.shape[1] == 3 else values.T


def _bdata_axes(subject: IngestSubject, kind: str) -> tuple[Array, str]:
    """Return (n, 3) of the keys of the subject's BData, for the voxels of its first dataset that is BData."""
    sources = [dataset.bdata for dataset in subject.datasets.values() if dataset.bdata is not None]
    if not sources:
        raise DataError("positions: bdata reads keys of BData, but no dataset of the subject has any; give ijk or xyz")
    keys = ("voxel_i", "voxel_j", "voxel_k") if kind == "ijk" else ("voxel_x", "voxel_y", "voxel_z")
    table = BData(sources[0].files[0])
    chosen = table.columns(sources[0].voxels)
    return np.stack([table.value(key)[chosen] for key in keys], axis=1), f"{', '.join(keys)} of {table.path}"


def _whole(values: Array, what: str) -> Array:
    bad = ~(np.isfinite(values) & (values == np.rint(values))).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"positions: {what}: {np.count_nonzero(bad)} of {len(values)} voxels have indices that are not "
            f"whole numbers, the first is voxel {first + 1}: {values[first].tolist()}; are they mm (xyz)?"
        )
    return values.astype(np.int64)


def _snapped(values: Array, grid: volumes.Grid, what: str) -> Array:
    """Return the indices of the voxels whose centres are at `values` (mm)."""
    if abs(np.linalg.det(grid.affine[:3, :3])) < _LEAST_VOLUME_MM3:
        raise DataError(
            f"positions: the affine of the grid for {what} has no inverse: {grid.affine.tolist()}; repair it"
        )
    inverse = np.linalg.inv(grid.affine)
    exact = values @ inverse[:3, :3].T + inverse[:3, 3]
    found = np.rint(exact)
    away = np.abs(exact - found).max(axis=1)
    bad = ~(away <= SNAP_TOLERANCE)  # NaN is bad
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"positions: {what}: {np.count_nonzero(bad)} of {len(values)} voxels are more than {SNAP_TOLERANCE:g} of a "
            f"voxel away from a centre of the grid, the first is voxel {first + 1} at {values[first].tolist()} mm, "
            f"which is {exact[first].round(3).tolist()} in the grid; name the grid that these mm belong to"
        )
    return found.astype(np.int64)


def surface_mask(path: Path) -> Array:
    """Return which vertices of a `.label.gii`, `.shape.gii` or `.func.gii` are not 0, (n_vertices,) bool.

    Raises
    ------
    DataError
        If the file is unusable, has several maps, or NaN.
    """
    if path.name.endswith(".label.gii"):
        values, _ = surfaces.read_gifti_labels(path)
    else:
        maps = surfaces.read_gifti(path)
        if len(maps) != 1:
            raise DataError(f"{path}: a mask must be one map, not {len(maps)}; give one with a single array")
        values = maps[0]
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {np.count_nonzero(~np.isfinite(values))} vertices are NaN; a mask has none")
    return np.asarray(values != 0)
