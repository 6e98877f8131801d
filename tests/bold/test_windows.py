"""Events to windows: the published designs counted, and every event that cannot be used."""

from __future__ import annotations

import pytest

from hpc_recon.bold.windows import WINDOWS_S, Event, count_overlaps, place_windows, repetitions, whole_volumes
from hpc_recon.core.errors import DataError


def place(events: list[Event], **changes: float) -> list:
    options = {"tr_s": 2.0, "n_volumes": 239, "n_dropped": 4, "n_shift": 2, "n_window": 4} | changes
    return place_windows(events, where="run 3", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "tr_s", "expected"), [(8, 2, 4), (12, 2, 6), (0, 2, 0), (8, 0.8, 10), (8, 0.8004, 10)]
)
def test_durations_are_whole_volumes(seconds: float, tr_s: float, expected: int) -> None:
    assert whole_volumes(seconds, tr_s, name="window_s", where="run 1") == expected


def test_a_hundredth_of_a_volume_is_the_most_a_duration_may_be_off() -> None:
    with pytest.raises(DataError, match=r"10\.013 volumes"):
        whole_volumes(8, 0.799, name="window_s", where="run 1")


def test_a_tr_that_does_not_divide_the_window_names_both_neighbours() -> None:
    with pytest.raises(DataError, match=r"run 1: window_s of 8 s is 2\.667 volumes at a TR of 3 s\. Choose 6 or 9 s"):
        whole_volumes(8, 3.0, name="window_s", where="run 1")


@pytest.mark.parametrize("tr_s", [0.0, -2.0, float("nan")])
def test_a_missing_tr_is_refused(tr_s: float) -> None:
    with pytest.raises(DataError, match="the TR is"):
        whole_volumes(8, tr_s, name="window_s", where="run 1")


def test_a_window_is_the_block_shifted_and_counted_after_the_dropped_volumes() -> None:
    # Onset 32 s is volume 16 of the file, 12 of those kept; shifted by 4 s it is 14 to 18.
    window = place([Event(32, "a")])[0]
    assert (window.start, window.stop, window.block, window.is_truncated) == (14, 18, 1, False)


def test_the_published_test_design_truncates_its_last_window_only() -> None:
    """478 s: rest of 32 s, 55 blocks of 8 s, rest of 6 s; a window of 12 s, shifted by 4 s."""
    events = [Event(32 + 8 * block, f"s{block}") for block in range(55)]
    windows = place(events, n_window=round(WINDOWS_S["natural"] / 2))
    assert [w.stop - w.start for w in windows] == [6] * 54 + [5]
    assert [w.is_truncated for w in windows] == [False] * 54 + [True]
    assert count_overlaps(windows) == 54
    training = place(events, n_window=round(WINDOWS_S["training"] / 2))
    assert {w.stop - w.start for w in training} == {4}
    assert count_overlaps(training) == 0


def test_half_a_window_is_enough() -> None:
    window = place([Event(470, "a")])[0]
    assert (window.stop - window.start, window.is_truncated) == (2, True)


def test_onsets_a_few_milliseconds_off_go_to_the_nearest_volume() -> None:
    assert [w.start for w in place([Event(31.98, "a"), Event(40.03, "b")])] == [14, 18]


@pytest.mark.parametrize(
    ("events", "rule"),
    [
        ([Event(33.0, "a")], "away from a volume"),
        ([Event(4.0, "a")], "within the 4 volumes that are dropped"),
        ([Event(-8.0, "a")], "within the 4 volumes that are dropped"),
        ([Event(472.0, "a")], "less than half exist"),
        ([Event(4000.0, "a")], "less than half exist"),
        ([Event(40.0, "a"), Event(32.0, "b")], "does not come after"),
        ([Event(40.0, "a"), Event(40.0, "b")], "does not come after"),
        ([Event(float("nan"), "a")], "does not come after"),
    ],
)
def test_events_that_cannot_be_used_are_named(events: list[Event], rule: str) -> None:
    with pytest.raises(DataError, match=rf"run 3: 1 of {len(events)} events .*{rule}"):
        place(events)


def test_repetitions_are_a_label_twice_in_a_row_unless_the_event_says_otherwise() -> None:
    events = [Event(0, "a"), Event(8, "a"), Event(16, "a"), Event(24, "b"), Event(32, "a")]
    assert repetitions(events) == [False, True, True, False, False]
    told = [Event(0, "a"), Event(8, "a", False), Event(16, "b", True)]
    assert repetitions(told) == [False, False, True]
