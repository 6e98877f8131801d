"""Measured against projected seconds: medians, smaller tiles, other threads, receipts that do not count."""

import json

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.tiles import Group, Need, Tile
from hpc_recon.run import rates
from hpc_recon.run.rates import Rate

GROUP = Group("fit", ("S1", "VC", "vgg", "conv"), '{"alpha": 1}')


def tile(start, stop, seconds, group=GROUP, stage="fit"):
    return Tile(group, stage, start, stop, Need(seconds=seconds))


def finish(workspace, tiles, seconds, settings=None, **run):
    folder = receipts.group_folder(workspace, tiles[0].group)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings or json.loads(tiles[0].group.settings), "digest": "x"}
    (folder / receipts.GROUP_FILE).write_text(json.dumps(content))
    for one, took in zip(tiles, seconds, strict=True):
        receipts.write(workspace, one, [], {"seconds": took, "threads": 2, "host": "node1", **run})


def test_the_factor_is_the_median_of_measured_over_projected(tmp_path):
    tiles = [tile(i * 10, i * 10 + 10, float(i + 1)) for i in range(4)]
    finish(tmp_path, tiles[:3], [1.5, 8.0, 6.0])
    found = rates.measure(tmp_path, [lambda _: tiles], n_threads=2)
    assert set(found) == {"fit"}
    assert found["fit"].ratios == (1.5, 4.0, 2.0)
    assert found["fit"].factor == found["fit"].factor_for(tiles[3:]) == 2.0
    words = found["fit"].in_words(tiles[3:])
    assert words == (
        "x 2.00, the median of measured / projected over 3 finished tiles (1.50 to 4.00); 2 threads, on node1"
    )


def test_compacted_receipts_count_as_well(tmp_path):
    tiles = [tile(i * 10, i * 10 + 10, 1.0) for i in range(12)]
    finish(tmp_path, tiles, [float(i) for i in range(12)])
    expected = rates.measure(tmp_path, [lambda _: tiles], n_threads=2)
    assert receipts.compact(tmp_path, GROUP, [one.name for one in tiles])
    assert rates.measure(tmp_path, [lambda _: tiles], n_threads=2) == expected


def test_tiles_are_projected_for_the_threads_that_they_ran_with(tmp_path):
    def plan(n_threads):
        return [tile(0, 10, 8.0 / n_threads)]

    finish(tmp_path, plan(2), [6.0], threads=1)
    assert rates.measure(tmp_path, [plan], n_threads=2)["fit"].ratios == (0.75,)


def test_receipts_of_other_settings_or_without_seconds_do_not_count(tmp_path):
    other = Group("fit", ("S1", "VC", "vgg", "fc"), '{"alpha": 1}')
    finish(tmp_path, [tile(0, 10, 1.0)], [5.0], settings={"alpha": 2})
    finish(tmp_path, [tile(0, 10, 1.0, group=other)], [None])
    plan = [tile(0, 10, 1.0), tile(0, 10, 1.0, group=other)]
    assert rates.measure(tmp_path, [lambda _: plan], n_threads=2) == {}


def test_a_tile_of_several_plans_counts_once_and_many_receipts_are_sampled(tmp_path, monkeypatch):
    tiles = [tile(i, i + 1, 1.0) for i in range(10)]
    finish(tmp_path, tiles, [float(i) for i in range(10)])
    assert len(rates.measure(tmp_path, [lambda _: tiles] * 2, n_threads=2)["fit"].ratios) == 10
    monkeypatch.setattr(rates, "MOST", 4)
    assert rates.measure(tmp_path, [lambda _: tiles], n_threads=2)["fit"].ratios == (0.0, 3.0, 6.0, 9.0)


def test_much_smaller_tiles_bound_the_time_from_both_sides():
    """A tile costs 0.1 s and 1 ms a unit, and is projected at 0.5 s and 1 ms a unit: the ratio alone is misleading."""
    small = Rate((0.2, 0.2), (0.6, 0.6), (100, 100), frozenset({2}), frozenset({"a"}))
    todo = [tile(0, 20_000, 20.5), tile(20_000, 40_000, 20.5)]
    truth = 2 * (0.1 + 20.0)
    low, high = small.factor * 41, small.by_units(todo)
    assert low == pytest.approx(41 / 3)
    assert high == pytest.approx(0.4 / 200 * 40_000)
    assert low < truth < high
    assert small.factor_for(todo) * 41 == pytest.approx(high)
    assert small.in_words(todo).startswith("between 14 s (x 0.33")
    assert "1 min 20 s (what these tiles took a unit" in small.in_words(todo)
    assert "on 2 machines" in Rate((1.0,), (1.0,), (1,), frozenset({1}), frozenset({"a", "b"})).in_words(todo)


def test_units_say_nothing_of_tiles_of_like_size_or_without_units():
    todo = [tile(0, 100, 10.0)]
    assert Rate((9.0,), (8.0,), (80,)).by_units(todo) is None
    assert Rate((1.0,), (1.0,), (1,)).by_units(todo) is None
    assert Rate((1.0,), (1.0,), (10,)).by_units([]) is None
    assert Rate().factor_for(todo) == 1.0
