"""A run from the options to the exit code: load, plan, check, and only then write; one lease, one cluster.

Everything that may be wrong with the input is found before the lease is taken; an input that only the
data show to be wrong (NaN, labels that do not match) stops the run with the message and leaves no group behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpc_recon.core import receipts, storage, threads
from hpc_recon.core.cluster_file import WALLTIME_MARGIN, load_cluster
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ClusterError, ReconError, StudyError
from hpc_recon.core.files import require_possible, require_writable, write_atomic
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.core.memory import require_fit
from hpc_recon.core.paths import not_world_writable, require_folders, require_inside
from hpc_recon.core.places import RECEIPTS
from hpc_recon.core.text import format_bytes, format_seconds
from hpc_recon.core.tiles import Tile, select, stages
from hpc_recon.run import clusters, failures, jobqueue, ledger, room, verifying
from hpc_recon.run.ahead import Ahead
from hpc_recon.run.clusters import Place, Pool
from hpc_recon.run.draining import Drain, draining
from hpc_recon.run.environment import Inspector
from hpc_recon.run.lease import Lease, hold
from hpc_recon.run.options import Options
from hpc_recon.run.progress import StageProgress, say
from hpc_recon.run.runner import DEADLINE_FACTOR, Outcome, StageRun
from hpc_recon.run.verbs import Verb, read_shapes

#: Failed tiles that are named at the end; the rest is counted.
SHOWN = 10
#: Exit codes.
DONE, SOME_FAILED, BAD_INPUT = 0, 1, 2


@dataclass(frozen=True)
class Planned:
    """One verb's tiles: all of them, those selected, those without a receipt, and the state of their groups."""

    verb: Verb
    tiles: list[Tile]
    selected: list[Tile]
    todo: list[Tile]
    entries: Mapping[str, ledger.GroupEntry]


def make_plan(verb: Verb, study: Study, options: Options) -> Planned:
    """Plan a verb and compare it with the workspace; pure, reads only.

    Raises
    ------
    ReconError
        If an upstream store is missing, settings changed, or the selection cannot work.
    """
    workspace = workspace_of(study)
    tiles = verb.load().plan(study, read_shapes(study))
    entries = ledger.survey(workspace, tiles)
    selected = select(tiles, only=options.only, limit=None)
    if options.retry_failed:
        selected = failures.failed(workspace, selected)
    keys = {tile.group.key for tile in selected}
    if options.redo:
        todo = selected
    else:
        ledger.require_unchanged([entries[key] for key in entries if key in keys], verb=verb.name)
        todo = ledger.missing(selected, entries)
    # --limit counts tiles to do, so that running it again goes on.
    todo = todo[: options.limit]
    ledger.require_inputs(todo, entries)
    return Planned(verb, tiles, selected, todo, entries)


def plan_for(verb: Verb, study: Study, options: Options, place: Place) -> Planned:
    """Plan a verb as `make_plan` does, for the workers of a place: what a tile takes depends on their threads."""
    with threads.planned_for(place.worker_threads):
        return make_plan(verb, study, options)


def workspace_of(study: Study) -> Path:
    """Return the workspace, which `load_study` always sets."""
    assert study.workspace is not None
    return study.workspace


def require_chosen(planned: Planned, options: Options) -> None:
    """Raise `StudyError` if `--only` matches no tile of a command that has some: a name was misspelt."""
    tiles = planned.tiles
    if tiles and not select(tiles, only=options.only, limit=None):
        rule = f"{options.only!r} matches none of the {len(tiles):,} tiles of {planned.verb.name}"
        raise StudyError("--only", [f"{rule}, which are called as {tiles[0].id}; correct the pattern"])


def require_room(todo: Sequence[Tile], place: Place) -> None:
    """Raise unless every tile fits a worker's memory and its walltime.

    Raises
    ------
    MemoryBudgetError, ClusterError
        With the largest tile and the numbers.
    """
    require_fit(todo, host_budget=place.host_budget, device_budget=place.device_budget)
    if place.walltime is None or not todo:
        return
    longest = max(todo, key=lambda tile: tile.need.seconds)
    # One margin for the start of the job and its worker, one that is kept before its end.
    if longest.need.seconds * DEADLINE_FACTOR > place.walltime - 2 * WALLTIME_MARGIN:
        raise ClusterError(
            f"the tile {longest.id} is projected to take {format_seconds(longest.need.seconds)}; a worker "
            f"starts it only with {DEADLINE_FACTOR:.0f} times that left, but the walltime of a job is "
            f"{format_seconds(place.walltime)}. Ask for a longer walltime in the cluster file"
        )


