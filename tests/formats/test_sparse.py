"""bdpy's SparseArray: round trips, the layout that bdpy expects, and damaged ones."""

import h5py
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import matlab, sparse


def example(shape=(6, 1, 3, 2)):
    rng = np.random.default_rng(0)
    return np.where(rng.random(shape) < 0.4, rng.normal(size=shape), 0).astype(np.float32)


@pytest.mark.parametrize("shape", [(6, 1, 3, 2), (5, 4), (7,), (3, 0)])
def test_a_sparse_array_is_read_as_written(tmp_path, shape):
    dense = example(shape)
    path = sparse.write_sparse(tmp_path / "W.mat", "W", sparse.from_dense(dense))
    found = sparse.read_dense(path, "W")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, dense)


def test_no_value_at_all_and_another_background(tmp_path):
    for dense, background in ((np.zeros((3, 2)), 0.0), (np.array([[1.5, 2.0], [1.5, 1.5]]), 1.5)):
        path = sparse.write_sparse(tmp_path / "W.mat", "W", sparse.from_dense(dense, background))
        np.testing.assert_array_equal(sparse.read_either(path, "W").dense(), dense)


def test_the_layout_is_bdpys(tmp_path):
    dense = example()
    path = sparse.write_sparse(tmp_path / "W.mat", "W", sparse.from_dense(dense))
    with h5py.File(path) as stream:
        group = stream["W"]
        assert set(group) == {"__bdpy_sparse_arrray", "index", "value", "shape", "background"}
        places = [np.ravel(stream[reference][()]) for reference in group["index"][0]]
        rebuilt = np.zeros(dense.shape, np.float32)
        rebuilt[tuple(places)] = np.ravel(group["value"][()])
    np.testing.assert_array_equal(rebuilt, dense)


def test_plain_index_and_shape_as_julia_writes_them():
    dense = example()
    found = sparse.from_dense(dense)
    plain = {sparse.MARKER: np.array([[True]]), "index": found.index, "value": found.value[None]}
    plain |= {"shape": np.array([dense.shape]), "background": np.array([[0.0]])}
    np.testing.assert_array_equal(sparse.from_value(plain, "W").dense(), dense)
    np.testing.assert_array_equal(sparse.from_value(plain | {"index": found.index.T}, "W").dense(), dense)


def test_what_does_not_fit_is_an_error(tmp_path):
    found = sparse.from_dense(example())
    content = {sparse.MARKER: np.array(True), "index": found.index, "value": found.value}
    content |= {"shape": np.array(found.shape), "background": np.array(0)}
    for change, rule in (
        ({"value": found.value[:-1]}, "values at"),
        ({"shape": np.array([5, 1, 3, 2])}, "outside its shape"),
        ({"index": found.index - 1}, "outside its shape"),
        ({"index": found.index[:3, :2]}, "for 4 axes"),
        ({"shape": "6132"}, "must be numbers"),
    ):
        with pytest.raises(DataError, match=rule):
            sparse.from_value(content | change, "W")
    del content["shape"]
    with pytest.raises(DataError, match="without shape"):
        sparse.from_value(content, "W")
    with pytest.raises(DataError, match="if dense"):
        sparse.Sparse(np.zeros((2, 0), int), np.zeros(0), (1 << 20, 1 << 20)).dense()
    path = matlab.write_hdf5(tmp_path / "a.mat", lambda stream: stream.create_group("W"))
    with pytest.raises(DataError, match="neither an array"):
        sparse.read_either(path, "W")


def test_whole_numbers_too_large_to_count_with_are_refused(tmp_path):
    found = sparse.from_dense(example())
    content = {sparse.MARKER: np.array(True), "value": found.value, "shape": np.array(found.shape)}
    content |= {"background": np.array(0), "index": found.index.astype(np.uint64)}
    np.testing.assert_array_equal(sparse.from_value(content, "W").dense(), example())
    content["index"][0, 0] = 2**63 + 5
    with pytest.raises(DataError, match="whole numbers below 2"):
        sparse.from_value(content, "W")
