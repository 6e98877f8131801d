"""Watching a scheduler's jobs: one query for all of them, dead ones replaced, a useful message when none lives.

dask-jobqueue never notices a job that ends before its worker registers, nor one that was refused; and it cancels
a job that the scheduler has put back into its queue. So the bookkeeping is here, by job: a job has one worker, or one
for each of its GPUs.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpc_recon.core.errors import ClusterError
from hpc_recon.core.text import format_seconds
from hpc_recon.run.failures import Epitaph
from hpc_recon.run.lease import Owner
from hpc_recon.run.nodes import Nodes, log_tail
from hpc_recon.run.options import Jobs
from hpc_recon.run.queues import ANSWER_WITHIN, JobState, Queue
from hpc_recon.run.worker import job_of

#: Jobs that may die, one after the other, before their workers register; then the run stops with the reason.
DEATHS = 3
#: Broken nodes in a row before any worker has ever started; then the run stops: it is not the nodes.
BROKEN_NODES = 5
#: Seconds that a running job gets until its worker registers, or registers again.
REGISTER_WITHIN = 600.0
#: Seconds until another job is tried after three died while others work; doubled with each further death.
PAUSE, LONGEST_PAUSE = 60.0, 960.0
#: Seconds that an idle worker gets to leave.
RETIRE_WITHIN = 60.0
#: Seconds that cancelled jobs of a dead controller get to leave the queue.
LEAVE_WITHIN = 180.0
REMEDY = "Correct the cluster file, then run the same command again (--dry-run prints the job script)"


def cancel_jobs_of(owner: Owner, queue: Queue, *, within: float = LEAVE_WITHIN) -> None:
    """Cancel the jobs of a dead controller and return when they have left the queue.

    Raises
    ------
    ClusterError
        If they do not leave: they may still write into the workspace.
    """
    end = time.monotonic() + within
    pause = 0.2
    queue.cancel(owner.job_name, owner.jobs)
    while left := queue.by_name(owner.job_name):
        if time.monotonic() > end:
            names = ", ".join(f"{job} ({state.state})" for job, state in left.items())
            raise ClusterError(
                f"jobs of the controller that died ({owner}) have not left the queue after {within:.0f} s: {names}; "
                "they may still write. Cancel them by hand, then run the same command again"
            )
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)


@dataclass(frozen=True)
class Seen:
    """A worker when it was last looked at: its job's name and the bytes that it used."""

    job: str
    memory: int | None


@dataclass
class Registry:
    """The workers that the dask scheduler has seen: to which job each belongs, and the memory it last reported."""

    cluster: Any
    #: Names of jobs of which a worker has registered.
    jobs: set[str] = field(default_factory=set)
    #: Every worker that ever was, by address.
    workers: dict[str, Seen] = field(default_factory=dict)

    def look(self) -> set[str]:
        """Take note of the workers that live now; return the names of their jobs."""
        live = set()
        # The scheduler's thread adds and removes workers meanwhile: its mapping's own values() would look each key up.
        for worker in list(dict.values(self.cluster.scheduler.workers)):
            job = job_of(worker.name)
            live.add(job)
            memory = worker.metrics.get("memory")
            if memory is None and worker.address in self.workers:
                continue  # it has not reported since: keep what it said
            self.workers[worker.address] = Seen(job, memory)
        self.jobs |= live
        return live


