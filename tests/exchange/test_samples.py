from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import IngestDataset
from hpc_recon.exchange import samples
from hpc_recon.formats.bdata_write import write_bdata
from hpc_recon.stores.images import StimulusTable

X = np.arange(18.0).reshape(6, 3)
TABLE = StimulusTable(("a", "b", "c"), ("t", "t", "t"), ("",) * 3, ("",) * 3, 4, 4)


@pytest.fixture
def read(tmp_path):
    """Return a function that reads six samples of a, b, a, b, a, rest with further options of the dataset."""

    def make(x=X, labels=("a", "b", "a", "b", "a", "rest"), **options):
        np.savez(tmp_path / "x.npz", x=x, labels=np.array(labels))
        file = tmp_path / "x.npz"
        content = {"samples": {"file": file, "key": "x"}, "labels": {"file": file, "key": "labels"}, **options}
        return samples.read("t", IngestDataset.model_validate(content), TABLE)

    return make


def test_excluded_labels_and_trials_are_left_out_before_labels_are_checked(read):
    found = read(exclude={"labels": ["rest"], "trials": [2]})
    assert found.labels == ("a", "a", "b", "a")
    np.testing.assert_array_equal(found.samples, X[[0, 2, 3, 4]])
    with pytest.raises(DataError, match=r"t: 1 of 3 distinct labels .* are not labels of its stimuli: 'rest'"):
        read()


def test_what_is_excluded_must_occur(read):
    with pytest.raises(DataError, match=r"1 of 2 labels under exclude\.labels are labels of no sample: 'no'"):
        read(exclude={"labels": ["rest", "no"]})
    with pytest.raises(DataError, match=r"exclude\.trials names 7, but there are 6 samples"):
        read(exclude={"trials": [7]})
    with pytest.raises(DataError, match="exclude leaves no sample of 6"):
        read(exclude={"labels": ["a", "b", "rest"]})


def test_samples_are_averaged_in_groups(read):
    found = read(exclude={"labels": ["rest"]}, average_groups_of=2)
    assert found.labels == ("a", "b", "a")
    np.testing.assert_array_equal(found.samples, [(X[0] + X[2]) / 2, (X[1] + X[3]) / 2, X[4]])
    assert found.columns == {"n_averaged": [2.0, 2.0, 1.0]}


def test_nan_in_bdata_is_an_error(tmp_path):
    bad = X.copy()
    bad[1, 2] = np.nan
    path = write_bdata(
        tmp_path / "x.h5",
        {"VoxelData": bad, "name": np.ones(6), "score": np.full(6, 2.0)},
        vmaps={"name": {1.0: "a"}},
    )
    source = {"files": path, "labels": {"key": "name"}, "columns": {"vividness": "score"}}
    with pytest.raises(DataError, match=r"t: samples: 1 of 18 values are NaN .* \(first at row 2, voxel 3"):
        samples.read("t", IngestDataset.model_validate({"bdata": source}), TABLE)
