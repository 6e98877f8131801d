"""Run tiles on dask workers: bounded batches, attempts counted here, draining, one progress line.

`call` is what a worker executes. It is submitted by name with keys `<verb>-<tile id>`, never as a method
or a function of `__main__`, so that a worker keeps its imports and caches from tile to tile. What a tile took comes
back as an event, not as the task's result: a result lives on its worker, and asking a worker that has just died for
it would block the controller.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import queue
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from distributed import Client, Future, KilledWorker, Reschedule, get_worker

from hpc_recon.core import deadline, receipts
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ReconError, Unfinished
from hpc_recon.core.files import is_storage_failure
from hpc_recon.core.loading import load_study
from hpc_recon.core.redaction import without_secrets
from hpc_recon.core.tiles import Tile
from hpc_recon.run import environment, failures, measure
from hpc_recon.run.draining import Drain
from hpc_recon.run.failures import Epitaph, is_out_of_memory
from hpc_recon.run.progress import StageProgress

#: Attempts at a tile: ordinary exceptions, out-of-memory errors, workers that died while they computed it.
ATTEMPTS = 2
ATTEMPTS_OUT_OF_MEMORY = 1
ATTEMPTS_LOST_WORKER = 10
#: Workers that may die while a tile only waits on them; without a limit, one that kills its worker before it can say
#: that it starts would be tried for ever.
ATTEMPTS_BLAMED = 100
#: Seconds that the scheduler gets to say why a worker died, before the tile is tried again.
VERDICT_WITHIN = 3.0
#: Tiles that the scheduler holds at once, or twice as many as there may be workers; refilled when a quarter is free.
WINDOW = 256
#: Seconds between two looks at jobs, signals and the lease.
TICK = 0.5
#: Unix time at which the worker's job ends.
DEADLINE = deadline.VARIABLE
#: A tile starts only if this many times its projected seconds are left before the deadline.
DEADLINE_FACTOR = 2.0
#: Workers say here that a tile starts (`[tile id, address]`), or that they give it back unfinished (`[tile id, None]`),
#: and what it took (`[tile id, peak bytes, warnings]`).
STARTED_TOPIC = "hpc_recon-started"
ENDED_TOPIC = "hpc_recon-ended"


@functools.lru_cache(maxsize=4)
def _study(path: str) -> Study:
    return load_study(Path(path))


def call(module: str, study_path: str, tile: Tile, xp: str = "auto") -> None:
    """Compute one tile on a worker and write its receipt.

    Parameters
    ----------
    module
        The verb's module, for example `hpc_recon.fit`.
    study_path
        The resolved study, as saved by the controller.
    xp
        `auto`, `numpy` or `cupy`.

    Raises
    ------
    Exception
        Whatever the tile raises; an out-of-memory error has a note with the bytes projected and used.
    """
    worker = _worker()
    if worker is not None:
        environment.introduce(worker)
        _leave_if_late(worker, tile)
        worker.log_event(STARTED_TOPIC, [tile.id, worker.address])
    os.environ["HPC_RECON_XP"] = xp
    study = _study(study_path)
    workspace = study.workspace
    assert workspace is not None
    with without_secrets():  # what is raised stands in logs
        receipts.remove(workspace, tile)
        try:
            with measure.recorded() as figures:
                files = importlib.import_module(module).work(study, tile)
        except Unfinished:
            if worker is None:
                raise
            worker.log_event(STARTED_TOPIC, [tile.id, None])
            _leave(worker)
        except Exception as error:
            if is_out_of_memory(error):
                error.add_note(failures.memory_note(tile, used=measure.peak_memory()))
            raise
        receipts.write(workspace, tile, files, figures)
    if worker is not None:
        worker.log_event(ENDED_TOPIC, [tile.id, figures["peak_bytes"] or 0, figures["warnings"]])


def _worker() -> Any:
    """Return the dask worker of this process; None in a test, or in a person's Python session."""
    try:
        return get_worker()
    except ValueError:
        return None


def _leave_if_late(worker: Any, tile: Tile) -> None:
    """Leave, and give the tile back, if the job would end before the tile does; the node's own clock decides."""
    left = deadline.seconds_left()
    if left is not None and left < DEADLINE_FACTOR * tile.need.seconds:
        _leave(worker)


def _leave(worker: Any) -> NoReturn:
    """Close this worker, and have the scheduler place its tile elsewhere."""
    worker.loop.add_callback(functools.partial(worker.close_gracefully, restart=False, reason="walltime"))
    time.sleep(1.0)  # the scheduler must know that this worker leaves before it places the tile again
    raise Reschedule


