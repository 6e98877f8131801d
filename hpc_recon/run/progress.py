"""One line that says how far a stage is: on a terminal it is redrawn, elsewhere printed every half minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from hpc_recon.core.redaction import for_terminal
from hpc_recon.core.text import format_seconds
from hpc_recon.run import terminal

#: What a tile of a command counts from start to stop, if that is not units of a layer.
COUNTED = {"extract": "stimuli", "train": "steps", "reconstruct": "images"}
#: Seconds between two lines where the output is not a terminal.
PLAIN_EVERY = 30.0


def console() -> Console:
    """Return the console of messages: standard error, so that standard output stays for results."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line for the user on standard error; to nobody if it was a terminal that is gone."""
    with _or_nobody():
        console().print(for_terminal(text), markup=False)


@contextlib.contextmanager
def _or_nobody() -> Iterator[None]:
    """Let a run go on whose terminal hung up without a signal (`disown`)."""
    try:
        yield
    except OSError:
        if not terminal.leave_lost():
            raise


@dataclass
class StageProgress:
    """Counts of one stage and their line.

    Attributes
    ----------
    n_units
        Sum of `stop - start` of the tiles done: units of a decoder, stimuli, images.
    waiting
        What the run waits for, for example `2 jobs pending (Priority)`; empty if workers are busy.
    """

    title: str
    n_tiles: int
    total_units: int
    done: int = 0
    failed: int = 0
    n_units: int = 0
    waiting: str = ""
    started: float | None = None
    _said: float = field(default_factory=time.monotonic)
    _bar: Progress | None = None

    def __enter__(self) -> StageProgress:
        screen = console()
        if screen.is_terminal:
            # Not markup: the line holds words of the queue.
            text = TextColumn("{task.fields[line]}", markup=False)
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), text)
            self._bar = Progress(*columns, console=screen, refresh_per_second=4)
            self._bar.add_task(self.title, total=self.n_tiles, line=self.line())
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.show(force=True)
        if self._bar is not None:
            with _or_nobody():
                self._bar.stop()

    def begin(self) -> None:
        """Start the clock of the rate, with the first tile: waiting for the queue does not count."""
        if self.started is None:
            self.started = time.monotonic()

    def line(self) -> str:
        """Return `done 3, failed 0, left 7; 1,200 units/s; 12 s left`."""
        seconds = 0.0 if self.started is None else time.monotonic() - self.started
        text = f"done {self.done}, failed {self.failed}, left {self.n_tiles - self.done - self.failed}"
        if self.n_units and seconds > 0:
            rate = self.n_units / seconds
            counted = COUNTED.get(self.title.partition(" ")[0], "units")
            noun = counted if self.total_units != self.n_tiles else "tiles"
            text += f"; {rate:,.0f} {noun}/s" if rate >= 10 else f"; {rate:.2g} {noun}/s"
            left = max(0, self.total_units - self.n_units)
            text += f"; {format_seconds(left / rate)} left" if left else f"; {format_seconds(seconds)}"
        return f"{text}; {for_terminal(self.waiting)}" if self.waiting else text

    def show(self, *, force: bool = False) -> None:
        """Redraw the line, or print it if the last print is long ago."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done + self.failed, line=self.line())
        elif force or time.monotonic() - self._said >= PLAIN_EVERY:
            self._said = time.monotonic()
            say(f"{self.title}: {self.line()}")
