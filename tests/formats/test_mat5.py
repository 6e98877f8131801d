"""The reader of MAT-file level 5 against scipy's writer, and hand-made bytes."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from hpc_recon.core.errors import DataError
from hpc_recon.formats import mat5

HEADER = b"MATLAB 5.0 MAT-file".ljust(124)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_every_class_of_numbers_as_scipy_writes_it(tmp_path, dtype, compressed):
    value = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    other = np.random.default_rng(1).normal(size=(100, 100))
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"before": other, "x": value, "after": other}, do_compression=compressed)
    found = mat5.read(path, "x")
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)
    np.testing.assert_array_equal(mat5.read(path, "after"), other)


def element(order, kind, data):
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(order, name=b"x", values=(1, 2, 3), shape=(1, 3)):
    """Doubles stored as 16-bit integers, as MATLAB does where they fit."""
    parts = element(order, 6, struct.pack(f"{order}II", 6, 0)) + element(order, 5, struct.pack(f"{order}2i", *shape))
    parts += element(order, 1, name) + element(order, 3, struct.pack(f"{order}{len(values)}h", *values))
    return element(order, 14, parts)


@pytest.mark.parametrize(("order", "mark"), [("<", b"\x00\x01IM"), (">", b"\x01\x00MI")])
def test_both_byte_orders_and_numbers_stored_in_fewer_bits(tmp_path, order, mark):
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + mark + variable(order))
    found = mat5.read(path, "x")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1, 2, 3]])


def packed(content):
    raw = zlib.compress(content)
    return struct.pack("<II", 15, len(raw)) + raw


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (variable("<") * 2, "2 times"),
        (variable("<", b"y"), r"no variable 'x' \(its variables: y\)"),
        (variable("<", shape=(1 << 30, 1 << 30)), "declares shape"),
        (variable("<", shape=(1, -3)), "has shape"),
        (variable("<")[:-8], "bytes, of"),
        (variable("<") + b"abc", "truncated"),
        (packed(variable("<"))[:-4] + b"\0\0\0\0", "incorrect data check"),
        (packed(variable("<") + bytes(1 << 24)), "does not end where it says"),
        (packed(struct.pack("<II", 14, 1 << 31) + variable("<")[8:]), "unpacks to"),
        (packed(b"\0" * 16), "not a variable"),
    ],
)
def test_what_breaks_the_format_is_named(tmp_path, content, rule):
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + b"\x00\x01IM" + content)
    with pytest.raises(DataError, match=rule):
        mat5.read(path, "x")


def test_string_arrays_and_tables_are_refused_and_their_neighbours_read(tmp_path):
    numbers = element("<", 6, struct.pack("<II", 13, 0)) + element("<", 5, struct.pack("<2i", 1, 1))
    numbers += element("<", 1, b"") + element("<", 6, struct.pack("<I", 3707764736))
    parts = element("<", 6, struct.pack("<II", 17, 0))
    parts += b"".join(element("<", 1, text) for text in (b"labels", b"MCOS", b"string")) + element("<", 14, numbers)
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + b"\x00\x01IM" + element("<", 14, parts) + variable("<"))
    np.testing.assert_array_equal(mat5.read(path, "x"), [[1, 2, 3]])
    (found,) = (value for value in scipy.io.loadmat(path).values() if isinstance(value, scipy.io.matlab.MatlabOpaque))
    texts = [part for part in found.item() if isinstance(part, (str, bytes))]
    assert {"string", b"string"} & set(texts), "as scipy reads these bytes; it has called them several names"
    assert mat5.names(path) == ["labels", "x"]
    for fields in ((), ("a",)):
        with pytest.raises(DataError, match=r"labels in .* is a MATLAB object of class 'string', .* cellstr\(x\)"):
            mat5.read(path, "labels", fields)


def test_a_million_cells_in_a_small_file_are_refused(tmp_path):
    head = element("<", 6, struct.pack("<II", 1, 0)) + element("<", 5, struct.pack("<2i", 1, 1 << 30))
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + b"\x00\x01IM" + element("<", 14, head + element("<", 1, b"x")))
    with pytest.raises(DataError, match="cells are announced"):
        mat5.read(path, "x")


def sparse(rows, begins, values, shape=(3, 4), flags=5):
    parts = element("<", 6, struct.pack("<II", flags, len(values))) + element("<", 5, struct.pack("<2i", *shape))
    parts += element("<", 1, b"x") + element("<", 5, struct.pack(f"<{len(rows)}i", *rows))
    parts += element("<", 5, struct.pack(f"<{len(begins)}i", *begins))
    return element("<", 14, parts + element("<", 9, struct.pack(f"<{len(values)}d", *values)))


def test_sparse_matrices_become_dense_and_spare_room_is_not_read(tmp_path):
    path = tmp_path / "a.mat"
    for flags, dtype in ((5, np.float64), (5 | 0x200, bool)):  # numbers, logicals
        path.write_bytes(HEADER + b"\x00\x01IM" + sparse([2, 0, 1, 9], [0, 1, 1, 3, 3], [1.0, 2, 3, 9], flags=flags))
        found = mat5.read(path, "x")
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.array([[0, 0, 2, 0], [0, 0, 3, 0], [1, 0, 0, 0]], dtype))


@pytest.mark.parametrize("name", ["logical_sparse", "miuint32_for_miint32", "testsparse_7.4_GLNX86"])
def test_what_matlab_and_others_wrote_against_their_own_rules(name):
    """Files of scipy's: bytes of a logical matrix that are said to be doubles, sizes without a sign."""
    path = Path(scipy.io.matlab.__file__).parent / "tests" / "data" / f"{name}.mat"
    if not path.is_file():
        pytest.skip(f"{path} is not installed")  # its wheels have it; some distributions leave scipy's tests out
    expected = scipy.io.loadmat(path, spmatrix=False)
    (key,) = mat5.names(path)
    found = mat5.read(path, key)
    np.testing.assert_array_equal(
        found, expected[key].toarray() if scipy.sparse.issparse(expected[key]) else expected[key]
    )


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (sparse([2, 0, 3], [0, 1, 1, 3, 3], [1.0, 2, 3]), "values in rows 0 to 3"),
        (sparse([2, -1, 0], [0, 1, 1, 3, 3], [1.0, 2, 3]), "values in rows -1 to 2"),
        (sparse([2, 0, 1], [0, 1, 1, 4, 4], [1.0, 2, 3]), "whose columns have"),
        (sparse([2, 0, 1], [0, 2, 1, 3, 3], [1.0, 2, 3]), "whose columns have"),
        (sparse([2, 0, 1], [1, 1, 1, 3, 3], [1.0, 2, 3]), "whose columns have"),
        (sparse([2, 0, 1], [0, 3], [1.0, 2, 3]), "with 2 columns"),
        (sparse([0], [0, 1], [1.0], shape=(1 << 30, 1)), "is sparse, and takes 8.0 GiB if dense"),
        (sparse([0], [0, 1], [1.0], shape=(1, 1), flags=5 | 0x800), "complex"),
    ],
)
def test_damaged_sparse_matrices_are_refused(tmp_path, content, rule):
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + b"\x00\x01IM" + content)
    with pytest.raises(DataError, match=rule):
        mat5.read(path, "x")


