"""Groups, tiles and their names."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core import tiles
from hpc_recon.core.tiles import Group, Need, Tile


def make(stage: str = "fit", start: int = 0, layer: str = "conv1_1") -> Tile:
    return Tile(Group("fit", ("S1", "VC", "vgg", layer)), stage, start, start + 10, Need(host_bytes=5))


@given(st.integers(0, 5000), st.integers(1, 700))
def test_ranges_cover_everything_once(total: int, step: int) -> None:
    covered = [i for start, stop in tiles.ranges(total, step) for i in range(start, stop)]
    assert covered == list(range(total))


def test_identity_is_readable_and_survives_pickling() -> None:
    tile = make(start=32768)
    assert tile.id == "fit/S1/VC/vgg/conv1_1/fit-00032768-00032778"
    assert pickle.loads(pickle.dumps(tile)) == tile


def test_need_is_no_part_of_identity() -> None:
    a = make()
    assert a == Tile(a.group, a.stage, a.start, a.stop, Need(seconds=9))


def test_stages_keep_the_order_of_the_plan() -> None:
    plan = [make("statistics"), make("fit"), make("statistics", 10)]
    assert [(name, len(found)) for name, found in tiles.stages(plan)] == [("statistics", 2), ("fit", 1)]


def test_select_by_pattern_and_limit() -> None:
    plan = [make(layer="conv1_1"), make(layer="conv2_1"), make(layer="conv2_1", start=10)]
    assert tiles.select(plan, only="vgg/conv2*", limit=None) == plan[1:]
    assert tiles.select(plan, only=None, limit=1) == plan[:1]
    assert tiles.select(plan, only="S9", limit=None) == []


def test_fingerprint_needs_each_upstream_digest() -> None:
    group = Group("fit", ("S1",), tiles.canonical({"alpha": 1.0}), ("extract/vgg",))
    one = group.fingerprint({"extract/vgg": "aa", "other": "zz"})
    assert one == {"format": tiles.FORMAT_VERSION, "settings": {"alpha": 1.0}, "upstream": {"extract/vgg": "aa"}}
    assert tiles.digest(one) != tiles.digest(group.fingerprint({"extract/vgg": "bb"}))
    with pytest.raises(KeyError):
        group.fingerprint({})


def test_store_seconds_grow_with_bytes() -> None:
    assert tiles.store_seconds(0) == tiles.START_SECONDS
    assert tiles.store_seconds(2 * 10**8) == pytest.approx(tiles.START_SECONDS + 1)
