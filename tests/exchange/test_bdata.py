from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import BDataSource
from hpc_recon.exchange import bdata
from hpc_recon.formats.bdata_write import Row, write_bdata

#: Two stimuli, three conditions, five voxels; the last row has DataType 2.
X = np.random.default_rng(3).standard_normal((4, 5))
NAMES = {1.0: "n01443537_2", 2.0: "n01518878_10042"}


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a BData file of the lab and returns its path."""

    def write(name="a.h5", x=X, v1=(1, 1, 0, 0, 0)):
        return write_bdata(
            tmp_path / name,
            {
                "VoxelData": x,
                "DataType": np.array([1.0, 1, 1, 2]),
                "Run": np.array([1.0, 1, 2, 3]),
                "Label": np.array([[0, 1443537.000002], [0, 1518878.010042], [0, 1443537.000002], [0, 1518878.010042]]),
                "image_index": np.array([1.0, 2, 1, 2]),
                "stimulus_name": np.array([1.0, 2, 1, 2]),
            },
            metadata={
                "ROI_V1": Row("VoxelData", np.array(v1, dtype=bool)),
                "ROI_V2": Row("VoxelData", np.array([0, 0, 1, 1, 0], dtype=bool)),
            },
            vmaps={"stimulus_name": NAMES},
        )

    return write


def _source(*files, key="stimulus_name", by="vmap", column=1, **rest):
    return BDataSource(files=files, labels={"key": key, "by": by, "column": column}, **rest)


@pytest.mark.parametrize(
    ("key", "by", "column"),
    [("stimulus_name", "vmap", 1), ("image_index", "image_index", 1), ("Label", "stimulus_id", 2)],
)
def test_rows_of_a_condition_with_labels_and_columns(table, key, by, column):
    source = _source(table(), key=key, by=by, column=column, rows={"DataType": 1}, columns={"run": "Run"})
    found = bdata.read("training", source, ["n01518878_10042", "n01443537_2"])
    np.testing.assert_array_equal(found.samples, X[:3].astype(np.float32))
    assert found.labels == ("n01443537_2", "n01518878_10042", "n01443537_2")
    assert found.columns == {"run": [1.0, 1.0, 2.0]}


def test_numbers_as_labels_and_voxels_by_selector(table):
    source = _source(table(), key="image_index", by="number", voxels="ROI_V1 + ROI_V2")
    found = bdata.read("training", source, [])
    np.testing.assert_array_equal(found.samples, X[:, :4].astype(np.float32))
    assert found.labels == ("1", "2", "1", "2")


def test_files_follow_each_other(table):
    source = _source(table("a.h5"), table("b.h5", x=-X), rows={"DataType": [2]})
    np.testing.assert_array_equal(bdata.read("t", source, []).samples, [X[3].astype("f4"), -X[3].astype("f4")])


def test_mask_is_over_the_voxels_chosen(table):
    source = _source(table(), voxels="ROI_V1 | ROI_V2")
    assert bdata.mask(source, "ROI_V2 = 1").tolist() == [False, False, True, True]
    assert bdata.mask(source, "ROI_V1 = 0").tolist() == [False, False, True, True]
    with pytest.raises(DataError, match=r"'Run' chooses none of the voxels"):
        bdata.mask(source, "Run")


def test_what_does_not_fit_is_an_error(table):
    with pytest.raises(DataError, match=r"no row of .*a\.h5 has DataType = \[9\.0\]; correct bdata\.rows"):
        bdata.read("t", _source(table(), rows={"DataType": 9}), [])
    with pytest.raises(DataError, match="an image_index counts the dataset's own stimuli, but it has none"):
        bdata.read("t", _source(table(), key="image_index", by="image_index"), [])
    with pytest.raises(DataError, match=r"chooses other voxels in .*b\.h5 than in"):
        bdata.mask(_source(table(), table("b.h5", v1=(1, 0, 0, 0, 0))), "ROI_V1")
    with pytest.raises(DataError, match=r"chooses \[1, 2\] voxels in the different files"):
        bdata.read("t", _source(table(), table("b.h5", v1=(1, 0, 0, 0, 0)), voxels="ROI_V1"), [])
    with pytest.raises(DataError, match="chooses no column"):
        bdata.read("t", _source(table(), voxels="ROI_V1 & ROI_V2"), [])


@pytest.mark.parametrize(
    ("key", "by", "column", "values", "null"),
    [
        ("image_index", "image_index", 1, [1.0, 0, 2, np.nan], ["0", "n/a"]),
        ("Label", "stimulus_id", 2, [1443537.000002, 0, 1518878.010042, np.nan], ["0", "n/a"]),
        ("image_index", "number", 1, [1.0, 26, 2, np.nan], ["26", "n/a"]),
    ],
)
def test_numbers_that_stand_for_no_stimulus_are_not_interpreted(tmp_path, key, by, column, values, null):
    block = np.array(values) if column == 1 else np.column_stack([np.zeros(4), values])
    path = write_bdata(tmp_path / "i.h5", {"VoxelData": X, key: block})
    source = _source(path, key=key, by=by, column=column)
    names = ["1", "2"] if by == "number" else ["n01443537_2", "n01518878_10042"]
    found = bdata.read("imagery", source, ["n01518878_10042", "n01443537_2"], null=null)
    assert found.labels == (names[0], null[0], names[1], null[1])
    with pytest.raises(DataError):
        bdata.read("imagery", source, names, null=["26"])
    raw = bdata.raw_labels("imagery", source)
    assert (raw[1], raw[3], len(set(raw))) == (null[0], null[1], 4)


def test_raw_labels_are_texts_of_the_vmap(table):
    assert bdata.raw_labels("t", _source(table(), rows={"DataType": 1})) == (
        "n01443537_2",
        "n01518878_10042",
        "n01443537_2",
    )