def test_a_field_is_found_without_reading_the_others(tmp_path):
    path = tmp_path / "a.mat"
    other = np.empty(1, dtype=object)
    other[0] = {"complex": np.array([1j])}  # which cannot be read
    scipy.io.savemat(path, {"s": {"bad": np.array([1j]), "in": {"x": np.arange(3.0), "bad": other}}, "y": 1.0})
    assert mat5.names(path) == ["s", "y"]
    np.testing.assert_array_equal(mat5.read(path, "s", ["in", "x"]), [[0, 1, 2]])
    for fields, rule in (
        (["in", "xx"], r"no key 's.in.xx'; did you mean 'x'\? \(its keys: s.in.x, s.in.bad\)"),
        (["in", "x", "y"], r"s.in.x in .* is not a single structure, so it has no field 'y'"),
        (["bad"], "s.bad in .* holds complex numbers"),
    ):
        with pytest.raises(DataError, match=rule):
            mat5.read(path, "s", fields)


def test_character_matrices_are_rows_of_any_alphabet(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"rows": np.array(["äb", "c"]), "column": np.array(["x", "y"]), "row": np.array(["long"])})
    assert mat5.read(path, "rows") == mat5.CharacterRows(("äb", "c "))
    assert mat5.read(path, "column") == mat5.CharacterRows(("x", "y"))
    assert mat5.read(path, "row") == "long"
    with pytest.raises(DataError, match=r"x is text of 3 characters and shape \(2, 2\)"):
        mat5.text_rows(np.array(list("abc")), (2, 2), "x")