@dataclass
class Outcome:
    """What became of the tiles of one stage."""

    done: list[Tile] = field(default_factory=list)
    #: Failed tiles, with the error in one line and the error itself.
    failed: list[tuple[Tile, str, BaseException]] = field(default_factory=list)
    warnings: dict[str, int] = field(default_factory=dict)
    peak_bytes: int = 0
    #: Whether the run ended early because the disk takes no more: every other tile would fail too.
    is_full: bool = False

    def plus(self, other: Outcome) -> Outcome:
        """Return the sum of two outcomes."""
        texts = {*self.warnings, *other.warnings}
        return Outcome(
            [*self.done, *other.done],
            [*self.failed, *other.failed],
            {text: self.warnings.get(text, 0) + other.warnings.get(text, 0) for text in texts},
            max(self.peak_bytes, other.peak_bytes),
            self.is_full or other.is_full,
        )

    def bad_input(self) -> list[str]:
        """Return the messages of failures that are the user's to correct, each once."""
        return list(dict.fromkeys(str(error) for _, _, error in self.failed if isinstance(error, ReconError)))


@dataclass
class Trial:
    """A tile on its way: how often it was submitted and why it did not end well; forgotten when it is done."""

    tile: Tile
    submissions: int = 0
    #: Exceptions; workers that died while they computed it; workers that died while it only waited on them.
    errors: int = 0
    losses: int = 0
    blames: int = 0
    #: Address of the worker that started it, None if none has since it was submitted or given back.
    worker: str | None = None


