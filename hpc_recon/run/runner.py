"""Run tiles on dask workers: bounded batches, attempts counted here, draining, one progress line.

`call` is what a worker executes. It is submitted by name with keys `<verb>-<tile id>`, never as a method
or a function of `__main__`, so that a worker keeps its imports and caches from tile to tile.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import queue
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, Reschedule, get_worker

from hpc_recon.core import receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ReconError
from hpc_recon.core.loading import load_study
from hpc_recon.core.tiles import Tile
from hpc_recon.run import failures, measure
from hpc_recon.run.progress import StageProgress

#: Attempts at a tile: ordinary exceptions, out-of-memory errors, workers that died while they computed it.
ATTEMPTS = 2
ATTEMPTS_OUT_OF_MEMORY = 1
ATTEMPTS_LOST_WORKER = 10
#: Tiles that the scheduler holds at once; refilled when a quarter of it is free.
WINDOW = 256
#: Seconds between two looks at jobs, signals and the lease.
TICK = 0.5
#: Unix time at which the worker's job ends; exported by the job script.
DEADLINE = "HPC_RECON_DEADLINE"
#: A tile starts only if this many times its projected seconds are left before the deadline.
DEADLINE_FACTOR = 2.0
STARTED_TOPIC = "hpc_recon-started"


@functools.lru_cache(maxsize=4)
def _study(path: str) -> Study:
    return load_study(Path(path))


def call(module: str, study_path: str, tile: Tile, xp: str = "auto") -> dict[str, Any]:
    """Compute one tile on a worker and write its receipt.

    Parameters
    ----------
    module
        The verb's module, for example `hpc_recon.fit`.
    study_path
        The resolved study, as saved by the controller.
    xp
        `auto`, `numpy` or `cupy`.

    Returns
    -------
    dict
        `seconds`, `peak_bytes` and `warnings` of the tile.
    """
    _announce(tile)
    os.environ["HPC_RECON_XP"] = xp
    study = _study(study_path)
    workspace = study.workspace
    assert workspace is not None
    receipts.remove(workspace, tile)
    with measure.recorded() as figures:
        files = importlib.import_module(module).work(study, tile)
    receipts.write(workspace, tile, files, figures)
    return {key: figures[key] for key in ("seconds", "peak_bytes", "warnings")}


def _announce(tile: Tile) -> None:
    """Tell the controller that this tile starts; leave instead if the job would end before the tile does."""
    try:
        worker = get_worker()
    except ValueError:
        return  # not on a worker: a test, or a person in a Python session
    deadline = os.environ.get(DEADLINE)
    if deadline is not None and float(deadline) - time.time() < DEADLINE_FACTOR * tile.need.seconds:
        worker.loop.add_callback(functools.partial(worker.close_gracefully, restart=False, reason="walltime"))
        time.sleep(1.0)  # the scheduler must know that this worker leaves before it places the tile again
        raise Reschedule
    worker.log_event(STARTED_TOPIC, tile.id)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that host or device memory ran out (by name: torch and cupy are not imported)."""
    return isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__


class Stop(KeyboardInterrupt):
    """A second Ctrl-C: leave at once."""


@dataclass
class Drain:
    """Whether the user asked to stop: once, finish what runs; twice, now."""

    asked: int = 0

    def ask(self) -> None:
        """Count a Ctrl-C or SIGTERM.

        Raises
        ------
        Stop
            The second time.
        """
        self.asked += 1
        if self.asked > 1:
            raise Stop


@contextlib.contextmanager
def draining(say: Callable[[str], None]) -> Iterator[Drain]:
    """Turn Ctrl-C and SIGTERM into draining while the block runs; only in the main thread."""
    drain = Drain()

    def handle(*_: object) -> None:
        if not drain.asked:
            say("stopping when the tiles that run now are done; press Ctrl-C again to stop at once")
        drain.ask()

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield drain
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@dataclass
class Outcome:
    """What became of the tiles of one stage."""

    done: list[Tile] = field(default_factory=list)
    #: Failed tiles, with the error in one line and the error itself.
    failed: list[tuple[Tile, str, BaseException]] = field(default_factory=list)
    warnings: dict[str, int] = field(default_factory=dict)
    peak_bytes: int = 0

    def plus(self, other: Outcome) -> Outcome:
        """Return the sum of two outcomes."""
        texts = {*self.warnings, *other.warnings}
        return Outcome(
            [*self.done, *other.done],
            [*self.failed, *other.failed],
            {text: self.warnings.get(text, 0) + other.warnings.get(text, 0) for text in texts},
            max(self.peak_bytes, other.peak_bytes),
        )

    def bad_input(self) -> list[str]:
        """Return the messages of failures that are the user's to correct, each once."""
        return list(dict.fromkeys(str(error) for _, _, error in self.failed if isinstance(error, ReconError)))


