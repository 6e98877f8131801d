"""The reader of MAT-file level 5 against scipy's writer, and hand-made bytes."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io

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


def test_a_million_cells_in_a_small_file_are_refused(tmp_path):
    head = element("<", 6, struct.pack("<II", 1, 0)) + element("<", 5, struct.pack("<2i", 1, 1 << 30))
    path = tmp_path / "a.mat"
    path.write_bytes(HEADER + b"\x00\x01IM" + element("<", 14, head + element("<", 1, b"x")))
    with pytest.raises(DataError, match="cells are announced"):
        mat5.read(path, "x")
