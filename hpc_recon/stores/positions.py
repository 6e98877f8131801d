"""Where each voxel of a subject lies: its place in a grid of voxels, or its vertex of a surface.

One array of integers beside the samples of a split, whose attributes say what the integers mean; so that maps can be
written on the grid that the data came from. A subject whose data came without positions has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore, DataError
from hpc_recon.stores import arrays, brain, checks, layout, metadata

#: The structure of a voxel of a volume that names no structure.
VOLUME = "volume"
#: Columns of the stored array: i, j, k, vertex, structure.
N_COLUMNS = 5


@dataclass(frozen=True)
class Positions:
    """Where each voxel lies, in the order of the samples.

    Attributes
    ----------
    ijk
        (n_voxels, 3) int32 indices in the grid, from 0; -1 for a vertex of a surface.
    vertex
        (n_voxels,) int32 vertex of the structure's surface, from 0; -1 for a voxel of the grid.
    structure
        (n_voxels,) int32 index into `structures`.
    structures
        Names: `volume` for a volume that names none, else CIFTI's, such as `CIFTI_STRUCTURE_CORTEX_LEFT`.
    grid_shape, affine
        The grid: three numbers, and (4, 4) float64 from (i, j, k, 1) to mm; None if no voxel lies in a grid.
    surface_sizes
        Vertices of the whole surface of each structure that is one.
    """

    ijk: Array
    vertex: Array
    structure: Array
    structures: tuple[str, ...]
    grid_shape: tuple[int, int, int] | None = None
    affine: Array | None = None
    surface_sizes: dict[str, int] = field(default_factory=dict)

    @property
    def n_voxels(self) -> int:
        """How many voxels and vertices there are."""
        return len(self.vertex)

    @property
    def in_grid(self) -> Array:
        """(n_voxels,) bool: which lie in the grid; the others are vertices."""
        return np.asarray(self.vertex < 0)

    @property
    def mm(self) -> Array:
        """(n_voxels, 3) float64: the centre of each voxel in mm, by the affine; NaN for a vertex."""
        found = np.full((self.n_voxels, 3), np.nan)
        if self.affine is not None:
            inside = self.in_grid
            found[inside] = self.ijk[inside] @ self.affine[:3, :3].T + self.affine[:3, 3]
        return found


def of_grid(ijk: Array, shape: tuple[int, int, int], affine: Array) -> Positions:
    """Return the positions of voxels that all lie in one grid: `ijk` (n_voxels, 3), from 0.

    Examples
    --------
    >>> of_grid(np.array([[0, 0, 0], [1, 2, 3]]), (2, 3, 4), np.diag([2.0, 2, 2, 1])).mm.tolist()
    [[0.0, 0.0, 0.0], [2.0, 4.0, 6.0]]
    """
    n = len(ijk)
    return Positions(
        np.asarray(ijk, dtype=np.int32),
        np.full(n, -1, dtype=np.int32),
        np.zeros(n, dtype=np.int32),
        (VOLUME,),
        (int(shape[0]), int(shape[1]), int(shape[2])),
        np.asarray(affine, dtype=np.float64),
    )


def write_positions(workspace: Path, split: str, positions: Positions, *, made_by: str) -> list[Path]:
    """Create and write the positions of a split's voxels, after its samples, and return the files written.

    Raises
    ------
    DataError
        If shapes or numbers do not fit each other, two voxels lie at one place, or the samples have other voxels.
    MissingStore
        If the split has no samples yet.
    """
    ref = layout.positions(split)
    problem = _problem(positions)
    if problem is not None:
        raise DataError(f"{ref.path}: {problem}; correct the positions or their grid")
    n_voxels = brain.n_voxels_of(workspace, split)
    if positions.n_voxels != n_voxels:
        raise DataError(
            f"{ref.path}: there are {positions.n_voxels} positions, but the samples of {split} have {n_voxels} voxels; "
            f"give one for each"
        )
    columns = [positions.ijk, positions.vertex[:, None], positions.structure[:, None]]
    values = np.concatenate(columns, axis=1).astype(np.int32)  # (n_voxels, 5)
    affine = None if positions.affine is None else [[float(x) for x in row] for row in positions.affine]
    arrays.create(
        workspace,
        ref,
        shape=values.shape,
        dtype=np.int32,
        geometry=layout.whole_geometry(*values.shape),
        made_by=made_by,
        attributes={
            "structures": list(positions.structures),
            "grid_shape": None if positions.grid_shape is None else list(positions.grid_shape),
            "affine": affine,
            "surface_sizes": dict(sorted(positions.surface_sizes.items())),
        },
    )
    return arrays.write(workspace, ref, (0, 0), values)


def read_positions(workspace: Path, split: str) -> Positions | None:
    """Read the positions of a split's voxels; None if the subject's data came without.

    Raises
    ------
    DamagedStore
        If they were written but are gone, or do not fit their own grid or the samples.
    """
    ref = layout.positions(split)
    if not checks.was_written(workspace, split, ref):
        return None
    values = arrays.read(workspace, ref)
    stored = metadata.describe(workspace, ref).attributes
    shape, affine = stored["grid_shape"], stored["affine"]
    found = Positions(
        np.ascontiguousarray(values[:, :3]),
        np.ascontiguousarray(values[:, 3]),
        np.ascontiguousarray(values[:, 4]),
        tuple(stored["structures"]),
        None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2])),
        None if affine is None else np.array(affine, dtype=np.float64),
        {str(name): int(n) for name, n in stored["surface_sizes"].items()},
    )
    problem = _problem(found)
    n_voxels = brain.n_voxels_of(workspace, split)
    if problem is None and found.n_voxels != n_voxels:
        problem = f"there are {found.n_voxels} positions, but {n_voxels} voxels in the samples"
    if problem is not None:
        raise DamagedStore(f"{ref.path}: {problem}; make them anew with {ref.command} --redo")
    return found


def _problem(positions: Positions) -> str | None:
    """Return what does not fit, in words, or None."""
    n = len(positions.vertex)
    shapes = (positions.ijk.shape, positions.vertex.shape, positions.structure.shape)
    if n == 0 or shapes != ((n, 3), (n,), (n,)):
        return f"ijk is (n_voxels, 3), vertex and structure (n_voxels,), at least one voxel; got {shapes}"
    named = positions.structure
    if named.min() < 0 or named.max() >= len(positions.structures):
        return f"structures are numbered 0 to {len(positions.structures) - 1}, but found {named.min()} to {named.max()}"
    inside = positions.in_grid
    if (positions.ijk[~inside] != -1).any():
        return "a vertex has ijk of -1, because it lies in no grid"
    if inside.any():
        if positions.grid_shape is None or positions.affine is None or positions.affine.shape != (4, 4):
            return f"{np.count_nonzero(inside)} voxels lie in a grid, but its shape and (4, 4) affine are not given"
        if not np.isfinite(positions.affine).all():
            return "the affine is not finite"
        beyond = ((positions.ijk < 0) | (positions.ijk >= np.array(positions.grid_shape))).any(axis=1) & inside
        if beyond.any():
            first = int(np.argmax(beyond))
            return (
                f"{np.count_nonzero(beyond)} voxels lie outside the grid {positions.grid_shape}, the first is voxel "
                f"{first + 1} at {positions.ijk[first].tolist()}"
            )
    for index, name in enumerate(positions.structures):
        vertices = positions.vertex[~inside & (named == index)]
        size = positions.surface_sizes.get(name, 0)
        if vertices.size and vertices.max() >= size:
            return f"{name} has vertex {vertices.max()}, but its surface {size} vertices"
    places = np.column_stack([positions.ijk, positions.vertex, np.where(inside, 0, named)])
    n_twice = n - len(np.unique(places, axis=0))
    return f"{n_twice} voxels lie where another one lies" if n_twice else None
