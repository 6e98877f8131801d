"""Atomic files: old, new or none; no litter."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core import files
from hpc_recon.core.errors import DamagedStore, WorkspaceError


def test_write_creates_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.bin"
    files.write_atomic(path, b"one")
    files.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.bin"]


def test_a_failing_write_keeps_the_old_file_and_leaves_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_atomic(tmp_path / "x", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_json_round_trip_and_garbled(tmp_path: Path) -> None:
    path = files.write_json(tmp_path / "x.json", {"b": 1, "a": [1.5, None]})
    assert files.read_json(path) == {"b": 1, "a": [1.5, None]}
    path.write_bytes(b"{")
    with pytest.raises(ValueError, match=r"x\.json is not readable JSON"):
        files.read_json(path)


@pytest.mark.parametrize("size", [0, 1, 5 << 20])
def test_checksum_is_crc32(tmp_path: Path, size: int) -> None:
    payload = os.urandom(size)
    (tmp_path / "x").write_bytes(payload)
    assert files.checksum(tmp_path / "x") == zlib.crc32(payload)


@pytest.mark.parametrize(
    ("error", "full", "failure"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True, True),
        (OSError("262144 requested and 1008 written"), True, True),  # numpy, whose error has no number
        (OSError(errno.EROFS, "Read-only file system"), False, True),
        (OSError(errno.EIO, "Input/output error"), False, False),
        (DamagedStore("12 requested"), False, False),
        (ValueError("No space left on device"), False, False),
    ],
)
def test_a_disk_that_takes_no_more_is_known_by_its_error(error: BaseException, full: bool, failure: bool) -> None:
    assert files.is_full(error) is full
    assert files.is_storage_failure(error) is failure


def test_numpy_says_on_a_full_disk_what_is_looked_for() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    import numpy as np

    with (
        open("/dev/full", "wb", buffering=0) as stream,
        pytest.raises(OSError, match=r"requested and|No space") as caught,
    ):
        np.zeros(1 << 16).tofile(stream)
    assert files.is_full(caught.value)


def test_room_is_that_of_the_folder_or_the_closest_above(tmp_path: Path) -> None:
    assert files.free_bytes(tmp_path / "a" / "b") > 0
    assert files.describe_room(tmp_path / "a" / "b").endswith("are free")


def test_a_place_that_can_be_written_passes_and_a_file_does_not(tmp_path: Path) -> None:
    files.require_writable(tmp_path)
    files.require_writable(tmp_path / "a" / "b")
    (tmp_path / "x").write_text("")
    with pytest.raises(WorkspaceError, match=r"x is a file; give another by --set workspace="):
        files.require_writable(tmp_path / "x" / "ws")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WorkspaceError, match=r"cannot be written.*permissions do not allow it.*--set workspace="):
        files.require_writable(tmp_path / "ws")


def test_large_files_are_sampled_and_small_ones_are_not(tmp_path):
    small, large = tmp_path / "a", tmp_path / "b"
    small.write_bytes(b"x" * 100)
    assert files.sampled_sha256(small) == f"100:{hashlib.sha256(b'x' * 100).hexdigest()}"
    content = bytearray(np.random.default_rng(0).bytes(9 * 2**20))
    digests = []
    # The first byte, the last, and one in the piece that starts at 3/63 of what is left of the last piece count.
    for place in (None, 0, len(content) - 1, 3 * (len(content) - 65536) // 63):
        changed = bytearray(content)
        if place is not None:
            changed[place] ^= 255
        large.unlink(missing_ok=True)
        large.write_bytes(changed)
        digests.append(files.sampled_sha256(large))
    assert len(set(digests)) == 4
    large.write_bytes(content + b"x")
    assert files.sampled_sha256(large).startswith(f"{9 * 2**20 + 1}:")


def test_digest_follows_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"abcd")
    assert files.sha256(path).startswith("88d4266fd4e6338d")


def test_an_array_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = files.write_npy(tmp_path / "new" / "x.npy", values)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), values)
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_npy(path, np.array([object()], dtype=object))
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), values)
    assert [found.name for found in path.parent.iterdir()] == ["x.npy"]


def test_hidden_files_are_not_visible(tmp_path):
    for name in ("b.mat", "a.mat", "._a.mat", "c.txt"):
        (tmp_path / name).touch()
    assert files.visible(tmp_path, "*.mat") == [tmp_path / "a.mat", tmp_path / "b.mat"]
    assert files.visible(tmp_path / "absent", "*") == []
