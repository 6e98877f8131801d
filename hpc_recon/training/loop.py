"""Steps of a trainer, one after the other: batches made ready by threads, losses noted, checkpoints kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from hpc_recon.core import deadline
from hpc_recon.core.array import Array
from hpc_recon.core.errors import Unfinished
from hpc_recon.methods.trainers import Trainer

#: Batches that are made ready for each thread that makes them.
AHEAD = 2
#: Before a job ends, so many times the seconds of the longest checkpoint so far are kept, and these beside them.
MARGIN, MARGIN_SECONDS = 3.0, 20.0

Batch = dict[str, Array]


@dataclass
class Progress:
    """How far a part of a training is.

    Attributes
    ----------
    step
        Steps done since the training began.
    rows
        One row for the table of losses every few steps: the step's number, then the trainer's columns (NaN: none).
    shown
        Steps of this part after which pictures were made.
    """

    step: int
    rows: list[list[float]] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """How many steps apart rows, checkpoints and pictures are, and by how many threads batches are made."""

    log_every: int
    checkpoint_every: int
    loading_threads: int
    pictures_every: int | None = None


def run(
    trainer: Trainer,
    batch: Callable[[int], Batch],
    progress: Progress,
    *,
    stop: int,
    pace: Pace,
    keep: Callable[[Progress], None],
    show: Callable[[int], object] | None = None,
) -> None:
    """Train from `progress.step` to `stop`; `progress` is brought up to date.

    Parameters
    ----------
    batch
        Returns the batch of a step, from any thread.
    keep
        Writes a checkpoint of the trainer and of the progress; called every `checkpoint_every` steps, not at the end.
    show
        Makes pictures after a step; called every `pictures_every` steps, not at the end, before a checkpoint is kept.

    Raises
    ------
    Unfinished
        If the job is about to end; a checkpoint has been kept.
    """
    longest = 0.0
    with _ready(batch, progress.step, stop, n_threads=pace.loading_threads) as batches:
        for shown in batches:
            figures = trainer.step(shown)
            progress.step += 1
            if progress.step % pace.log_every == 0 or progress.step == stop:
                nothing = float("nan")
                progress.rows.append([float(progress.step), *(figures.get(name, nothing) for name in trainer.columns)])
            if progress.step == stop:
                return
            if show is not None and pace.pictures_every and progress.step % pace.pictures_every == 0:
                show(progress.step)
                progress.shown.append(progress.step)
            left = deadline.seconds_left()
            is_late = left is not None and left < MARGIN * longest + MARGIN_SECONDS
            if is_late or progress.step % pace.checkpoint_every == 0:
                start = time.monotonic()
                keep(progress)
                longest = max(longest, time.monotonic() - start)
            if is_late:
                raise Unfinished(
                    f"{stop - progress.step} of the part's steps are left, but the job ends in {left:.0f} s; a "
                    "checkpoint is kept, and the next job goes on from it"
                )


@contextmanager
def _ready(batch: Callable[[int], Batch], start: int, stop: int, *, n_threads: int) -> Iterator[Iterator[Batch]]:
    """Give the batches of the steps in order; threads make the next ones meanwhile."""
    waiting: deque[Future[Batch]] = deque()
    steps = iter(range(start, stop))
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="loading")

    def fill() -> None:
        while len(waiting) < AHEAD * n_threads and (step := next(steps, None)) is not None:
            waiting.append(pool.submit(batch, step))

    def each() -> Iterator[Batch]:
        fill()
        while waiting:
            found = waiting.popleft().result()
            fill()
            yield found

    try:
        yield each()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