def no_epitaph(address: str) -> Epitaph | None:
    """Know nothing of any dead worker."""
    return None


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
    #: What is known of a worker that died, by its address.
    epitaph: Callable[[str], Epitaph | None] = no_epitaph
    #: Worker processes that there may be: none must stand idle because too few tiles were submitted.
    n_workers: int = 1
    outcome: Outcome = field(default_factory=Outcome)
    trials: dict[str, Trial] = field(default_factory=dict)
    #: Futures in flight by key, and their tiles.
    flying: dict[str, tuple[Future[Any], Tile]] = field(default_factory=dict)
    #: Tiles whose worker died, with its address, and when that was: until it is known why, they are not tried again.
    mourning: list[tuple[float, Trial, str]] = field(default_factory=list)
    finished: queue.SimpleQueue[Future[Any]] = field(default_factory=queue.SimpleQueue)
    begun: queue.SimpleQueue[list[Any]] = field(default_factory=queue.SimpleQueue)
    ended: queue.SimpleQueue[list[Any]] = field(default_factory=queue.SimpleQueue)
    #: Tiles with a traceback of an earlier run, listed once: one look at the folder, not one a tile.
    logged: set[str] = field(default_factory=set)
    _looked: float = 0.0

    def run(self, drain: Drain, tick: Callable[[int], str]) -> Outcome:
        """Submit, collect and retry until nothing is left, or until what flies has landed after a stop."""
        waiting, window = list(reversed(self.tiles)), max(WINDOW, 2 * self.n_workers)
        self.logged = {tile.id for tile in failures.failed(self.workspace, self.tiles)}
        with self._listening():
            while waiting or self.flying or self.mourning:
                if drain.asked or self.outcome.is_full:
                    waiting.clear()
                    self._withdraw_queued()
                elif waiting and len(self.flying) <= window * 3 // 4:
                    self._submit([waiting.pop() for _ in range(min(len(waiting), window - len(self.flying)))])
                self._collect()
                self._hear()
                self._judge()
                self._tick(tick, len(waiting) + len(self.flying) + len(self.mourning))
            self._hear()
        return self.outcome

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Receive what workers say, and let dask not report as failed what is tried again."""
        log = logging.getLogger("distributed.scheduler")
        log.addFilter(_is_no_loss)
        self.client.subscribe_topic(STARTED_TOPIC, lambda event: self.begun.put(event[1]))
        self.client.subscribe_topic(ENDED_TOPIC, lambda event: self.ended.put(event[1]))
        try:
            yield
        finally:
            self.client.unsubscribe_topic(STARTED_TOPIC)
            self.client.unsubscribe_topic(ENDED_TOPIC)
            self.client.cancel([future for future, _ in self.flying.values()], force=True)
            log.removeFilter(_is_no_loss)

    def _tick(self, tick: Callable[[int], str], left: int) -> None:
        """Look at jobs and the lease and redraw the line, not more often than twice a second."""
        now = time.monotonic()
        if now - self._looked >= TICK:
            self._looked = now
            self.progress.waiting = tick(left)
            self.progress.show()

    def _submit(self, tiles: Sequence[Tile], *, avoid: str | None = None) -> None:
        """Submit tiles; on another worker than the one at `avoid`, if another lives."""
        if not tiles:
            return
        keys = []
        for tile in tiles:
            trial = self.trials.setdefault(tile.id, Trial(tile))
            trial.submissions += 1
            trial.worker = None
            keys.append(self._key(trial))
        n = len(tiles)
        columns = ([self.module] * n, [str(self.study_path)] * n, list(tiles), [self.xp] * n)
        others = [] if avoid is None else [w for w in self.client.scheduler_info()["workers"] if w != avoid]
        futures = self.client.map(
            call,
            *columns,
            key=keys,
            retries=0,
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        for tile, key, future in zip(tiles, keys, futures, strict=True):
            self.flying[key] = (future, tile)
            future.add_done_callback(self.finished.put)

    def _key(self, trial: Trial) -> str:
        again = f"-attempt{trial.submissions}" if trial.submissions > 1 else ""
        return f"{self.verb}-{trial.tile.id}{again}"

    def _collect(self) -> None:
        """Wait up to a tick for one future, then take all that have finished."""
        try:
            batch = [self.finished.get(timeout=TICK)]
        except queue.Empty:
            return
        while not self.finished.empty():
            batch.append(self.finished.get())
        self._hear()  # a worker's words come before the end of its task
        for future in batch:
            if future.key not in self.flying:
                continue
            _, tile = self.flying.pop(future.key)
            status = future.status
            if status == "error":
                self._land_badly(tile, future)
            elif status != "cancelled":
                # `finished`; or `lost`: its worker died since, but all that matters is on disk.
                self._succeed(tile)
            # `cancelled` ones were withdrawn by us, or their scheduler is gone: they are simply left.

    def _hear(self) -> None:
        """Take what workers said: which tiles they started, and what tiles took."""
        while not self.begun.empty():
            tile_id, address = self.begun.get()
            self.progress.begin()
            trial = self.trials.get(tile_id)
            if trial is None:
                continue  # started a second time after it was done: its worker died with the result
            if trial.worker is not None and address is not None:
                self._count_move(trial)
            trial.worker = address
        while not self.ended.empty():
            _, peak_bytes, warnings = self.ended.get()
            self.outcome.peak_bytes = max(self.outcome.peak_bytes, peak_bytes)
            for text in warnings:
                self.outcome.warnings[text] = self.outcome.warnings.get(text, 0) + 1

    def _succeed(self, tile: Tile) -> None:
        del self.trials[tile.id]
        self.outcome.done.append(tile)
        self.progress.done += 1
        self.progress.n_units += tile.stop - tile.start
        if tile.id in self.logged:
            failures.forget(self.workspace, tile)

    def _count_move(self, trial: Trial) -> None:
        """Count a worker that was closed while it computed a tile, which the scheduler then placed elsewhere."""
        trial.losses += 1
        if trial.losses >= ATTEMPTS_LOST_WORKER:
            future, _ = self.flying.pop(self._key(trial))
            self.client.cancel([future], force=True)
            self._give_up(trial, failures.lost(trial.tile, trial.losses, None, workspace=self.workspace))

    def _land_badly(self, tile: Tile, future: Future[Any]) -> None:
        """Sort a task that ended with an error: its own, its worker's death, or that of a worker it waited on."""
        error = future.exception()
        trial = self.trials[tile.id]
        if not isinstance(error, KilledWorker):
            self._fail(trial, error, future.traceback())
            return
        address = error.last_worker.address
        if trial.worker == address:
            trial.losses += 1
            self.mourning.append((time.monotonic(), trial, address))
            return
        trial.blames += 1
        if trial.blames < ATTEMPTS_BLAMED:
            self._submit([tile])
        else:
            self._give_up(trial, failures.lost(tile, trial.blames, None, workspace=self.workspace))

    def _fail(self, trial: Trial, error: BaseException, trace: Any) -> None:
        """Try a tile that raised again, or give it up."""
        trial.errors += 1
        if is_storage_failure(error):
            self.outcome.is_full = True
        limit = ATTEMPTS_OUT_OF_MEMORY if is_out_of_memory(error) else ATTEMPTS
        if isinstance(error, ReconError) or self.outcome.is_full or trial.errors >= limit:
            self._give_up(trial, error, trace)
        else:
            self._submit([trial.tile], avoid=trial.worker)

    def _judge(self) -> None:
        """Try tiles whose workers died again, unless memory ran out or too many have died."""
        still, self.mourning = self.mourning, []
        for since, trial, address in still:
            found = self.epitaph(address)
            is_unknown = found is not None and found.out_of_memory is None
            if is_unknown and time.monotonic() - since < VERDICT_WITHIN:
                self.mourning.append((since, trial, address))
            elif (found is not None and found.out_of_memory) or trial.losses >= ATTEMPTS_LOST_WORKER:
                self._give_up(trial, failures.lost(trial.tile, trial.losses, found, workspace=self.workspace))
            else:
                self._submit([trial.tile])

    def _give_up(self, trial: Trial, error: BaseException, trace: Any = None) -> None:
        """Record a tile as failed, with its traceback file."""
        tile = trial.tile
        del self.trials[tile.id]
        self.progress.failed += 1
        if isinstance(error, ReconError):
            # Bad input stays bad, and its message says it all: no traceback file.
            self.outcome.failed.append((tile, str(error), error))
            return
        text = "".join(traceback.format_exception(type(error), error, trace))
        path = failures.record(self.workspace, tile, text)
        where = "no room for its traceback file" if path is None else path
        self.outcome.failed.append((tile, f"{failures.summary(error)} ({where})", error))

    def _withdraw_queued(self) -> None:
        """Cancel what no worker has started yet."""
        self._hear()
        queued = [key for key, (_, tile) in self.flying.items() if self.trials[tile.id].worker is None]
        futures = [self.flying.pop(key)[0] for key in queued]
        self.client.cancel(futures, force=True)


def _is_no_loss(record: logging.LogRecord) -> bool:
    """Return whether a record of dask's scheduler is not about a task whose worker died: we say so ourselves."""
    return not str(record.msg).startswith("Task %s marked as failed")
