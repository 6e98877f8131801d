"""Variables of .mat files: compared with scipy (v5) and with raw HDF5 (v7.3)."""

import h5py
import numpy as np
import pytest
import scipy.io

from hpc_recon.core.errors import DataError
from hpc_recon.formats import matlab

WRITERS = {"v5": matlab.write_v5, "v7.3": matlab.write_v73}


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 4, 5), (1, 7), (4, 1, 1)])
def test_a_written_array_is_read_with_its_shape(tmp_path, version, dtype, shape):
    value = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    path = WRITERS[version](tmp_path / "a.mat", {"feat": value})
    found = matlab.read_array(path, "feat")
    np.testing.assert_array_equal(found, value)
    if version == "v7.3":
        assert found.dtype == value.dtype
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mat"]


def test_v5_is_what_scipy_reads_and_writes(tmp_path):
    value = np.random.default_rng(1).normal(size=(1, 3, 4, 5)).astype(np.float32)
    matlab.write_v5(tmp_path / "ours.mat", {"feat": value})
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "ours.mat")["feat"], value)
    content = {"feat": value, "name": "Img0001", "s": {"a": np.array([1.0, 2.0])}, "c": np.array(["x", "yz"], object)}
    scipy.io.savemat(tmp_path / "theirs.mat", content, do_compression=True)
    np.testing.assert_array_equal(matlab.read_array(tmp_path / "theirs.mat", "feat"), value)
    assert matlab.read_value(tmp_path / "theirs.mat", "name") == "Img0001"
    assert matlab.read_value(tmp_path / "theirs.mat", "c") == ["x", "yz"]
    np.testing.assert_array_equal(matlab.read_value(tmp_path / "theirs.mat", "s")["a"], [[1.0, 2.0]])


def test_v73_has_the_header_and_the_reversed_axes_of_matlab(tmp_path):
    value = np.arange(60.0).reshape(3, 4, 5)
    path = matlab.write_v73(tmp_path / "a.mat", {"x": value, "large": np.zeros((600, 300))})
    raw = path.read_bytes()[:512]
    assert raw.startswith(b"MATLAB 7.3 MAT-file")
    assert raw[124:128] == b"\x00\x02IM"
    with h5py.File(path) as stream:
        assert stream.userblock_size == 512
        assert stream["x"].attrs["MATLAB_class"] == b"double"
        np.testing.assert_array_equal(stream["x"][()], value.transpose(2, 1, 0))
        assert stream["x"].chunks is None
        assert stream["large"].chunks is not None


def foreign(path, fill):
    with h5py.File(path, "w", userblock_size=512) as stream:
        fill(stream)
    return path


def test_values_of_matlab_itself_without_python_attributes(tmp_path):
    def fill(stream):
        def put(name, value, kind):
            item = stream.create_dataset(name, data=value)
            item.attrs["MATLAB_class"] = np.bytes_(kind)
            return item

        put("x", np.arange(6.0).reshape(3, 2), "double")
        put("t", np.array([[ord(c)] for c in "héllo"], dtype=np.uint16), "char")
        put("flag", np.array([[1]], dtype=np.uint8), "logical")
        put("none", np.array([0, 3], dtype=np.uint64), "single").attrs["MATLAB_empty"] = np.uint8(1)
        put("s/inner", np.array([[2.0]]), "double")
        first = put("#refs#/b", np.array([[97], [98]], dtype=np.uint16), "char")
        second = put("#refs#/c", np.array([[5.0]]), "double")
        cell = stream.create_dataset("cell", (2, 1), dtype=h5py.ref_dtype)
        cell[0, 0], cell[1, 0] = first.ref, second.ref
        cell.attrs["MATLAB_class"] = np.bytes_("cell")

    path = foreign(tmp_path / "m.mat", fill)
    np.testing.assert_array_equal(matlab.read_array(path, "x"), np.arange(6.0).reshape(3, 2).T)
    assert matlab.read_value(path, "t") == "héllo"
    assert matlab.read_array(path, "flag").dtype == bool
    assert matlab.read_array(path, "none").shape == (0, 3)
    np.testing.assert_array_equal(matlab.read_value(path, "s")["inner"], [[2.0]])
    text, number = matlab.read_value(path, "cell")
    assert text == "ab"
    np.testing.assert_array_equal(number, [[5.0]])


