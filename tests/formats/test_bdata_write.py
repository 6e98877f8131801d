from __future__ import annotations

import h5py
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import bdata_write
from hpc_recon.formats.bdata import BData
from hpc_recon.formats.bdata_write import Row, write_bdata

VOXELS = np.random.default_rng(0).standard_normal((4, 3))
NUMBER = np.array([1.0, 2.0, np.nan, 1.0])
BLOCKS = {"VoxelData": VOXELS, "Run": np.array([1, 1, 2, 2]), "name": NUMBER}
METADATA = {
    "ROI_V1": Row("VoxelData", np.array([True, False, True]), "primary"),
    "voxel_x": Row("VoxelData", np.array([0.5, 1, -2])),
}
VMAPS = {"name": {1.0: "a", 2: "é"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def test_what_is_written_lies_where_bdpy_looks(path) -> None:
    assert write_bdata(path, BLOCKS, metadata=METADATA, vmaps=VMAPS, header={"made_by": "x"}) == path
    nan = np.nan
    with h5py.File(path) as file:
        assert file["dataset"].dtype == np.float64
        np.testing.assert_array_equal(file["dataset"], np.column_stack([VOXELS, BLOCKS["Run"], NUMBER]))
        assert file["metadata/key"][:].tolist() == [b"VoxelData", b"Run", b"name", b"ROI_V1", b"voxel_x"]
        assert file["metadata/description"][3:].tolist() == [b"primary", b"1 = voxel_x"]
        expected = [[1, 1, 1, nan, nan], [nan, nan, nan, 1, nan], [nan, nan, nan, nan, 1]]
        expected += [[1, nan, 1, nan, nan], [0.5, 1, -2, nan, nan]]
        np.testing.assert_array_equal(file["metadata/value"], expected)
        assert {name: value[()] for name, value in file["vmap/name"].items()} == {"1.0": b"a", "2.0": "é".encode()}
        assert file["header/made_by"][()] == b"x"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_blocks_written_in_pieces_are_read_back(path, monkeypatch) -> None:
    monkeypatch.setattr(bdata_write, "BLOCK_BYTES", 50)
    found = BData(write_bdata(path, BLOCKS, metadata=METADATA, vmaps=VMAPS))
    np.testing.assert_array_equal(found.read("VoxelData", dtype=np.float64), VOXELS)
    assert found.label("name") == ("a", "é", "n/a", "a")
    np.testing.assert_array_equal(found.value("voxel_x"), [0.5, 1, -2, np.nan, np.nan])


@pytest.mark.parametrize(
    ("blocks", "options", "message"),
    [
        ({}, {}, "none is given"),
        ({"a": np.ones(3), "b": np.ones(2)}, {}, "same number of samples.*'a': 3, 'b': 2"),
        ({"a": np.ones((3, 0))}, {}, "must have shape"),
        ({"a": np.ones((1, 1, 1))}, {}, "must have shape"),
        ({"a": np.array(["x"])}, {}, "must hold numbers"),
        ({"a/b": np.ones(3)}, {}, "must not be empty"),
        ({"": np.ones(3)}, {}, "must not be empty"),
        (BLOCKS, {"metadata": {"Run": METADATA["ROI_V1"]}}, "both a block and metadata"),
        (BLOCKS, {"metadata": {"x": Row("Voxels", np.ones(3))}}, "none of VoxelData, Run, name"),
        (BLOCKS, {"metadata": {"x": Row("VoxelData", np.ones(4))}}, "has shape"),
        (BLOCKS, {"vmaps": {"names": {1.0: "a"}}}, "belongs to no block"),
        (BLOCKS, {"vmaps": {"name": {1.0: "a"}}}, "no text for 2.0"),
        (BLOCKS, {"vmaps": {"name": {1.0: "a", 2.0: ""}}}, "an empty text"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(path, blocks, options, message) -> None:
    with pytest.raises(DataError, match=message):
        write_bdata(path, blocks, **options)
    assert not list(path.parent.iterdir())
