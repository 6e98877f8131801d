"""Receipts: written last, removed first, compacted without being lost, damage named."""

from __future__ import annotations

import itertools
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import write_json
from hpc_recon.core.listing import Listing
from hpc_recon.core.places import Folder
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
    with pytest.raises(DamagedStore, match=r"fit-00000000-00000010\.json is damaged"):
        receipts.records(tmp_path, "fit")
    receipts.remove(tmp_path, TILE)
    assert receipts.read(tmp_path, TILE) is None, "the remedy works"


def test_group_digests_by_prefix(tmp_path: Path) -> None:
    for name, digest in (("vgg/a..b", "11"), ("vgg/c..d", "22"), ("alex/a", "33")):
        write_json(tmp_path / "receipts/extract" / name / "group.json", {"digest": digest})
    assert receipts.group_digests(tmp_path, "extract/vgg") == {"extract/vgg/a..b": "11", "extract/vgg/c..d": "22"}
    assert receipts.group_digests(tmp_path, "extract/alex/a") == {"extract/alex/a": "33"}
    assert receipts.group_digests(tmp_path, "extract/none") == {}
    assert receipts.group_fingerprint(tmp_path, "extract/alex/a") == {"digest": "33"}
    assert receipts.group_fingerprint(tmp_path, "extract/none") is None


GROUP = Group("fit", ("S1", "VC"))
N = 20
TILES = [Tile(GROUP, "fit", i, i + 1) for i in range(N)]
NAMES = [tile.name for tile in TILES]


def file_of(tile: Tile) -> str:
    return f"a/{tile.start}.bin"


def compute(workspace: Path, tile: Tile, content: bytes = b"x") -> receipts.Receipt:
    """Do what a worker does with one tile."""
    receipts.remove(workspace, tile)
    (workspace / "a").mkdir(exist_ok=True)
    (workspace / file_of(tile)).write_bytes(content)
    run = {"seconds": float(tile.start), "versions": {"numpy": "2"}, "host": f"node{tile.start % 3}"}
    return receipts.write(workspace, tile, [workspace / file_of(tile)], run)


@pytest.fixture
def group(tmp_path: Path) -> Path:
    """A workspace with one group of finished tiles, and another group below and beside it."""
    for tile in TILES:
        compute(tmp_path, tile)
    write_json(receipts.group_folder(tmp_path, GROUP) / "group.json", {"digest": "d"})
    finished(tmp_path, Tile(Group("fit", ("S1", "VC", "deeper")), "fit", 0, 1), "deeper.bin")
    finished(tmp_path, Tile(Group("fit", ("S1", "VC2")), "fit", 0, 1), "beside.bin")
    return tmp_path


def names_in(workspace: Path) -> set[str]:
    return {path.name for path in receipts.group_folder(workspace, GROUP).iterdir() if path.is_file()}


def everything(workspace: Path) -> dict[str, receipts.Receipt]:
    return dict(receipts.iterate(workspace, "fit"))


def test_compaction_changes_how_receipts_lie_and_not_what_they_say(group: Path) -> None:
    before = everything(group)
    assert receipts.compact(group, GROUP, NAMES)
    assert names_in(group) == {"group.json", "finished.json"}
    assert everything(group) == before
    assert receipts.Listing(group, "fit").done("fit/S1/VC") == set(NAMES)
    assert receipts.read(group, TILES[3]) == before[TILES[3].id]
    assert receipts.group_fingerprint(group, "fit/S1/VC") == {"digest": "d"}
    assert not receipts.compact(group, GROUP, NAMES), "there is nothing left to do"
    text = (receipts.group_folder(group, GROUP) / "finished.json").read_text()
    assert text.count("numpy") == 1, "what all receipts have in common is written once"


def test_only_finished_groups_that_are_worth_it_are_compacted(group: Path) -> None:
    assert not receipts.compact(group, GROUP, [*NAMES, "fit-00000099-00000100"])
    assert not receipts.compact(group, Group("fit", ("S1", "VC2")), ["fit-00000000-00000001"])
    assert "finished.json" not in names_in(group)


