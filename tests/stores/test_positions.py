from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.stores import brain, layout, positions

AFFINE = np.array([[0.0, 2, 0, -10], [-2, 0, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])
KEY = "ingest/S1"


def surfaces_and_voxels() -> positions.Positions:
    """Three vertices of two hemispheres, two voxels of a nucleus."""
    return positions.Positions(
        ijk=np.array([[-1] * 3] * 3 + [[1, 0, 2], [1, 1, 2]], dtype=np.int32),
        vertex=np.array([0, 7, 7, -1, -1], dtype=np.int32),
        structure=np.array([0, 0, 1, 2, 2], dtype=np.int32),
        structures=("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT", "CIFTI_STRUCTURE_THALAMUS_LEFT"),
        grid_shape=(2, 3, 4),
        affine=AFFINE / 3,  # numbers that have no short decimal
        surface_sizes={"CIFTI_STRUCTURE_CORTEX_LEFT": 8, "CIFTI_STRUCTURE_CORTEX_RIGHT": 10},
    )


@pytest.fixture
def write(tmp_path):
    """Return a function that writes samples of five voxels and positions, with a receipt."""

    def make(found: positions.Positions, *, n_voxels: int = 5) -> None:
        made = brain.Brain(np.zeros((2, n_voxels), np.float32), ("a", "b"))
        files = brain.write_brain(tmp_path, "S1", "training", made, made_by=KEY)
        files += positions.write_positions(tmp_path, "S1", found, made_by=KEY)
        receipts.write(tmp_path, Tile(Group("ingest", ("S1",)), "brain", 0, 1), files, {})

    return make


def test_what_is_written_is_read(write, tmp_path):
    wanted = surfaces_and_voxels()
    write(wanted)
    found = positions.read_positions(tmp_path, "S1")
    for field in dataclasses.fields(wanted):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name), strict=True)
    assert found.in_grid.tolist() == [False] * 3 + [True] * 2


def test_mm_follow_the_affine_and_vertices_have_none():
    found = dataclasses.replace(surfaces_and_voxels(), affine=AFFINE).mm
    assert np.isnan(found[:3]).all()
    oracle = [[AFFINE[r] @ [i, j, k, 1] for r in range(3)] for i, j, k in ((1, 0, 2), (1, 1, 2))]
    np.testing.assert_array_equal(found[3:], oracle)


def test_a_subject_without_positions_has_none(tmp_path):
    brain.write_brain(tmp_path, "S1", "training", brain.Brain(np.zeros((2, 5), np.float32), ("a", "b")), made_by=KEY)
    assert positions.read_positions(tmp_path, "S1") is None


def test_the_number_of_voxels_is_still_that_of_the_samples(write, tmp_path):
    write(surfaces_and_voxels())
    assert brain.n_voxels_of(tmp_path, "S1") == 5


def test_samples_come_first(tmp_path):
    with pytest.raises(MissingStore, match="samples"):
        positions.write_positions(tmp_path, "S1", surfaces_and_voxels(), made_by=KEY)


BAD = {
    "outside the grid": ({"grid_shape": (2, 3, 2)}, r"2 voxels lie outside the grid \(2, 3, 2\), .* voxel 4 at \[1, 0"),
    "no affine": ({"affine": None}, r"2 voxels lie in a grid, but its shape"),
    "infinite affine": ({"affine": np.full((4, 4), np.inf)}, r"affine is not finite"),
    "two at one place": ({"ijk": np.array([[-1] * 3] * 3 + [[1, 0, 2]] * 2)}, r"1 voxels lie where another one lies"),
    "a vertex in a grid": ({"ijk": np.array([[0, 0, 0]] + [[-1] * 3] * 2 + [[1, 0, 2], [1, 1, 2]])}, r"ijk of -1"),
    "beyond the surface": ({"surface_sizes": {}}, r"CORTEX_LEFT has vertex 7, but its surface 0 vertices"),
    "unknown structure": ({"structures": ("volume",)}, r"structures are numbered 0 to 0, but found 0 to 2"),
    "lengths": ({"structure": np.zeros(4, np.int32)}, r"ijk is \(n_voxels, 3\), .*got \(\(5, 3\), \(5,\), \(4,\)\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_positions_that_do_not_fit_are_refused(write, tmp_path, case):
    change, message = BAD[case]
    with pytest.raises(DataError, match=message):
        write(dataclasses.replace(surfaces_and_voxels(), **change))
    assert not (tmp_path / layout.positions("S1").path).exists()


def test_as_many_positions_as_voxels(write):
    with pytest.raises(DataError, match="there are 5 positions, but the samples of S1 have 6 voxels"):
        write(surfaces_and_voxels(), n_voxels=6)


def test_positions_that_are_gone_are_missed(write, tmp_path):
    write(surfaces_and_voxels())
    shutil.rmtree(tmp_path / layout.positions("S1").path)
    with pytest.raises(DamagedStore, match=r"positions was written but is gone .*--redo"):
        positions.read_positions(tmp_path, "S1")


def test_samples_with_other_voxels_are_noticed(write, tmp_path):
    write(surfaces_and_voxels())
    shutil.rmtree(tmp_path / layout.samples("S1", "training").path)
    brain.write_brain(tmp_path, "S1", "training", brain.Brain(np.zeros((2, 6), np.float32), ("a", "b")), made_by=KEY)
    with pytest.raises(DamagedStore, match="there are 5 positions, but 6 voxels in the samples"):
        positions.read_positions(tmp_path, "S1")


def test_no_dataset_may_take_the_name():
    with pytest.raises(DataError, match="'positions': the positions of voxels lie there"):
        layout.samples("S1", "positions")
