"""Where voxels lie: masks, hemispheres, grayordinates, and what a study says of plain arrays and BData."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_recon import ingest
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import VoxelSet
from hpc_recon.core.ingest_options import IngestSubject
from hpc_recon.exchange import places
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.stores import brain, positions

from .conftest import AFFINE, SHAPE, save_labels, save_volume

MASK = np.random.default_rng(3).random(SHAPE) < 0.2
IJK = np.argwhere(MASK)
N_VOXELS = len(IJK)
MM = np.array([(AFFINE @ [*voxel, 1])[:3] for voxel in IJK])


@pytest.fixture
def given(tmp_path):
    """Return a function that reads the positions which a subject's section gives, with files of all kinds there."""
    save_volume(tmp_path / "mask.nii.gz", MASK.astype(np.uint8))
    save_volume(tmp_path / "grid.nii.gz", np.zeros(SHAPE, np.uint8))
    wrong = {"off": MM + np.array([0.3, 0, 0]), "half": IJK + 0.5, "four": np.ones((4, 4))}
    np.savez(tmp_path / "x.npz", ijk=IJK, ijk1=IJK.T + 1, mm=MM, **wrong)

    def make(n_voxels=N_VOXELS, **options):
        options = {k: {"file": tmp_path / "x.npz", "key": v} if k in ("ijk", "xyz") else v for k, v in options.items()}
        options = {k: tmp_path / v if k in ("mask", "grid") else v for k, v in options.items()}
        subject = IngestSubject.model_validate({"datasets": {}, "positions": options})
        return places.given(subject, n_voxels)

    return make


def test_voxels_of_a_mask_in_either_order(given):
    np.testing.assert_array_equal(given(mask="mask.nii.gz").ijk, IJK)
    found = given(mask="mask.nii.gz", order="F").ijk
    oracle = [(i, j, k) for k in range(SHAPE[2]) for j in range(SHAPE[1]) for i in range(SHAPE[0]) if MASK[i, j, k]]
    assert [tuple(row) for row in found.tolist()] == oracle
    matlab = np.arange(MASK.size).reshape(SHAPE, order="F")  # what `find(mask)` lists in ascending order
    assert np.all(np.diff([matlab[tuple(row)] for row in found]) > 0)


@pytest.mark.parametrize(
    "options",
    [{"ijk": "ijk"}, {"ijk": "ijk1", "first_index": 1}, {"xyz": "mm"}],
)
def test_indices_and_mm_in_a_grid(given, options):
    found = given(grid="grid.nii.gz", **options)
    np.testing.assert_array_equal(found.ijk, IJK)
    np.testing.assert_allclose(found.mm, MM, atol=1e-4)
    assert found.grid_shape == SHAPE


BAD = {
    "off the grid": (
        {"xyz": "off"},
        r"\d+ of \d+ voxels are more than 0\.05 of a voxel away .* first is voxel 1 at",
    ),
    "not whole": ({"ijk": "half"}, r"indices that are not whole numbers, the first is voxel 1: .*; are they mm"),
    "from 1": ({"ijk": "ijk1"}, r"lie outside the grid \(5, 6, 4\)"),
    "four columns": ({"ijk": "four"}, r"is \(n_voxels, 3\) or \(3, n_voxels\), got \(4, 4\)"),
    "no BData": ({"bdata": "ijk"}, r"no dataset of the subject has any; give ijk or xyz"),
}


@pytest.mark.parametrize("case", BAD)
def test_positions_that_are_wrong_are_refused(given, case):
    options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        given(grid="grid.nii.gz", **options)


def test_one_position_a_voxel(given):
    with pytest.raises(DataError, match=rf"mask\.nii\.gz has {len(IJK)} voxels, but the samples have 7; give one"):
        given(7, mask="mask.nii.gz")