def test_a_tile_of_a_compacted_group_is_removed_without_touching_the_others(group: Path) -> None:
    receipts.compact(group, GROUP, NAMES)
    shared = receipts.group_folder(group, GROUP) / "finished.json"
    before = shared.read_bytes()
    for tile in TILES[:2]:
        receipts.remove(group, tile)
        receipts.remove(group, tile)
    assert shared.read_bytes() == before, "workers of one group would write over each other"
    assert receipts.read(group, TILES[0]) is None
    assert receipts.Listing(group, "fit/S1/VC").done("fit/S1/VC") == set(NAMES[2:])
    assert file_of(TILES[0]) not in receipts.records(group, "fit")
    # One is computed again; its own receipt counts.
    redone = compute(group, TILES[0], b"longer")
    assert receipts.read(group, TILES[0]) == redone
    assert receipts.Listing(group, "fit/S1/VC").done("fit/S1/VC") == set(NAMES) - {NAMES[1]}
    assert not receipts.compact(group, GROUP, NAMES), "a tile is missing"
    compute(group, TILES[1])
    assert receipts.compact(group, GROUP, NAMES)
    assert names_in(group) == {"group.json", "finished.json"}
    assert receipts.read(group, TILES[0]) == redone


def test_workers_that_redo_tiles_of_a_compacted_group_at_once_lose_nothing(group: Path) -> None:
    receipts.compact(group, GROUP, NAMES)
    with ThreadPoolExecutor(8) as pool:
        redone = list(pool.map(lambda tile: compute(group, tile, b"new"), TILES[::2]))
    for tile, receipt in zip(TILES[::2], redone, strict=True):
        assert receipts.read(group, tile) == receipt
    assert receipts.Listing(group, "fit").done("fit/S1/VC") == set(NAMES)
    receipts.compact(group, GROUP, NAMES)
    assert receipts.records(group, "fit")[file_of(TILES[0])].length == 3
    assert receipts.records(group, "fit")[file_of(TILES[1])].length == 1


class Killed(BaseException):
    """A kill -9 in the middle of something."""


