"""`transformation.mat` and its statistics."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.io

from hpc_recon.core.errors import DataError
from hpc_recon.formats import matlab, transformations


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    M = rng.normal(size=(5, 3)).astype(np.float32)
    x_mean, y_mean = rng.normal(size=4).astype(np.float32), rng.normal(size=3).astype(np.float32)
    x_norm, y_norm = rng.uniform(1, 2, 4).astype(np.float32), rng.uniform(1, 2, 3).astype(np.float32)
    return transformations.Transformation(M, x_mean, x_norm, y_mean, y_norm)


def test_what_is_written_is_read_and_matlab_sees_its_own_shape(found, tmp_path):
    assert [path.name for path in transformations.write(tmp_path, found)] == list(transformations.FILES)
    again = transformations.read(tmp_path)
    for name in ("M", *transformations.STATISTICS):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    with h5py.File(tmp_path / "transformation.mat") as file:  # MATLAB shows the axes of HDF5 reversed
        assert file["M"].shape == (3, 5)
        np.testing.assert_array_equal(file["M"][-1, 4], found.M[4, -1])


def test_files_of_version_5_are_read_too(found, tmp_path):
    content = {"M": found.M} | {name: getattr(found, name)[None] for name in transformations.STATISTICS}
    for file, (name, value) in zip(transformations.FILES, content.items(), strict=True):
        scipy.io.savemat(tmp_path / file, {name: value})
    np.testing.assert_array_equal(transformations.read(tmp_path).M, found.M)


def test_a_prediction_is_the_formula_of_the_authors(found):
    X = np.random.default_rng(1).normal(size=(6, 4))
    ones = np.hstack([(X - found.x_mean) / found.x_norm, np.ones((6, 1))])
    np.testing.assert_allclose(found.predict(X), ones @ found.M * found.y_norm + found.y_mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("M", np.zeros((4, 3), np.float32), r"must be \(source voxels \+ 1, target voxels\), \(5, 3\)"),
        ("y_norm", np.ones(2, np.float32), r"have \[4, 4, 3, 2\] values"),
        ("x_norm", np.array([1, 0, 1, 1], np.float32), "1 of x_norm are not above 0"),
        ("x_mean", np.array([1, np.nan, 1, 1], np.float32), "x_mean in .* must be finite, but 1 values are not"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(found, tmp_path, name, value, expected):
    with pytest.raises(DataError, match=expected):
        transformations.write(tmp_path, replace(found, **{name: value}))
    assert not list(tmp_path.iterdir())


def test_a_column_in_place_of_a_row_is_said(found, tmp_path):
    transformations.write(tmp_path, found)
    matlab.write_v73(tmp_path / "x_mean.mat", {"x_mean": found.x_mean[:, None]})
    with pytest.raises(DataError, match=r"x_mean in .* must be \(1, n\), but is \(4, 1\)"):
        transformations.read(tmp_path)