@dataclass
class Watcher:
    """Keeps the wanted number of jobs alive; called between batches, looks every `poll_seconds`.

    Attributes
    ----------
    workers_per_job
        Worker processes of a job: one, or one for each of its GPUs.
    remember
        Called with the ids of all jobs, for whoever takes over after a dead controller.
    max_jobs
        Jobs that may be submitted altogether, None without limit.
    start_within
        Seconds that all jobs may wait in the queue, the first or those that replace it; None without limit.
    deaths
        Jobs that ended, or were refused, before their workers registered; reset by a registration.
    """

    cluster: Any
    queue: Queue
    jobs: Jobs
    job_name: str
    nodes: Nodes
    poll_seconds: float
    remember: Callable[[tuple[str, ...]], None]
    workers_per_job: int = 1
    max_jobs: int | None = None
    start_within: float | None = None
    deaths: int = 0
    submitted: int = 0
    _registry: Registry = field(init=False)
    _ids: dict[str, str] = field(default_factory=dict)
    _line: str = "waiting for the first job"
    #: When a worker last lived or a job last ran.
    _quiet_since: float = field(default_factory=time.monotonic)
    _looked: float = -math.inf
    _pause_until: float = -math.inf
    _silent_until: float = -math.inf
    _excess_since: float | None = None
    #: Times: not in the queue since, running or live (the last sign of life), held or hopeless since.
    _missing: dict[str, float] = field(default_factory=dict)
    _sign: dict[str, float] = field(default_factory=dict)
    _doubts: dict[str, float] = field(default_factory=dict)
    _last_death: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self._registry = Registry(self.cluster)

    def tick(self, tiles_left: int) -> str:
        """Keep the wanted number of jobs, replace dead ones; return what the run waits for.

        Raises
        ------
        ClusterError
            If no job lives and none can be expected to: three deaths in a row before registration, broken nodes only,
            held or hopeless jobs, none started within `start_within`, or `max_jobs` submitted. With the queue's own
            reason, the script, and the tail of the log.
        """
        known = len(self._registry.jobs)
        live = self._registry.look()
        if len(self._registry.jobs) > known:
            self.deaths, self._pause_until = 0, -math.inf
        if live:
            self._quiet_since = time.monotonic()
        self._grow(tiles_left)
        self._ids.update({name: str(job.job_id) for name, job in self._jobs().items() if job.job_id})
        self.remember(tuple(sorted(self._ids.values())))
        if time.monotonic() - self._looked >= self.poll_seconds:
            self._looked = time.monotonic()
            self._look(tiles_left, live)
        return "" if live else self._line

    def epitaph(self, address: str) -> Epitaph | None:
        """Return what is known of the worker with this address; None if no such worker ever registered."""
        if address not in self._registry.workers:
            return None
        seen = self._registry.workers[address]
        job = self._ids.get(seen.job)
        is_full = job is not None and self._was_full(job)
        return Epitaph(seen.memory, is_full or None, job, self.nodes.host(seen.job))

    def _was_full(self, job: str) -> bool:
        """Ask why a job ended; not while the scheduler is silent: many workers may be lost at once."""
        now = time.monotonic()
        if now < self._silent_until:
            return False
        found = self.queue.out_of_memory(job)
        if time.monotonic() - now >= ANSWER_WITHIN:
            self._silent_until = time.monotonic() + PAUSE
        return found

    def _jobs(self) -> Mapping[str, Any]:
        return dict(self.cluster.workers)

    def _wanted(self, tiles_left: int) -> int:
        return self.jobs.wanted(math.ceil(tiles_left / self.workers_per_job))

    def _grow(self, tiles_left: int) -> None:
        have = len(self.cluster.worker_spec)
        more = self._wanted(tiles_left) - have
        if self.max_jobs is not None:
            more = min(more, self.max_jobs - self.submitted)
            if have == 0 and more <= 0 and tiles_left:
                raise ClusterError(
                    f"all {self.max_jobs} jobs that may be submitted (--max-jobs) have ended, {tiles_left} tiles are "
                    f"left. {self._about_last_death()}Logs are in {self.nodes.folder}. Run the same command again to "
                    "go on"
                )
        if more > 0 and time.monotonic() >= self._pause_until:
            self.submitted += more
            self.cluster.scale(jobs=have + more)

    def _look(self, tiles_left: int, live: set[str]) -> None:
        try:
            states = self.queue.by_name(self.job_name)
        except ClusterError as error:
            # Schedulers fall silent for minutes at a time; running tiles do not care.
            self._line = f"waiting for workers; the queue does not answer: {error}"
            self._require_start(f"the queue does not answer: {error}")
            return
        self.nodes.look()
        self._line = self._summary(states)
        jobs = self._jobs()
        self._see_signs(jobs, states, live)
        dead = [name for name, job in jobs.items() if self._is_dead(name, job, states, live)]
        for name in dead:
            self._bury(name, jobs[name], live)
        self._remove(dead)
        starting = [n for n in self._sign if n not in live and n not in dead and self._id_in(jobs, n, states)]
        if not live and not starting:
            self._require_hope(jobs, states)
        self._shrink(tiles_left, live, states)
        self._grow(tiles_left)

    def _id_in(self, jobs: Mapping[str, Any], name: str, states: Mapping[str, JobState]) -> bool:
        return name in jobs and str(jobs[name].job_id) in states

    def _see_signs(self, jobs: Mapping[str, Any], states: Mapping[str, JobState], live: set[str]) -> None:
        """Note which jobs run, and which cannot; one that is back in the queue (pre-empted) begins anew."""
        now = time.monotonic()
        for name, job in jobs.items():
            state = states.get(str(job.job_id))
            if name in live:
                self._sign[name] = now
            elif state is None or state.state in ("waiting", "held"):
                self._sign.pop(name, None)
            else:
                self._sign.setdefault(name, now)
            if state is not None and (state.state == "held" or self.queue.hopeless(state)):
                self._doubts.setdefault(name, now)
            else:
                self._doubts.pop(name, None)
        if self._sign:
            self._quiet_since = now

    def _is_dead(self, name: str, job: Any, states: Mapping[str, JobState], live: set[str]) -> bool:
        """Refused; or without a worker, and out of the queue at the second look, or running for long.

        The queue may lag behind a submission, so one look is not enough. A worker that lives is believed before a
        queue that does not know its job.
        """
        if job.problem is not None:
            return True
        now = time.monotonic()
        if name in live or job.job_id is None:
            self._missing.pop(name, None)
            return False
        if str(job.job_id) in states:
            self._missing.pop(name, None)
            return now - self._sign.get(name, now) > REGISTER_WITHIN
        return now - self._missing.setdefault(name, now) >= self.poll_seconds / 2

    def _bury(self, name: str, job: Any, live: set[str]) -> None:
        """Count a job that ended before its worker registered; others need no blame."""
        if name in self._registry.jobs or name in self.nodes.refused:
            return
        self.deaths += 1
        if job.problem is not None:
            why = f"its submission was refused:\n{job.problem.strip()}"
        else:
            why = f"job {job.job_id}: {self.queue.why(str(job.job_id))}"
            if name not in self._missing:
                why += f"; its worker did not register within {format_seconds(REGISTER_WITHIN)}"
            self.nodes.blame(name, why=why, others_work=bool(live))
        self._last_death = (name, why)
        if self.deaths >= DEATHS and live:
            pause = min(LONGEST_PAUSE, PAUSE * 2.0 ** (self.deaths - DEATHS))
            self._pause_until = time.monotonic() + pause
            self.nodes.say(
                f"{self.deaths} jobs in a row ended before their workers registered; the next is tried in "
                f"{format_seconds(pause)}, those that run go on. The last one, {why}"
            )

    def _require_hope(self, jobs: Mapping[str, Any], states: Mapping[str, JobState]) -> None:
        """Raise if nothing lives, nothing is about to, and nothing can be expected to."""
        if self.deaths >= DEATHS:
            rule = f"{self.deaths} jobs in a row ended before their workers registered"
            raise ClusterError(f"{rule}. {self._about_last_death()}{REMEDY}")
        if len(self.nodes.broken) >= BROKEN_NODES and not self._registry.jobs:
            rule = f"no node can be used: {len(self.nodes.broken)} were tried, none has the controller's environment"
            raise ClusterError(f"{rule}:\n{self.nodes.summary()}\nLogs are in {self.nodes.folder}. {REMEDY}")
        now = time.monotonic()
        stuck = [name for name, since in self._doubts.items() if now - since >= self.poll_seconds / 2 and name in jobs]
        if stuck and len(stuck) == len(jobs):
            job = str(jobs[stuck[0]].job_id)
            raise ClusterError(
                f"job {job} is {states[job].state} and will not start by waiting: {states[job].reason} "
                f"({self.queue.why(job)}). {self._paths(stuck[0])}. {REMEDY}"
            )
        self._require_start(f"the queue says: {self._summary(states).partition(': ')[2]}")

    def _require_start(self, said: str) -> None:
        """Raise if all jobs have waited for longer than they may."""
        waited = time.monotonic() - self._quiet_since
        if self.start_within is not None and waited > self.start_within:
            raise ClusterError(
                f"no job has started within {format_seconds(self.start_within)} (start_within in the cluster file); "
                f"{said}. {'. '.join(self._paths(name) for name in list(self._jobs())[:1])}"
            )

    def _shrink(self, tiles_left: int, live: set[str], states: Mapping[str, JobState]) -> None:
        """Give jobs back that have had nothing to do for two polls: those that still wait first."""
        now = time.monotonic()
        excess = len(self.cluster.worker_spec) - self._wanted(tiles_left)
        if excess <= 0:
            self._excess_since = None
            return
        if self._excess_since is None:
            self._excess_since = now
        # A verb's stages follow each other: the jobs that the last tile of one leaves idle are wanted by the next.
        if now - self._excess_since < 2 * self.poll_seconds:
            return
        jobs = self._jobs()
        waiting = [n for n, j in jobs.items() if n not in live and self._state(j, states) in ("waiting", "held")]
        gone = waiting[:excess]
        if len(gone) < excess:
            gone += self.cluster.sync(self._retire_idle, excess - len(gone))
        self._remove(gone)

    def _remove(self, names: list[str]) -> None:
        """Cancel jobs and forget them."""
        for name in names:
            for times in (self._missing, self._sign, self._doubts):
                times.pop(name, None)
        if names:
            self.cluster.sync(self.cluster.scale_down, names)

    def _state(self, job: Any, states: Mapping[str, JobState]) -> str:
        state = states.get(str(job.job_id))
        return "" if state is None else state.state

    async def _retire_idle(self, count: int) -> list[str]:
        """Close up to `count` jobs of which no worker computes; runs in the dask scheduler's own thread.

        There, no tile can be placed on a worker between the look and its retirement.
        """
        scheduler = self.cluster.scheduler
        members: dict[str, list[Any]] = {}
        for worker in scheduler.workers.values():
            members.setdefault(job_of(worker.name), []).append(worker)
        idle = [job for job, workers in members.items() if not any(w.processing for w in workers)]
        chosen = [job for job in idle if job in self.cluster.worker_spec][:count]
        if chosen:
            addresses = [worker.address for job in chosen for worker in members[job]]
            # A worker that does not answer is cancelled with its job.
            with contextlib.suppress(TimeoutError):
                retired = scheduler.retire_workers(workers=addresses, close_workers=True, remove=True)
                await asyncio.wait_for(retired, RETIRE_WITHIN)
        return chosen

    def _summary(self, states: Mapping[str, JobState]) -> str:
        counts = Counter(
            f"{s.state} ({s.reason})" if s.state == "waiting" and s.reason else s.state for s in states.values()
        )
        shown = ", ".join(f"{n} {text}" for text, n in sorted(counts.items()))
        return f"waiting for workers; jobs: {shown or 'none in the queue'}"

    def _paths(self, name: str) -> str:
        return f"Script {self.nodes.folder / name}.sh, log {self.nodes.log(name)}"

    def _about_last_death(self) -> str:
        """Return what is known of the last job that died before its worker registered, as lines; else nothing."""
        text = ""
        if self._last_death is not None:
            name, why = self._last_death
            tail = "\n".join(f"  | {line}" for line in log_tail(self.nodes.log(name)))
            text = f"The last one, {why}\n{self._paths(name)}; the log ends with:\n{tail}\n"
        if summary := self.nodes.summary():
            text += f"Nodes that cannot be used:\n{summary}\n"
        return text
