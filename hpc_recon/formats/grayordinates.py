"""The columns of a CIFTI file made from places of voxels and vertices, for maps whose run is not at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.cifti2.cifti2_axes import BrainModelAxis

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats.surfaces import Grayordinates

#: Structure of voxels of which nothing more is known.
OTHER = "CIFTI_STRUCTURE_OTHER"


def of_places(
    structures: Sequence[str],
    *,
    ijk: Array,
    vertex: Array,
    affine: Array | None,
    grid_shape: tuple[int, int, int] | None,
    surface_sizes: Mapping[str, int],
) -> Grayordinates:
    """Return grayordinates in the order given.

    Parameters
    ----------
    structures
        Name of the structure of each; those of one name follow each other. A name that is not CIFTI's is `OTHER`.
    ijk
        (n, 3) voxel of the grid, -1 for a vertex.
    vertex
        (n,) vertex, -1 for a voxel.
    affine, grid_shape
        Of the grid; None if no voxel lies in one.
    surface_sizes
        Vertices of the whole surface of each structure that is one.

    Raises
    ------
    DataError
        If a structure comes again after another one, or a surface has no size.
    """
    names = np.array([name if name.startswith("CIFTI_STRUCTURE_") else OTHER for name in structures])
    changes = 1 + int(np.count_nonzero(names[1:] != names[:-1]))
    if changes != len(set(names.tolist())):
        raise DataError(f"grayordinates of one structure must follow each other, but {changes} runs of structures do")
    surfaces = set(names[vertex >= 0].tolist())
    unknown = sorted(surfaces - set(surface_sizes))
    if unknown:
        raise DataError(f"the whole surface of {', '.join(unknown)} has an unknown number of vertices")
    kind: Any = BrainModelAxis
    axis = kind(
        names,
        np.asarray(ijk, dtype=np.int64),
        np.asarray(vertex, dtype=np.int64),
        affine,
        grid_shape,
        {name: int(n) for name, n in surface_sizes.items() if name in surfaces},
    )
    return Grayordinates(Path("places of voxels"), axis)
