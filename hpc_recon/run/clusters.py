"""Clusters by name: a pool of dask workers, opened when the first tile needs it and closed whatever happens."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from hpc_recon.core import threads
from hpc_recon.core.cluster_file import ClusterFile, walltime_seconds
from hpc_recon.core.errors import ClusterError
from hpc_recon.core.text import parse_bytes
from hpc_recon.run import jobqueue, security
from hpc_recon.run.jobs import SlurmQueue, Watcher, cancel_jobs_of
from hpc_recon.run.lease import Lease, Owner, certificate_folder
from hpc_recon.run.options import Jobs

#: Set while a cluster is open. Attempts are counted by the runner, not by dask, which blames every task queued on a
#: worker that dies; one tile a worker, none queued behind it; nothing is stolen from a worker (a tile is not moved).
DASK = {
    "distributed.scheduler.allowed-failures": 100,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.tick.limit": "60s",
}


#: Seconds without any local worker after which a run stops: a start takes a few, on a busy machine a minute.
GONE_AFTER = 180.0


@dataclass(frozen=True)
class Pool:
    """Workers: a client to submit to, and `tick(tiles left)`, which watches them and says what they wait for."""

    client: Client
    tick: Callable[[int], str]
    description: str


@dataclass(frozen=True)
class Place:
    """A cluster file with what the command line said about it."""

    name: str
    file: ClusterFile
    jobs: Jobs | None
    xp: str
    memory: int | None

    @property
    def wanted(self) -> Jobs:
        """Jobs: the command line's, else the cluster file's, else one."""
        return self.jobs or Jobs.parse(self.file.cluster.jobs or "1")

    @property
    def host_budget(self) -> int:
        """Bytes that one worker may use: `--memory`, else the cluster file's, else the job's or what is free here."""
        if self.memory is not None:
            return self.memory
        if self.file.cluster.memory is not None:
            return parse_bytes(self.file.cluster.memory)
        if self.file.kind == "local":
            return available_memory() // self.wanted.most
        settings = jobqueue.merged(self.file.job, jobqueue.user_settings(self.file.kind))
        return parse_bytes(str(settings["memory"]))

    @property
    def device_budget(self) -> int | None:
        """Bytes of a worker's GPU, if the cluster file says so."""
        text = self.file.cluster.device_memory
        return None if text is None else parse_bytes(text)

    @property
    def walltime(self) -> int | None:
        """Seconds of a job, None without limit."""
        if self.file.kind == "local":
            return None
        text = jobqueue.merged(self.file.job, jobqueue.user_settings(self.file.kind))["walltime"]
        return None if text is None else walltime_seconds(text)


def available_memory() -> int:
    """Return the bytes that this machine can give now, within the limit of its control group."""
    found = []
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        found.append(int(text))
    return min(found)


def require_scheduler(kind: str) -> None:
    """Raise `ClusterError` unless the scheduler's commands are on PATH; checked before anything is written."""
    needed = {"slurm": ("sbatch", "squeue", "scancel", "scontrol")}.get(kind, ())
    absent = [name for name in needed if shutil.which(name) is None]
    if absent:
        raise ClusterError(
            f"the cluster {kind!r} needs {', '.join(absent)} on PATH, which is not there; run this on a machine that "
            "submits jobs (a login node), or compute here with --cluster local"
        )


def cancel_jobs(owner: Owner) -> None:
    """End the jobs of a dead controller and wait until they left; local workers end with their controller."""
    if owner.cluster == "slurm":
        require_scheduler("slurm")
        cancel_jobs_of(owner, SlurmQueue())


@contextlib.contextmanager
def open_pool(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    """Open the cluster of `place`; workers, jobs and certificates are gone when the block ends.

    Raises
    ------
    ClusterError
        If the scheduler's commands are absent or it does not start.
    """
    openers = {"local": _open_local, "slurm": _open_slurm}
    with dask.config.set(DASK), openers[place.file.kind](place, workspace=workspace, lease=lease) as pool:
        yield pool


@contextlib.contextmanager
def _client(cluster: Any) -> Iterator[Client]:
    client = Client(cluster)
    try:
        yield client
    finally:
        client.close()


def local_threads(place: Place) -> int:
    """Return the threads of each local worker: this process's cores shared among the workers."""
    return place.file.cluster.threads or max(1, threads.available() // place.wanted.most)


@dataclass
class LocalWatcher:
    """Notices that all local workers are gone for good; a nanny replaces a single one that dies."""

    cluster: Any
    alive: float = field(default_factory=time.monotonic)

    def tick(self, _: int) -> str:
        """Return what the run waits for.

        Raises
        ------
        ClusterError
            If there has been no worker for `GONE_AFTER` seconds.
        """
        now = time.monotonic()
        if self.cluster.scheduler.workers:
            self.alive = now
            return ""
        if now - self.alive > GONE_AFTER:
            raise ClusterError(
                f"there has been no worker on this machine for {GONE_AFTER:.0f} s: they end as soon as they start, or "
                "were killed (out of memory?). Run the same command again to go on; give --memory, or fewer --jobs"
            )
        return "waiting for workers"


@contextlib.contextmanager
def _open_local(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    n_threads = local_threads(place)
    n_workers = place.wanted.most
    folder = certificate_folder(workspace, lease.owner.nonce)
    with (
        security.certificates(folder) as credentials,
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            security=credentials,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0" if place.file.cluster.dashboard else None,
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
            preload=["hpc_recon.run.preload"],
            env={**threads.worker_environment(n_threads), "HPC_RECON_XP": place.xp},
        ) as cluster,
        _client(cluster) as client,
    ):
        noun = "worker" if n_workers == 1 else "workers"
        yield Pool(
            client,
            LocalWatcher(cluster).tick,
            f"local: {n_workers} {noun}, {n_threads} threads each{_dashboard(place, cluster)}",
        )


@contextlib.contextmanager
def _leaving_nothing_that_writes(owner: Owner, queue: SlurmQueue) -> Iterator[None]:
    """After an error or a second Ctrl-C, return only when the jobs, which may still write, have left the queue."""
    try:
        yield
    except BaseException:
        cancel_jobs_of(owner, queue)
        raise


def _dashboard(place: Place, cluster: Any) -> str:
    return f"; dashboard {cluster.dashboard_link}" if place.file.cluster.dashboard else ""


@contextlib.contextmanager
def _open_slurm(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    require_scheduler("slurm")
    owner = lease.owner
    folder = workspace / "jobs"
    plan = jobqueue.plan_jobs(place.file, folder=folder, job_name=owner.job_name, xp=place.xp)
    queue = SlurmQueue()
    with security.certificates(certificate_folder(workspace, owner.nonce)) as credentials:
        try:
            with (
                _leaving_nothing_that_writes(owner, queue),
                jobqueue.open_slurm(
                    plan,
                    security=credentials,
                    name=f"worker-{owner.nonce}",
                    dashboard=place.file.cluster.dashboard,
                ) as cluster,
                _client(cluster) as client,
            ):
                watcher = Watcher(
                    cluster=cluster,
                    queue=queue,
                    jobs=place.wanted,
                    job_name=owner.job_name,
                    folder=folder,
                    poll_seconds=place.file.cluster.poll_seconds,
                    remember=lease.record_jobs,
                )
                text = f"slurm: {place.wanted.least} to {place.wanted.most} jobs, {plan.threads} threads each"
                yield Pool(client, watcher.tick, f"{text}{_dashboard(place, cluster)}")
        finally:
            queue.cancel(owner.job_name)