@dataclass
class Session:
    """A study on a cluster, which is opened with the first tile to compute."""

    study: Study
    options: Options
    place: Place
    lease: Lease
    drain: Drain
    stack: contextlib.ExitStack
    pool: Pool | None = None
    inspector: Inspector | None = None
    #: Keys of groups whose files were compared with their receipts since the run began.
    verified: set[str] = field(default_factory=set)

    @property
    def workspace(self) -> Path:
        """The study's workspace."""
        return workspace_of(self.study)

    def run(self, verb: Verb) -> int:
        """Run one verb; return its exit code."""
        planned = plan_for(verb, self.study, self.options, self.place)
        if self.options.verify:
            planned = self._verified(planned)
        if not planned.todo:
            say(f"{verb.name}: nothing to do, {_done_of(planned, self.options)}")
            return DONE
        require_room(planned.todo, self.place)
        # In an object store there is always room.
        if self.study.arrays is None and (shortage := room.shortage(self.workspace, planned.todo)):
            say(f"{verb.name}: {shortage}")
        groups = {tile.group for tile in planned.todo}
        require_inside(self.workspace, *(receipts.group_folder(self.workspace, group) for group in groups))
        ledger.commit(self.workspace, planned.todo, planned.entries)
        if self.options.redo:
            ledger.redo(self.workspace, planned.todo)
        study_path = save_resolved(self.study)
        start = time.monotonic()
        try:
            verb.load().prepare(self.study)
            outcome = self._run_stages(planned, study_path)
        except Exception:
            if not self.lease.lost:  # else what there is of these groups is another controller's
                self._forget_empty(planned)
            raise  # after a second Ctrl-C workers still compute: what they finish shall be known by its settings
        self._forget_empty(planned)
        code = conclude(planned, outcome, seconds=time.monotonic() - start, stopped=self.drain.asked > 0)
        if outcome.is_full:
            done = {tile.id for tile in outcome.done}
            left = [tile for tile in planned.todo if tile.id not in done]
            errors = [error for _, _, error in outcome.failed]
            say(f"{verb.name}: {room.stopped(self.workspace, left, errors)}")
        else:
            ledger.compact_finished(self.workspace, planned.entries)
        return code

    def _forget_empty(self, planned: Planned) -> None:
        ledger.forget_empty(self.workspace, [entry.group for entry in planned.entries.values()])

    def _verified(self, planned: Planned) -> Planned:
        """Compare every finished tile with its receipt; plan anew with the damaged ones to be computed again.

        Raises
        ------
        DamagedStore
            If a file of another command that the tiles to do read is damaged; names the command that repairs it.
        """
        damaged = verifying.damaged_tiles(self.workspace, planned.selected, planned.entries)
        left_out = {tile.group.key for tile in set(planned.tiles) - set(planned.selected)}
        self.verified |= planned.entries.keys() - left_out
        if damaged:
            say(f"{planned.verb.name}: {verifying.summary(damaged, n_tiles=len(planned.selected))}")
            ledger.redo(self.workspace, [tile for tile in planned.selected if tile.id in damaged])
            planned = plan_for(planned.verb, self.study, self.options, self.place)
        verifying.require_sound_inputs(self.workspace, planned.todo, verified=self.verified)
        return planned

    def _run_stages(self, planned: Planned, study_path: Path) -> Outcome:
        if self.pool is None:
            pool = clusters.open_pool(self.place, workspace=self.workspace, lease=self.lease)
            self.pool = self.stack.enter_context(pool)
            self.inspector = Inspector(self.pool.client, say)
            say(self.pool.description)
        total = Outcome()
        bad: set[str] = set()
        for stage, members in stages(planned.todo):
            runnable = [tile for tile in members if not _depends_on(tile, bad)]
            if not runnable or self.drain.asked or total.is_full:
                continue
            outcome = self._run_stage(planned.verb, stage, runnable, study_path=study_path)
            bad |= {tile.group.key for tile, _, _ in outcome.failed}
            total = total.plus(outcome)
        return total

    def _run_stage(self, verb: Verb, stage: str, tiles: list[Tile], *, study_path: Path) -> Outcome:
        assert self.pool is not None
        title = verb.name if stage == verb.name else f"{verb.name} {stage}"
        units = sum(tile.stop - tile.start for tile in tiles)
        with StageProgress(title, len(tiles), units) as progress:
            run = StageRun(
                client=self.pool.client,
                module=verb.module,
                verb=verb.name,
                study_path=study_path,
                workspace=self.workspace,
                xp=self.options.xp,
                tiles=tiles,
                progress=progress,
                epitaph=self.pool.epitaph,
                n_workers=self.place.n_workers,
            )
            return run.run(self.drain, self._tick)

    def _tick(self, tiles_left: int) -> str:
        assert self.pool is not None
        assert self.inspector is not None
        if self.lease.lost:
            raise ClusterError(
                f"another controller took the study in {self.workspace} over from this one, which was taken for dead; "
                "stopping. Finished tiles are kept"
            )
        self.inspector.look()
        return self.pool.tick(tiles_left)


def _depends_on(tile: Tile, bad: set[str]) -> bool:
    """Return whether a tile's group, or one that it reads, has failures."""
    return tile.group.key in bad or any(ledger.is_below(key, up) for key in bad for up in tile.group.upstream)


