"""Arrays with a row for each stimulus, from every kind of file."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io

from hpc_recon.core.errors import DataError
from hpc_recon.formats.row_arrays import RowArray

VALUES = np.random.default_rng(0).normal(size=(7, 3, 2))


def _write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, T=values)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"T": values})
    else:
        with h5py.File(path, "w") as stream:
            stream["T"] = values
    return RowArray(path, None if path.suffix == ".npy" else "T")


@pytest.mark.parametrize("ending", [".npy", ".npz", ".mat", ".h5"])
def test_rows_of_every_kind_of_file_in_any_order(tmp_path, ending):
    array = _write(tmp_path / f"a{ending}", VALUES)
    assert array.shape() == (7, 3, 2)
    np.testing.assert_array_equal(array.read([5, 0, 5]), VALUES[[5, 0, 5]].astype("f4"))
    assert array.in_pieces == (ending in (".npy", ".h5"))


@pytest.mark.parametrize("ending", [".npy", ".h5"])
def test_a_value_that_is_not_finite_is_found_where_it_is_read(tmp_path, ending):
    values = VALUES.copy()
    values[4, 1, 1] = np.nan
    array = _write(tmp_path / f"a{ending}", values)
    array.read([0, 3])
    with pytest.raises(DataError, match="1 values that are not finite, the first in row 4"):
        array.read([3, 4])


def test_what_is_no_array_of_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has shape \(7,\)"):
        _write(tmp_path / "a.npy", VALUES[:, 0, 0]).shape()
    with pytest.raises(DataError, match="does not exist"):
        RowArray(tmp_path / "b.npy").shape()
    _write(tmp_path / "c.h5", VALUES)
    with pytest.raises(DataError, match="give `key`"):
        RowArray(tmp_path / "c.h5").shape()
    (tmp_path / "d.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="is it damaged"):
        RowArray(tmp_path / "d.npy").shape()
