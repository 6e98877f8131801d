"""Columns of a CIFTI file from places: read back by nibabel, equal to the places."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import grayordinates, surfaces

LEFT, RIGHT = "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"
IJK = np.array([[-1] * 3] * 3 + [[1, 0, 2], [1, 2, 3]])
VERTEX = np.array([0, 7, 7, -1, -1])
AFFINE = np.array([[0.0, 2, 0, -10], [-2, 0, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])


def made(structures: list[str], vertex: np.ndarray = VERTEX, **sizes: int) -> surfaces.Grayordinates:
    return grayordinates.of_places(
        structures,
        ijk=IJK,
        vertex=vertex,
        affine=AFFINE,
        grid_shape=(2, 3, 4),
        surface_sizes=sizes or {LEFT: 8, RIGHT: 10},
    )


def test_written_maps_lie_at_the_places(tmp_path: Path) -> None:
    values = np.arange(10, dtype=np.float32).reshape(2, 5)
    path = tmp_path / "a.dscalar.nii"
    surfaces.write_cifti(path, values, made([LEFT, LEFT, RIGHT, "volume", "volume"]), ["one", "two"])
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), values)
    axis = image.header.get_axis(1)
    np.testing.assert_array_equal(axis.vertex, VERTEX)
    np.testing.assert_array_equal(axis.voxel, IJK)
    assert list(axis.name) == [LEFT, LEFT, RIGHT, grayordinates.OTHER, grayordinates.OTHER]
    assert axis.nvertices == {LEFT: 8, RIGHT: 10}
    assert axis.volume_shape == (2, 3, 4)
    np.testing.assert_allclose(axis.affine, AFFINE)


def test_structures_must_follow_each_other_and_surfaces_have_sizes() -> None:
    with pytest.raises(DataError, match="must follow each other, but 4 runs"):
        made([LEFT, RIGHT, LEFT, "volume", "volume"])
    with pytest.raises(DataError, match=f"whole surface of {RIGHT} has an unknown number"):
        made([LEFT, LEFT, RIGHT, "volume", "volume"], **{LEFT: 8})
