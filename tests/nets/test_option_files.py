"""Small files that options name: whatever is wrong with one is a message with its path and a remedy."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hpc_recon.core.errors import DataError
from hpc_recon.nets import option_files


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(3))
    return stream.getvalue()


def _announced(n: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (n,)})
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04xxxx", b"1 2 3", _npz(), _announced(10**12)],
    ids=["empty", "zip", "text", "npz", "huge"],
)
def test_what_is_no_npy_is_said(tmp_path, content: bytes):
    """An empty file, a zip and a header that announces terabytes ended in EOFError, BadZipFile and MemoryError."""
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a mask cannot be read as \.npy \(.*\); give a \.npy"):
        option_files.numbers(tmp_path / "a.npy", what="a mask", remedy="give a .npy")
    with pytest.raises(DataError, match="cannot be read"):
        option_files.numbers(tmp_path / "absent.npy", what="a mask", remedy="give a .npy")


def test_numbers_come_back_as_they_were_saved(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype="i2").reshape(2, 3))
    found = option_files.numbers(tmp_path / "a.npy", what="", remedy="")
    np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3))
    assert found.dtype == np.int16


def test_an_image_is_read_as_stimuli_are(tmp_path):
    Image.fromarray(np.array([[[255, 0, 51]]], np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_allclose(option_files.image(tmp_path / "a.png", what="start_file"), [[[1.0, 0.0, 0.2]]])
    deep = np.array([[0, 257 * 128, 65535]], np.uint16)  # 16 bits were cut at 255, so that all but black was white
    Image.fromarray(deep).save(tmp_path / "deep.png")
    found = option_files.image(tmp_path / "deep.png", what="start_file")[0, :, 0]
    np.testing.assert_allclose(found, [0.0, 128 / 255, 1.0], atol=1e-6)


def test_an_image_of_more_pixels_than_its_bytes_can_hold_is_refused(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b""))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(DataError, match=r"start_file .*bomb\.png cannot be read as an image"):
        option_files.image(tmp_path / "bomb.png", what="start_file")
