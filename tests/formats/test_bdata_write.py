from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats import bdata_write
from hpc_recon.formats.bdata import BData
from hpc_recon.formats.bdata_write import Row, Stack, write_bdata

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


def part(path, numbers, vmap):
    values = np.array(numbers, dtype=np.float64)
    voxels = np.arange(values.size * 2.0).reshape(-1, 2)
    return BData(write_bdata(path, {"VoxelData": voxels, "name": values}, vmaps={"name": vmap}))


def test_clashing_vmaps_are_renumbered(tmp_path) -> None:
    first = part(tmp_path / "1.h5", [1, 2, np.nan], {1: "a", 2: "b"})
    second = part(tmp_path / "2.h5", [1, 2, 3, 1], {1: "b", 2: "c", 3: "d"})
    stack = Stack([first, second])
    assert stack.shape == (7, 3)
    assert stack.label("name") == ("a", "b", "n/a", "b", "c", "d", "b")
    assert stack.vmap("name") == {1.0: "a", 2.0: "b", 4.0: "c", 3.0: "d"}
    np.testing.assert_array_equal(stack.numbers("name"), [1, 2, np.nan, 2, 4, 3, 2])
    expected = np.concatenate([first.read("VoxelData"), second.read("VoxelData")])
    np.testing.assert_array_equal(stack.read("VoxelData"), expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=4))
def test_a_stack_has_one_number_a_text_and_keeps_the_first_files(tmp_path_factory, vmaps) -> None:
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack([part(folder / f"{i}.h5", list(vmap), vmap) for i, vmap in enumerate(vmaps)])
    merged, numbers, labels = stack.vmap("name"), stack.numbers("name"), stack.label("name")
    assert labels == tuple(text for vmap in vmaps for text in vmap.values())
    assert [merged[number] for number in numbers.tolist()] == list(labels)
    assert len(set(merged.values())) == len(merged)
    kept = {text: number for number, text in merged.items() if text in vmaps[0].values()}
    assert all(vmaps[0][int(number)] == text for text, number in kept.items())
    assert len(set(zip(numbers.tolist(), labels, strict=True))) == len(set(labels))


def test_files_with_other_metadata_are_not_stacked(tmp_path) -> None:
    def made(name, **options):
        return BData(write_bdata(tmp_path / name, BLOCKS, **options))

    first = made("1.h5", metadata=METADATA)
    with pytest.raises(DataError, match=r"keys that only one has: ROI_V1, voxel_x"):
        Stack([first, made("2.h5")])
    other = {**METADATA, "ROI_V1": Row("VoxelData", np.array([True, True, True]))}
    with pytest.raises(DataError, match="the metadata 'ROI_V1' differ"):
        Stack([first, made("3.h5", metadata=other)])
    with pytest.raises(DataError, match="no BData file is given"):
        Stack([])


def test_a_text_that_means_none_is_refused(tmp_path) -> None:
    stack = Stack([part(tmp_path / "1.h5", [1, np.nan], {1: "n/a"})])
    with pytest.raises(DataError, match="which means none"):
        stack.numbers("name")