@dataclass
class StageRun:
    """The tiles of one stage on their way through the scheduler."""

    client: Client
    module: str
    verb: str
    study_path: Path
    workspace: Path
    xp: str
    tiles: list[Tile]
    progress: StageProgress
    outcome: Outcome = field(default_factory=Outcome)
    #: Futures in flight by key, and their tiles; a tile's attempts and how often a worker started it.
    flying: dict[str, tuple[Future[Any], Tile]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    finished: queue.SimpleQueue[Future[Any]] = field(default_factory=queue.SimpleQueue)
    begun: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def run(self, drain: Drain, tick: Callable[[int], str]) -> Outcome:
        """Submit, collect and retry until nothing is left, or until what flies has landed after a stop."""
        waiting = list(reversed(self.tiles))
        self.client.subscribe_topic(STARTED_TOPIC, lambda event: self.begun.put(event[1]))
        try:
            while waiting or self.flying:
                if drain.asked:
                    waiting.clear()
                    self._withdraw_queued()
                elif waiting and len(self.flying) <= WINDOW * 3 // 4:
                    self._submit([waiting.pop() for _ in range(min(len(waiting), WINDOW - len(self.flying)))])
                self._collect()
                self._count_starts()
                self.progress.waiting = tick(len(waiting) + len(self.flying))
                self.progress.show()
        finally:
            self.client.unsubscribe_topic(STARTED_TOPIC)
            self.client.cancel([future for future, _ in self.flying.values()], force=True)
        return self.outcome

    def _submit(self, tiles: Sequence[Tile]) -> None:
        if not tiles:
            return
        keys = []
        for tile in tiles:
            self.attempts[tile.id] = self.attempts.get(tile.id, 0) + 1
            attempt = self.attempts[tile.id]
            keys.append(f"{self.verb}-{tile.id}" + (f"-attempt{attempt}" if attempt > 1 else ""))
        n = len(tiles)
        columns = ([self.module] * n, [str(self.study_path)] * n, list(tiles), [self.xp] * n)
        futures = self.client.map(call, *columns, key=keys, retries=0, pure=False)
        for tile, key, future in zip(tiles, keys, futures, strict=True):
            self.flying[key] = (future, tile)
            future.add_done_callback(self.finished.put)

    def _collect(self) -> None:
        """Wait up to a tick for one future, then take all that have finished."""
        try:
            batch = [self.finished.get(timeout=TICK)]
        except queue.Empty:
            return
        while not self.finished.empty():
            batch.append(self.finished.get())
        landed = [(*self.flying.pop(future.key), future.status) for future in batch if future.key in self.flying]
        good = [(future, tile) for future, tile, status in landed if status == "finished"]
        for (_, tile), figures in zip(good, self.client.gather([future for future, _ in good]), strict=True):
            self._succeed(tile, figures)
        for future, tile, status in landed:
            if status == "error":
                self._fail(tile, future.exception(), future.traceback())
        # `cancelled` ones were withdrawn by us, or their scheduler is gone: they are simply left.

    def _succeed(self, tile: Tile, figures: dict[str, Any]) -> None:
        self.outcome.done.append(tile)
        self.outcome.peak_bytes = max(self.outcome.peak_bytes, figures["peak_bytes"] or 0)
        for text in figures["warnings"]:
            self.outcome.warnings[text] = self.outcome.warnings.get(text, 0) + 1
        self.progress.done += 1
        self.progress.n_units += tile.stop - tile.start
        failures.forget(self.workspace, tile)

    def _fail(self, tile: Tile, error: BaseException, trace: Any) -> None:
        limit = ATTEMPTS_OUT_OF_MEMORY if is_out_of_memory(error) else ATTEMPTS
        if isinstance(error, ReconError):
            # Bad input stays bad: not tried again, and its message says it all: no traceback file.
            self.outcome.failed.append((tile, str(error), error))
            self.progress.failed += 1
            return
        if self.attempts[tile.id] < limit:
            self._submit([tile])
            return
        text = "".join(traceback.format_exception(type(error), error, trace))
        path = failures.record(self.workspace, tile, text)
        first = (str(error).strip().splitlines() or [""])[0]
        self.outcome.failed.append((tile, f"{type(error).__name__}: {first} ({path})", error))
        self.progress.failed += 1

    def _count_starts(self) -> None:
        """Give up on tiles whose workers died under them too often (dask itself would blame their neighbours too)."""
        while not self.begun.empty():
            tile_id = self.begun.get()
            self.progress.begin()
            self.starts[tile_id] = self.starts.get(tile_id, 0) + 1
        for key, (future, tile) in list(self.flying.items()):
            lost = self.starts.get(tile.id, 0) - self.attempts[tile.id]
            if lost >= ATTEMPTS_LOST_WORKER:
                del self.flying[key]
                self.client.cancel([future], force=True)
                error = RuntimeError(
                    f"{lost} workers died while they computed this tile; their logs are in {self.workspace / 'jobs'}"
                )
                self.attempts[tile.id] = ATTEMPTS
                self._fail(tile, error, None)

    def _withdraw_queued(self) -> None:
        """Cancel what no worker has started yet."""
        self._count_starts()
        queued = [key for key, (_, tile) in self.flying.items() if not self.starts.get(tile.id)]
        futures = [self.flying.pop(key)[0] for key in queued]
        self.client.cancel(futures, force=True)
