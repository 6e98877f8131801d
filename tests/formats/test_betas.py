"""Betas as NSD stores them, written by h5py and nibabel, read within masks."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats.betas import NSD_SCALE, open_betas, read_trials
from hpc_recon.formats.volumes import Grid, Mask

SHAPE = (4, 5, 6)
N_TRIALS = 37


@pytest.fixture
def mask() -> Mask:
    return Mask("mask.nii", Grid(SHAPE, np.eye(4)), np.random.default_rng(0).random(SHAPE) < 0.3)


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(1).integers(-3000, 3000, (*SHAPE, N_TRIALS), dtype=np.int16)


def expected(stored: np.ndarray, mask: Mask) -> np.ndarray:
    return np.array([[stored[i, j, k, t] / 300 for i, j, k in mask.ijk()] for t in range(N_TRIALS)])


def save(path: Path, values: np.ndarray, key: str = "betas") -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=values, chunks=True)
    return path


def test_matlabs_axes_and_volumes_are_the_same_samples(tmp_path: Path, mask: Mask, stored: np.ndarray) -> None:
    """MATLAB's (X, Y, Z, trial) is (trial, Z, Y, X) in the file."""
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "b.nii.gz")
    reversed_file = save(tmp_path / "b.hdf5", np.transpose(stored, (3, 2, 1, 0)))
    written = save(tmp_path / "w.h5", stored)
    files = [
        open_betas(tmp_path / "b.nii.gz", mask, scale=NSD_SCALE),
        open_betas(reversed_file, mask, scale=NSD_SCALE),
        open_betas(written, mask, scale=NSD_SCALE, axes="as written"),
    ]
    for betas in files:
        assert (betas.n_trials, betas.n_voxels) == (N_TRIALS, mask.n_voxels)
        assert [len(block) for block in betas.blocks()] == [16, 16, 5]
        found = betas.read()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected(stored, mask), rtol=1e-6)


def test_surfaces_are_trials_by_vertices(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((9, 50)).astype(np.float32)
    inside = np.arange(50) % 3 == 0
    found = open_betas(save(tmp_path / "lh.hdf5", values), inside).read()
    np.testing.assert_array_equal(found, values[:, inside])


def test_bad_betas_are_named(tmp_path: Path, mask: Mask, stored: np.ndarray) -> None:
    path = save(tmp_path / "b.hdf5", stored)
    with pytest.raises(DataError, match=r"b\.hdf5: betas is int16 of shape \(4, 5, 6, 37\).*Try axes: as written"):
        open_betas(path, mask)
    with pytest.raises(DataError, match="beta"):
        open_betas(path, mask, key="beta")
    with pytest.raises(DataError, match="scale must be above 0"):
        open_betas(path, mask, scale=0)
    with pytest.raises(DataError, match="need a mask with a grid"):
        open_betas(tmp_path / "b.nii.gz", mask.inside)
    with pytest.raises(DataError, match="must be bool"):
        open_betas(path, mask.inside.astype(int))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"b\.hdf5"):
        open_betas(path, mask, axes="as written")


def test_a_data_set_in_another_file_is_refused(tmp_path: Path, mask: Mask, stored: np.ndarray) -> None:
    save(tmp_path / "other.h5", stored)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["betas"] = h5py.ExternalLink("other.h5", "/betas")
    with pytest.raises(DataError, match=r"link\.h5"):
        open_betas(tmp_path / "link.h5", mask, axes="as written")


def test_trials_are_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("nsd001\nnsd002\n")
    assert read_trials(path, 2) == ("nsd001", "nsd002")
    with pytest.raises(DataError, match=r"2 labels \(0 empty\) for 3 trials"):
        read_trials(path, 3)
    path.write_text("a\n\nb\n")
    with pytest.raises(DataError, match=r"3 labels \(1 empty\)"):
        read_trials(path, 3)
    path.write_bytes(b"\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_trials(path, 1)