def steps(workspace: Path, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Do `act` again and again, each time killed before a later change of a file; yield after each kill."""
    real_write, real_unlink = Folder.write_atomic, Path.unlink
    for allowed in itertools.count():
        left = [allowed]

        def count(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Folder, "write_atomic", lambda *a, count=count: (count(), real_write(*a)))
            patch.setattr(Path, "unlink", lambda *a, count=count, **k: (count(), real_unlink(*a, **k)))
            try:
                act()
            except Killed:
                pass
            else:
                return
        yield allowed


def test_a_kill_at_any_moment_of_compaction_loses_no_receipt(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts.compact(group, GROUP, NAMES)
    for tile in TILES[:3]:
        compute(group, tile, b"again")
    expected = everything(group)
    kept = group.parent / "kept"
    shutil.copytree(group / "receipts", kept)

    def act() -> None:
        receipts.compact(group, GROUP, NAMES)

    n = 0
    for _ in steps(group, act, monkeypatch):
        assert everything(group) == expected
        receipts.compact(group, GROUP, NAMES)  # the next start finishes it
        assert everything(group) == expected
        assert names_in(group) == {"group.json", "finished.json"}
        shutil.rmtree(group / "receipts")
        shutil.copytree(kept, group / "receipts")
        n += 1
    assert n >= 6, "finished.json, three .removed, three receipts"


def test_a_kill_while_a_receipt_is_removed_leaves_the_tile_done_or_not(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts.compact(group, GROUP, NAMES)
    redone = compute(group, TILES[0], b"again")
    (receipts.group_folder(group, GROUP) / f"{NAMES[0]}.removed").unlink()  # as after a compaction that was killed
    seen = []
    for _ in steps(group, lambda: receipts.remove(group, TILES[0]), monkeypatch):
        seen.append(receipts.read(group, TILES[0]))
    assert seen == [redone, redone], "never what finished.json said before"
    assert receipts.read(group, TILES[0]) is None


def test_many_are_removed_at_once_by_the_controller(group: Path) -> None:
    other = Tile(Group("fit", ("S1", "VC2")), "fit", 0, 1)
    receipts.compact(group, GROUP, NAMES)
    compute(group, TILES[7], b"again")
    receipts.remove_all(group, [*TILES[5:], other])
    assert receipts.Listing(group, "fit").done("fit/S1/VC") == set(NAMES[:5])
    assert receipts.read(group, other) is None
    for tile in TILES[5:]:
        compute(group, tile)
    assert len(everything(group)) == N + 1
    receipts.remove_all(group, TILES)
    assert "finished.json" not in names_in(group), "nothing is left in it"
    assert len(everything(group)) == 1


def test_all_receipts_of_a_group_go_and_its_fingerprint_stays(group: Path) -> None:
    receipts.compact(group, GROUP, NAMES)
    compute(group, TILES[0])
    receipts.remove(group, TILES[1])
    receipts.remove_group(group, "fit/S1/VC")
    assert names_in(group) == {"group.json"}
    assert len(everything(group)) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2, "shared": {}, "tiles": {}}'])
def test_a_damaged_finished_file_is_named_and_losing_it_means_computing_again(group: Path, content: bytes) -> None:
    receipts.compact(group, GROUP, NAMES)
    path = receipts.group_folder(group, GROUP) / "finished.json"
    path.write_bytes(content)
    for ask in (
        lambda: everything(group),
        lambda: receipts.Listing(group, "fit").done("fit/S1/VC"),
        lambda: receipts.damaged(group, TILES, checksums=False),
        lambda: receipts.remove_all(group, TILES[:1]),
    ):
        with pytest.raises(
            DamagedStore, match=r"finished\.json, the receipts of a finished group, is damaged .*remove it"
        ):
            ask()
    receipts.remove(group, TILES[0])  # a worker need not read it
    path.unlink()
    assert receipts.Listing(group, "fit").done("fit/S1/VC") == frozenset()


def test_a_finished_file_with_a_damaged_entry_is_named(group: Path) -> None:
    receipts.compact(group, GROUP, NAMES)
    path = receipts.group_folder(group, GROUP) / "finished.json"
    path.write_text(path.read_text().replace('"files":{', '"filez":{', 1))
    with pytest.raises(DamagedStore, match=r"finished\.json, the receipts of a finished group, is damaged \('files'\)"):
        receipts.records(group, "fit")


def test_a_damaged_fingerprint_is_named(group: Path) -> None:
    (receipts.group_folder(group, GROUP) / "group.json").write_text("")
    with pytest.raises(DamagedStore, match=r"group\.json is damaged .*remove its folder"):
        receipts.group_digests(group, "fit")


def test_a_group_that_is_compacted_while_it_is_read_is_read_again(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = everything(group)
    real = Listing.read

    def late(self: Listing, key: str) -> object:
        monkeypatch.setattr(Listing, "read", real)
        assert receipts.compact(group, GROUP, NAMES)  # after the listing, before the first receipt is opened
        return real(self, key)

    monkeypatch.setattr(receipts, "PAUSE", 0.0)
    monkeypatch.setattr(Listing, "read", late)
    assert everything(group) == expected
    assert names_in(group) == {"group.json", "finished.json"}


def test_damage_is_told_by_tile(group: Path) -> None:
    receipts.compact(group, GROUP, NAMES)
    compute(group, TILES[4])
    assert receipts.damaged(group, TILES, checksums=True) == {}
    (group / file_of(TILES[9])).unlink()
    (group / file_of(TILES[4])).write_bytes(b"")
    (group / file_of(TILES[5])).write_bytes(b"yy")
    (group / file_of(TILES[6])).write_bytes(b"y")
    receipts.receipt_path(group, TILES[8]).write_text("")
    lengths = {
        TILES[9].id: "9.bin is absent, its receipt says 1 bytes",
        TILES[4].id: "4.bin is empty, its receipt says 1 bytes",
        TILES[5].id: "5.bin has 2 bytes, its receipt says 1",
        TILES[8].id: "is damaged",
    }
    found = receipts.damaged(group, TILES[::-1], checksums=False)
    assert list(found) == [tile.id for tile in (TILES[9], TILES[8], TILES[5], TILES[4])], "in the order that was asked"
    assert all(lengths[tile_id] in reason for tile_id, reason in found.items())
    found = receipts.damaged(group, TILES, checksums=True)
    assert found.keys() == {*lengths, TILES[6].id}
    assert "6.bin has the length that its receipt says, but another checksum" in found[TILES[6].id]
    assert receipts.damaged(group, TILES[:4], checksums=True) == {}
    assert receipts.damaged_group(group, "fit/S1/VC", checksums=True) == found
    verified = receipts.verify(group, "fit", checksums=True)
    assert (verified.n_files, verified.n_damaged) == (N + 2, 5)
    # Making them anew repairs them.
    for tile in TILES[4:10]:
        compute(group, tile)
    assert receipts.damaged(group, TILES, checksums=True) == {}


def test_several_damaged_files_of_one_tile_are_counted(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.bin", "b.bin", "c.bin")]
    for path in paths:
        path.write_bytes(b"x")
    receipts.write(tmp_path, TILE, paths, {})
    for path in paths:
        path.unlink()
    assert receipts.damaged(tmp_path, [TILE], checksums=False)[TILE.id].endswith(
        "a.bin is absent, its receipt says 1 bytes, and 2 more files"
    )
