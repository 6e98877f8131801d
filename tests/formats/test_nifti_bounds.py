from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.formats import nifti_bounds


@pytest.fixture(params=[nib.Nifti1Image, nib.Nifti2Image])
def path(request, tmp_path):
    image = request.param(np.ones((3, 4, 5), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"made by a test"))
    nib.save(image, tmp_path / "a.nii")
    return tmp_path / "a.nii"


def require(path, n_bytes=None):
    with path.open("rb") as stream:
        found = nifti_bounds.require_bounded_header(stream, path.stat().st_size if n_bytes is None else n_bytes, path)
        assert stream.tell() == 0
    return found


def changed(path, at, content):
    raw = path.read_bytes()
    path.write_bytes(raw[:at] + content + raw[at + len(content) :])
    return path


def test_sound_headers_of_both_kinds_and_orders(path, tmp_path):
    size = 348 if b"n+1" in path.read_bytes()[:400] else 540
    assert require(path) == (size, size + 4 + 32)
    image = nib.Nifti1Image(np.ones((3, 4, 5), ">i2"), np.eye(4), nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes()[:4] == struct.pack(">i", 348)
    assert require(tmp_path / "b.nii") == (348, 352)


@pytest.mark.parametrize("length", [0, 1 << 30, -1, 15, 48])
def test_extensions_that_lead_beyond_the_values_are_refused(path, length):
    size, _ = require(path)
    with pytest.raises(DataError, match=rf"an extension of {length} bytes where 32 are left. It is damaged; fetch"):
        require(changed(path, size + 4, struct.pack("<i", length)))


def test_values_in_front_of_the_extensions_or_beyond_the_file_are_refused(path):
    size, _ = require(path)
    at, code = (108, "<f") if size == 348 else (168, "<q")
    for offset, rule in ((100, "in front of them"), (1 << 40, "values from byte 1.09951e.12"), (-1, "from byte -1")):
        with pytest.raises(DataError, match=rule):
            require(changed(path, at, struct.pack(code, offset)))
    if size == 348:
        with pytest.raises(DataError, match="from byte nan"):
            require(changed(path, at, struct.pack("<f", np.nan)))


def test_pairs_and_other_files_are_refused(path, tmp_path):
    size, _ = require(path)
    with pytest.raises(DataError, match=r"its magic is b'ni.*one of a pair"):
        require(changed(path, 344 if size == 348 else 4, b"ni"))
    (tmp_path / "b.nii").write_bytes(b"version https://git-lfs")
    with pytest.raises(DataError, match="not a readable NIfTI file: it starts with b'version '"):
        require(tmp_path / "b.nii")


class Proxy:
    offset, dtype = 352, np.dtype("i2")

    def __init__(self, *shape):
        self.shape = shape


def test_bytes_of_packed_files_are_counted_where_many_are_announced(tmp_path):
    held = 100 << 20
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb", 6) as stream:
        for _ in range(held >> 20):
            stream.write(bytes(1 << 20))
    nifti_bounds.require_held(Proxy(held // 2 - 352 // 2), path, is_packed=True)
    with pytest.raises(DataError, match=rf"{held + 2} bytes, but the file has {held}"):
        nifti_bounds.require_held(Proxy(held // 2 - 352 // 2 + 1), path, is_packed=True)
    with pytest.raises(DataError, match=f"but the file has {path.stat().st_size}"):  # more than deflate can do
        nifti_bounds.require_held(Proxy(1 << 20, 1 << 20), path, is_packed=True)
    nifti_bounds.require_held(Proxy(1 << 20), tmp_path / "a.nii.gz", is_packed=True)  # 2 MiB: seen when it is read