@pytest.mark.parametrize("keys", ["ijk", "xyz"])
def test_bdata_say_it_by_their_keys(tmp_path, make_study, run_verb, keys):
    n = len(IJK)
    values = MM if keys == "xyz" else IJK.astype(float)
    x = np.random.default_rng(0).normal(size=(4, n))
    write_bdata(
        tmp_path / "S1.h5",
        {"VoxelData": x, "name": np.array([1.0, 2, 1, 2])},
        metadata={f"voxel_{axis}": Row("VoxelData", values[:, i]) for i, axis in enumerate(keys)},
        vmaps={"name": {1.0: "training-0001", 2.0: "training-0002"}},
    )
    save_volume(tmp_path / "grid.nii.gz", np.zeros(SHAPE, np.uint8))
    inside = np.zeros(SHAPE, np.uint8)
    inside[tuple(IJK[1])] = inside[tuple(IJK[4])] = 1
    save_volume(tmp_path / "roi.nii.gz", inside)
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).random((2, 8, 8)))
    subject = {
        "datasets": {"training": {"bdata": {"files": "S1.h5", "labels": {"key": "name"}}}},
        "positions": {"grid": "grid.nii.gz", "bdata": keys},
        "rois": {"R": {"mask": "roi.nii.gz"}},
    }
    study = make_study(
        simulate=None,
        datasets={"training": {"role": "training"}},
        ingest={
            "subjects": {"S1": subject},
            "stimuli": {"training": {"array": {"file": "images.npz", "key": "images"}, "scale": 1.0}},
        },
    )
    tiles = run_verb(ingest, study)
    found = positions.read_positions(study.workspace, "S1")
    np.testing.assert_array_equal(found.ijk, IJK)
    np.testing.assert_allclose(found.mm, MM, atol=1e-4)
    assert np.flatnonzero(brain.read_roi(study.workspace, "S1", "R")).tolist() == [1, 4]
    assert len(ingest.work(study, tiles[1])) == tiles[1].need.files_out


def test_masks_in_common(tmp_path):
    one, other = MASK.copy(), MASK.copy()
    one[tuple(IJK[0])] = other[tuple(IJK[1])] = False
    for name, mask in (("a", one), ("b", other), ("c", ~MASK)):
        save_volume(tmp_path / f"{name}.nii", mask.astype(np.uint8))
    found = places.common_mask([tmp_path / "a.nii", tmp_path / "b.nii"])
    np.testing.assert_array_equal(found.ijk(), IJK[2:])
    with pytest.raises(DataError, match=r"a\.nii and 1 more masks have no voxel in common"):
        places.common_mask([tmp_path / "a.nii", tmp_path / "c.nii"])
    save_volume(tmp_path / "c.nii", MASK.astype(np.uint8), np.eye(4))
    with pytest.raises(DataError, match=r"c\.nii and .*a\.nii are not on one grid"):
        places.common_mask([tmp_path / "a.nii", tmp_path / "c.nii"])


def test_masks_of_hemispheres(tmp_path):
    left = save_labels(tmp_path / "l.label.gii", np.array([0, 1, 1]), {0: "?", 1: "V1"})
    right = save_labels(tmp_path / "r.label.gii", np.zeros(2), {0: "?", 1: "V1"})
    source = VoxelSet(left_mask=left, right_mask=right)
    found = places.hemisphere_masks(source, (3, 2))
    assert [mask.tolist() for mask in found] == [[False, True, True], [False, False]]
    assert [mask.tolist() for mask in places.hemisphere_masks(VoxelSet(), (2, 1))] == [[True] * 2, [True]]
    with pytest.raises(DataError, match=r"r\.label\.gii has 2 vertices, but the data 4"):
        places.hemisphere_masks(source, (3, 4))
    with pytest.raises(DataError, match=r"no vertex is inside"):
        places.hemisphere_masks(VoxelSet(left_mask=right, right_mask=right), (2, 2))


def test_the_same_voxels_are_the_same():
    one = positions.of_grid(IJK, SHAPE, AFFINE)
    assert places.same(one, positions.of_grid(IJK, SHAPE, AFFINE + 1e-5))
    assert not places.same(one, positions.of_grid(IJK, SHAPE, AFFINE + 0.1))
    assert not places.same(one, positions.of_grid(IJK[::-1], SHAPE, AFFINE))
    assert not places.same(one, positions.of_grid(IJK, (9, 9, 9), AFFINE))
    surface = places.of_hemispheres(np.ones(3, bool), np.ones(2, bool))
    assert places.same(surface, dataclasses.replace(surface))
    assert not places.same(surface, places.of_hemispheres(np.ones(2, bool), np.ones(3, bool)))
    assert places.grid_of(surface) is None
