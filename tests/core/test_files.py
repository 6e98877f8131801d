"""Atomic files: old, new or none; no litter."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from hpc_recon.core import files


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
