from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import archives

X = np.arange(12.0).reshape(3, 4)


def npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def put(path, content, *, kind=zipfile.ZIP_DEFLATED, names=("x.npy",)):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content, compress_type=kind)
    return path


def read(path, key="x"):
    with archives.open_npz(path) as archive:
        return archives.read_npz(archive, key, path)


@pytest.mark.parametrize(
    "array", [X, X.T, X.astype(">i2"), np.array(["ä", "bc"]), np.float32(3), np.zeros((0, 4)), X > 3]
)
def test_what_numpy_writes_is_read(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(npy(array))
    for found in (archives.read_npy(tmp_path / "a.npy"), read(put(tmp_path / "a.npz", npy(array)))):
        assert found.dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found, array)


def test_keys_are_those_of_arrays(tmp_path):
    with zipfile.ZipFile(put(tmp_path / "a.npz", npy(X), names=("x.npy", "notes.txt", "y.npy"))) as archive:
        assert archives.npz_keys(archive) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (npy(np.array([{}], dtype=object)), "holds Python objects, which are never loaded"),
        (npy(X)[:-1], "announces .* 96 bytes, but 95 follow"),
        (npy(X) + b"x", "announces .* 96 bytes, but 97 follow"),
        (npy(X).replace(b"(3, 4), }  ", b"(3,10**9)} "), None),
        (npy(X).replace(b"(3, 4), }    ", b"(3, 400000)} "), "announces"),
        (npy(X).replace(b"(3, 4), }", b"(-3, 4),}"), "announces|shape"),
        (npy(X).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x03"), r"format version \(3, 0\)"),
    ],
)
def test_headers_that_do_not_fit_are_refused_before_anything_is_allocated(tmp_path, content, rule):
    (tmp_path / "a.npy").write_bytes(content)
    put(tmp_path / "a.npz", content)
    for attempt in (lambda: archives.read_npy(tmp_path / "a.npy"), lambda: read(tmp_path / "a.npz")):
        tracemalloc.start()
        with pytest.raises(DataError if rule else ValueError, match=rule or "."):
            attempt()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


def test_an_entry_twice_another_compression_and_a_bomb_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        put(tmp_path / "a.npz", npy(X), names=("x.npy", "x.npy"))
    with pytest.raises(DataError, match="has 'x' 2 times"):
        read(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"compressed by method 14; save it with numpy\.savez_compressed"):
        read(put(tmp_path / "a.npz", npy(np.zeros(10**5)), kind=zipfile.ZIP_LZMA))
    raw = put(tmp_path / "a.npz", npy(X), kind=zipfile.ZIP_STORED).read_bytes()
    size = (224).to_bytes(4, "little")
    assert raw.count(size + size) == 2
    central = raw.rindex(size + size)
    (tmp_path / "a.npz").write_bytes(raw[: central + 4] + (1 << 31).to_bytes(4, "little") + raw[central + 8 :])
    with pytest.raises(DataError, match=r"x in .* says that it has 2\.0 GiB, but 224 B are stored"):
        read(tmp_path / "a.npz")


def test_zeros_that_deflate_packs_a_thousand_to_one_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**6))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    assert not read(tmp_path / "a.npz").any()
