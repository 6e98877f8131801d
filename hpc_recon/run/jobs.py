"""Watching a scheduler's jobs: one query for all of them, dead ones replaced, a useful message when none lives.

dask-jobqueue never notices a job that ends before its worker registers, nor one that sbatch refused.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import ClusterError
from hpc_recon.run.lease import Owner
from hpc_recon.run.options import Jobs

#: Jobs that may die before their workers register; then the run stops with the reason.
DEATHS = 3
#: Lines of a dead job's log that are shown.
TAIL = 15
#: Seconds that the scheduler's commands get to answer.
ANSWER_WITHIN = 60
#: Seconds that cancelled jobs of a dead controller get to leave the queue.
LEAVE_WITHIN = 180.0


@dataclass(frozen=True)
class JobState:
    """A job in the queue: `PENDING`, `RUNNING`, ... and why it waits."""

    state: str
    reason: str


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {ANSWER_WITHIN} s")


class SlurmQueue:
    """Slurm's command line: squeue, scontrol, scancel."""

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of a run that are in the queue, by id, in one query.

        Raises
        ------
        ClusterError
            If squeue fails.
        """
        command = ["squeue", "--noheader", f"--name={job_name}", "--format=%i|%T|%r"]
        result = _run(command)
        if result.returncode != 0:
            raise ClusterError(f"`{' '.join(command)}` failed: {result.stderr.strip() or result.stdout.strip()}")
        rows = [line.strip().split("|", 2) for line in result.stdout.splitlines() if line.count("|") == 2]
        return {job: JobState(state, reason) for job, state, reason in rows}

    def why(self, job: str) -> str:
        """Return what Slurm still knows of an ended job: its state, reason and exit code."""
        text = _run(["scontrol", "show", "job", job]).stdout
        found = [f"{key} {m.group(1)}" for key in ("JobState", "Reason", "ExitCode") if (m := _field(text, key))]
        return ", ".join(found) or "Slurm no longer knows this job"

    def cancel(self, job_name: str, jobs: Iterable[str] = ()) -> None:
        """Cancel all jobs of a run, by name and by id."""
        _run(["scancel", f"--name={job_name}"])
        listed = list(jobs)
        if listed:
            _run(["scancel", f"--name={job_name}", *listed])


def _field(text: str, key: str) -> re.Match[str] | None:
    return re.search(rf"\b{key}=(\S+)", text)


def cancel_jobs_of(owner: Owner, queue: SlurmQueue, *, within: float = LEAVE_WITHIN) -> None:
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
                "they may still write. Cancel them with scancel, then run the same command again"
            )
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)


@dataclass
class Watcher:
    """Keeps the wanted number of jobs alive; called between batches, looks every `poll_seconds`.

    Attributes
    ----------
    registered
        Names of workers that the dask scheduler has seen.
    deaths
        Jobs that ended, or were refused, before their workers registered; reset by a registration.
    """

    cluster: Any
    queue: SlurmQueue
    jobs: Jobs
    job_name: str
    folder: Path
    poll_seconds: float
    remember: Callable[[tuple[str, ...]], None]
    registered: set[str] = field(default_factory=set)
    deaths: int = 0
    _asked: int = 0
    _looked: float = 0.0
    _line: str = "waiting for the first job"
    _grace: dict[str, float] = field(default_factory=dict)

    def tick(self, tiles_left: int) -> str:
        """Scale up to the wanted number of jobs, replace dead ones; return what the run waits for.

        Raises
        ------
        ClusterError
            After three deaths in a row before registration, with the queue's reason and the log's tail.
        """
        wanted = self.jobs.wanted(tiles_left)
        if wanted > self._asked:
            self._asked = wanted
            self.cluster.scale(jobs=wanted)
        self._see_workers()
        self.remember(tuple(sorted(str(j.job_id) for j in self._jobs().values() if j.job_id)))
        if time.monotonic() - self._looked >= self.poll_seconds:
            self._looked = time.monotonic()
            self._look()
        return "" if self._live() else self._line

    def _jobs(self) -> Mapping[str, Any]:
        return dict(self.cluster.workers)

    def _live(self) -> set[str]:
        return {str(worker.name) for worker in list(self.cluster.scheduler.workers.values())}

    def _see_workers(self) -> None:
        live = self._live()
        if live - self.registered:
            self.deaths = 0
        self.registered |= live

    def _look(self) -> None:
        try:
            states = self.queue.by_name(self.job_name)
        except ClusterError as error:
            # Schedulers fall silent for minutes at a time; running tiles do not care.
            self._line = f"waiting for workers; the queue does not answer: {error}"
            return
        dead = [name for name, job in self._jobs().items() if self._is_dead(name, job, states)]
        for name in dead:
            if name not in self.registered:
                self.deaths += 1
                if self.deaths >= DEATHS:
                    raise ClusterError(self._obituary(self._jobs()[name]))
        if dead:
            self.cluster.sync(self.cluster.scale_down, dead)
        self.cluster.scale(jobs=self._asked)
        self._line = self._summary(states)

    def _is_dead(self, name: str, job: Any, states: Mapping[str, JobState]) -> bool:
        """Refused by sbatch, or no longer in the queue at the second look (the queue may lag behind sbatch)."""
        if job.problem is not None:
            return True
        if job.job_id is None or str(job.job_id) in states:
            self._grace.pop(name, None)
            return False
        first = self._grace.setdefault(name, time.monotonic())
        return time.monotonic() - first >= self.poll_seconds / 2

    def _summary(self, states: Mapping[str, JobState]) -> str:
        counts: dict[str, int] = {}
        for state in states.values():
            text = f"{state.state.lower()} ({state.reason})" if state.state == "PENDING" else state.state.lower()
            counts[text] = counts.get(text, 0) + 1
        shown = ", ".join(f"{n} {text}" for text, n in sorted(counts.items()))
        return f"waiting for workers: {shown}" if shown else "waiting for workers: no job in the queue"

    def _obituary(self, job: Any) -> str:
        rule = f"{self.deaths} jobs in a row ended before their workers registered"
        remedy = "Correct the cluster file, then run the same command again (--dry-run prints the job script)"
        if job.problem is not None:
            return f"{rule}; the last one was refused:\n{job.problem.strip()}\n{remedy}"
        log = self.folder / f"{self.job_name}-{job.job_id}.log"
        lines = log.read_text(errors="replace").splitlines()[-TAIL:] if log.is_file() else ["(there is no log)"]
        tail = "\n".join(f"  | {line}" for line in lines)
        return f"{rule}; job {job.job_id}: {self.queue.why(str(job.job_id))}. End of {log}:\n{tail}\n{remedy}"