def test_axes_that_were_not_reversed_are_named(tmp_path):
    def fill(stream):
        item = stream.create_dataset("x", data=np.zeros((2, 3, 4)))
        item.attrs["MATLAB_class"] = np.bytes_("double")
        item.attrs["Python.Shape"] = np.array([2, 3, 4], dtype=np.uint64)

    with pytest.raises(DataError, match="axes were not reversed"):
        matlab.read_array(foreign(tmp_path / "a.mat", fill), "x")


@pytest.mark.parametrize("version", WRITERS)
def test_truncated_files_absent_keys_and_other_files_are_errors(tmp_path, version):
    path = WRITERS[version](tmp_path / "a.mat", {"feat": np.random.default_rng(0).normal(size=(40, 50))})
    with pytest.raises(DataError, match="has no"):
        matlab.read_array(path, "fete")
    whole = path.read_bytes()
    for part in (0, 100, 600, len(whole) // 2, len(whole) - 8):
        path.write_bytes(whole[:part])
        with pytest.raises(DataError, match=r"a\.mat"):
            matlab.read_array(path, "feat")
    path.write_bytes(b"not a matlab file" * 100)
    with pytest.raises(DataError, match=r"neither a v5 nor a v7\.3"):
        matlab.read_array(path, "feat")
    with pytest.raises(DataError, match="does not exist"):
        matlab.read_array(tmp_path / "b.mat", "feat")


def test_what_is_no_array_of_numbers_is_an_error(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"t": "text", "z": np.array([1j]), "p": np.array(["ab", "cd"])})
    for key, rule in (("t", "is text"), ("z", "complex"), ("p", "is text")):
        with pytest.raises(DataError, match=rule):
            matlab.read_array(path, key)
    with pytest.raises(DataError, match="takes"):
        matlab.write_v73(path, {"x": np.array([1j])})
    ragged = h5py.vlen_dtype(np.dtype("f8"))
    lists = np.empty(2, dtype=object)
    lists[:] = [np.ones(2), np.ones(3)]
    foreign(path, lambda stream: stream.create_dataset("x", data=lists, dtype=ragged))
    with pytest.raises(DataError, match="object array"):
        matlab.read_array(path, "x")
    foreign(path, lambda stream: stream.__setitem__("x", h5py.ExternalLink("other.h5", "/x")))
    with pytest.raises(DataError, match="another file"):
        matlab.read_array(path, "x")


def test_a_declared_size_beyond_the_file_is_refused_before_it_is_allocated(tmp_path):
    path = matlab.write_v5(tmp_path / "a.mat", {"x": np.zeros((2, 3))})
    raw = path.read_bytes()
    dims = np.array([2, 3], dtype="<i4").tobytes()
    assert raw.count(dims) == 1
    path.write_bytes(raw.replace(dims, np.array([1 << 20, 1 << 20], dtype="<i4").tobytes()))
    with pytest.raises(DataError, match="declares shape"):
        matlab.read_array(path, "x")


@pytest.mark.parametrize("version", WRITERS)
def test_changed_bytes_raise_nothing_but_data_errors(tmp_path, version):
    value = np.arange(24.0).reshape(2, 3, 4)
    whole = WRITERS[version](tmp_path / "a.mat", {"feat": value}).read_bytes()
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "b.mat", 0
    for _ in range(300):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            changed[at] = rng.integers(256)
        path.write_bytes(changed)
        try:
            assert matlab.read_array(path, "feat").nbytes <= 1100 * len(whole)
        except DataError:
            refused += 1
    assert 0 < refused < 300
