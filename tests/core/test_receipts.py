"""Receipts: written last, removed first, damage named."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group, Tile

TILE = Tile(Group("fit", ("S1", "VC")), "fit", 0, 10)


def finished(workspace: Path, tile: Tile = TILE, name: str = "a/b.bin", content: bytes = b"hello") -> receipts.Receipt:
    (workspace / name).parent.mkdir(parents=True, exist_ok=True)
    (workspace / name).write_bytes(content)
    return receipts.write(workspace, tile, [workspace / name], {"seconds": 1.5})


def test_round_trip(tmp_path: Path) -> None:
    written = finished(tmp_path)
    path = receipts.receipt_path(tmp_path, TILE)
    assert path == tmp_path / "receipts/fit/S1/VC/fit-00000000-00000010.json"
    assert receipts.parse(path) == written
    assert written.files == {"a/b.bin": receipts.FileRecord(5, zlib.crc32(b"hello"))}


def test_no_receipt_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        receipts.write(tmp_path, TILE, [tmp_path / "absent"], {})
    assert not receipts.receipt_path(tmp_path, TILE).exists()


def test_remove_is_idempotent(tmp_path: Path) -> None:
    finished(tmp_path)
    receipts.remove(tmp_path, TILE)
    receipts.remove(tmp_path, TILE)
    assert list(receipts.iterate(tmp_path, "fit")) == []


def test_records_merge_everything_below_a_prefix(tmp_path: Path) -> None:
    finished(tmp_path)
    other = Tile(Group("fit", ("S1", "V1")), "fit", 0, 10)
    finished(tmp_path, other, "c.bin", b"xyz")
    assert set(receipts.records(tmp_path, "fit", ("S1",))) == {"a/b.bin", "c.bin"}
    assert set(receipts.records(tmp_path, "fit", ("S1", "V1"))) == {"c.bin"}
    assert receipts.records(tmp_path, "fit", ("S2",)) == {}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"files": {"a": 3}, "run": {}}', b'{"files": {}}', b"\xff\xfe"]
)
def test_a_damaged_receipt_is_named(tmp_path: Path, content: bytes) -> None:
    finished(tmp_path)
    path = receipts.receipt_path(tmp_path, TILE)
    path.write_bytes(content)
    with pytest.raises(DamagedStore, match=r"fit-00000000-00000010\.json is damaged .*remove it and run"):
        receipts.parse(path)


def test_group_digests_by_prefix(tmp_path: Path) -> None:
    for name, digest in (("vgg/a..b", "11"), ("vgg/c..d", "22"), ("alex/a", "33")):
        write_json(tmp_path / "receipts/extract" / name / "group.json", {"digest": digest})
    assert receipts.group_digests(tmp_path, "extract/vgg") == {"extract/vgg/a..b": "11", "extract/vgg/c..d": "22"}
    assert receipts.group_digests(tmp_path, "extract/alex/a") == {"extract/alex/a": "33"}
    assert receipts.group_digests(tmp_path, "extract/none") == {}
    assert receipts.group_fingerprint(tmp_path, "extract/alex/a") == {"digest": "33"}
    assert receipts.group_fingerprint(tmp_path, "extract/none") is None