def _done_of(planned: Planned, options: Options) -> str:
    n = len(planned.selected)
    if not planned.tiles:
        return "the study asks for none of it"
    if options.retry_failed and not n:
        return "no tile has a traceback in logs; tiles that bad input stopped have none: run without --retry-failed"
    return f"all {n:,} tiles are done" if n else "no tile is selected"


def save_resolved(study: Study) -> Path:
    """Save the study as the workers read it: overrides applied, paths absolute; named after its content."""
    text = save_study(study)
    path = workspace_of(study) / "jobs" / f"study-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.is_file():
        write_atomic(path, text.encode())
    return path


def conclude(planned: Planned, outcome: Outcome, *, seconds: float, stopped: bool) -> int:
    """Print the summary of a verb and return its exit code."""
    name = planned.verb.name
    left = len(planned.todo) - len(outcome.done) - len(outcome.failed)
    text = f"{name}: {len(outcome.done):,} tiles done, {len(outcome.failed):,} failed, {left:,} left"
    say(f"{text} in {format_seconds(seconds)}; peak memory of a tile {format_bytes(outcome.peak_bytes)}")
    for message, count in outcome.warnings.items():
        say(f"{name}: warning in {count:,} tiles: {message}")
    messages = outcome.bad_input()
    for message in messages:
        say(f"{name}: {message}")
    others = [(tile, text) for tile, text, error in outcome.failed if not isinstance(error, ReconError)]
    for tile, text in others[:SHOWN]:
        say(f"failed: {tile.id}: {text}")
    if len(others) > SHOWN:
        say(f"failed: and {len(others) - SHOWN:,} more; every traceback is in the folder logs of the workspace")
    if stopped and left:
        say(f"{name}: stopped; run the same command again to go on with the {left:,} tiles left")
    if outcome.failed and len(messages) and not others and not outcome.done:
        return BAD_INPUT
    return SOME_FAILED if outcome.failed or left else DONE


def place_of(options: Options) -> Place:
    """Return the cluster file of the options with what the command line said about it."""
    return Place(
        name=options.cluster,
        file=load_cluster(options.cluster, options.cluster_file),
        jobs=options.jobs,
        xp=options.xp,
        memory=options.memory,
        max_jobs=options.max_jobs,
        strict_device=options.strict_device,
    )


def run_verbs(verbs: Sequence[Verb], options: Options) -> int:
    """Run verbs one after another on one cluster and under one lease; stop at the first that does not end well.

    Raises
    ------
    ReconError
        If the input is wrong; nothing has then been written.
    """
    study = load_study(options.study, options.assignments)
    place = place_of(options)
    workspace = workspace_of(study)
    clusters.require_scheduler(place.file.kind)
    if place.file.kind not in clusters.HERE:
        jobqueue.plan_jobs(place.file, folder=workspace / "jobs", job_name="check", xp=options.xp)
    require_possible(workspace)
    storage.check(workspace, study.arrays)
    first = plan_for(verbs[0], study, options, place)
    if len(verbs) == 1:
        require_chosen(first, options)
    require_room(first.todo, place)
    if not first.todo and len(verbs) == 1 and not options.verify:
        say(f"{first.verb.name}: nothing to do, {_done_of(first, options)}")
        return DONE
    ahead = Ahead.of(verbs, study, place)
    ahead.look()
    require_writable(workspace)
    require_folders(workspace)
    code = DONE
    with (
        not_world_writable(),
        room.explained(workspace),
        _tidy(workspace),
        draining(say) as drain,
        hold(workspace, cluster=place.file.kind, study_name=study.name, cancel=clusters.cancel_jobs, say=say) as lease,
        contextlib.ExitStack() as stack,
    ):
        storage.bind(workspace, study.arrays)
        session = Session(study, options, place, lease, drain, stack)
        for verb in verbs:
            code = session.run(verb)
            if code != DONE or drain.asked:
                return code or SOME_FAILED
            ahead.look()
    return code


@contextlib.contextmanager
def _tidy(workspace: Path) -> Iterator[None]:
    """Leave nothing behind if the block computed nothing: an input that is refused late leaves no workspace."""
    is_new = not workspace.exists()
    try:
        yield
    finally:
        if is_new and _is_bare(workspace):
            place = storage.of(workspace).holder(RECEIPTS)
            place.delete(list(place.walk(RECEIPTS)))
            storage.release(workspace)
            for path in (workspace / "jobs").glob("study-*.yaml"):
                path.unlink()
            for folder in (*sorted(workspace.rglob("*"), reverse=True), workspace):
                if folder.is_dir():
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _is_bare(workspace: Path) -> bool:
    """Return whether a workspace holds neither an array nor a receipt."""
    place = storage.of(workspace).holder(RECEIPTS)
    if any(name.endswith(".zarr") for name in place.listing("")[1]):
        return False
    return all(name.endswith(f"/{receipts.GROUP_FILE}") for name in place.walk(RECEIPTS))
