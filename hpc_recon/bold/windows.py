"""Which volumes belong to which sample: events in seconds become windows of volumes.

Rules, stated once. An onset counts from the first volume of the image file (BIDS). Durations of the options must be
whole numbers of volumes. An onset that is not on a volume's start is moved to the nearest one if it is at most a
quarter of a TR away. A window that reaches past the run's last volume keeps the volumes that exist if they are at
least half of it: so it is in the published design, where the last 12 s window of a natural-image run (onset 464 s,
shifted by 4 s) ends 2 s after the 478 s of the run. Windows longer than a block overlap the next block; that too is
the published design, and is counted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_recon.core.errors import DataError

#: Seconds averaged for a sample of each kind of dataset (Shen et al. 2019): 4, 6, 6, 6 and 8 volumes at a TR of 2 s.
WINDOWS_S = {"training": 8.0, "natural": 12.0, "artificial": 12.0, "letters": 12.0, "imagery": 16.0}
#: Part of a TR that an onset may lie away from a volume; scanners and stimulus computers differ by milliseconds.
ONSET_TOLERANCE = 0.25
#: Part of a volume that a duration may differ from a whole number: headers store the TR in float32, or round it.
_WHOLE_TOLERANCE = 0.01
#: The least part of a window that must lie within the run.
_LEAST_PART = 0.5


@dataclass(frozen=True)
class Event:
    """One stimulus block: `onset_s` from the first volume of the file, its `label`, and whether it repeats the last.

    `is_repetition` None leaves that to the rule of `repetitions`. Rest and cues are not events here.
    """

    onset_s: float
    label: str
    is_repetition: bool | None = None


@dataclass(frozen=True)
class Window:
    """The volumes [start, stop) of one sample, counted after the dropped ones; its event and its number in the run."""

    start: int
    stop: int
    event: Event
    block: int
    is_truncated: bool


def whole_volumes(seconds: float, tr_s: float, *, name: str, where: str) -> int:
    """Return how many volumes a duration is.

    Parameters
    ----------
    seconds
        At least 0.
    tr_s
        Repetition time in seconds.
    name, where
        The option and the run, for messages.

    Raises
    ------
    DataError
        If the TR is missing (not above 0) or the duration is not a whole number of volumes.

    Examples
    --------
    >>> whole_volumes(8, 2.0, name="window_s", where="run 1")
    4
    """
    if not (math.isfinite(tr_s) and tr_s > 0):
        raise DataError(f"{where}: the TR is {tr_s} s. Give it in seconds (`tr_s`); the header does not know it.")
    if not (math.isfinite(seconds) and seconds >= 0):
        raise DataError(f"{where}: {name} is {seconds} s; it must be a number of at least 0.")
    volumes = seconds / tr_s
    if abs(volumes - round(volumes)) > _WHOLE_TOLERANCE:
        below, above = math.floor(volumes) * tr_s, math.ceil(volumes) * tr_s
        raise DataError(
            f"{where}: {name} of {seconds:g} s is {volumes:.3f} volumes at a TR of {tr_s:g} s. Choose {below:g} or"
            f" {above:g} s; volumes are not split."
        )
    return round(volumes)


def repetitions(events: Sequence[Event]) -> list[bool]:
    """Return which blocks of a run, in time order, are one-back repetitions.

    An event that says so itself is believed. Otherwise a block is a repetition if its label is the previous block's.

    Examples
    --------
    >>> repetitions([Event(0, "a"), Event(8, "a"), Event(16, "b"), Event(24, "a")])
    [False, True, False, False]
    """
    found = []
    previous: str | None = None
    for event in events:
        found.append(event.label == previous if event.is_repetition is None else event.is_repetition)
        previous = event.label
    return found


def place_windows(
    events: Sequence[Event],
    *,
    tr_s: float,
    n_volumes: int,
    n_dropped: int,
    n_shift: int,
    n_window: int,
    where: str,
) -> list[Window]:
    """Return the window of every event, by the rules at the top of this module.

    Parameters
    ----------
    events
        In time order.
    tr_s
        Repetition time, seconds.
    n_volumes
        Volumes of the file, the dropped ones included.
    n_dropped, n_shift, n_window
        Volumes dropped at the start, of the haemodynamic shift, and of a window.
    where
        The run, for messages.

    Returns
    -------
    One window an event; `block` is the event's number in the run, from 1.

    Raises
    ------
    DataError
        If events are out of order, twice at one onset, off the volumes, before the first kept volume, or beyond the
        run. All events that are wrong are counted, the first is shown.
    """
    if n_window < 1:
        raise DataError(f"{where}: a window must have at least one volume, not {n_window}.")
    n_kept = n_volumes - n_dropped
    windows, problems = [], []
    previous = -math.inf
    for number, event in enumerate(events, start=1):
        name = f"event {number} ({event.label!r}, onset {event.onset_s:g} s)"
        if not math.isfinite(event.onset_s) or event.onset_s <= previous:
            problems.append(f"{name} does not come after the event before it ({previous:g} s)")
            continue
        previous = event.onset_s
        volume = round(event.onset_s / tr_s)
        if abs(event.onset_s / tr_s - volume) > ONSET_TOLERANCE:
            problems.append(f"{name} is more than a quarter of the TR ({tr_s:g} s) away from a volume")
            continue
        start = volume - n_dropped + n_shift
        stop = start + n_window
        if volume < n_dropped:
            problems.append(f"{name} is within the {n_dropped} volumes that are dropped at the start")
        elif n_kept - start < _LEAST_PART * n_window:
            problems.append(
                f"{name} needs volumes {start + n_dropped} to {stop + n_dropped} of {n_volumes}: less than half exist"
            )
        else:
            windows.append(Window(start, min(stop, n_kept), event, number, stop > n_kept))
    if problems:
        raise DataError(
            f"{where}: {len(problems)} of {len(events)} events cannot be used; the first: {problems[0]}. Check that"
            " the events belong to this run and that onsets count from the first volume of the file, in seconds."
        )
    return windows


def count_overlaps(windows: Sequence[Window]) -> int:
    """Return how many windows share a volume with the window before them."""
    return sum(later.start < earlier.stop for earlier, later in itertools.pairwise(windows))
