"""Clusters by name: a pool of dask workers, opened when the first tile needs it and closed whatever happens.

with open_pool(place, workspace=..., lease=...) as pool:
    pool.client                      to submit to
    pool.tick(tiles_left) -> str     watches jobs and workers; what the run waits for
    pool.epitaph(address) -> Epitaph | None     last memory, job, node of a worker, dead or alive
"""

from __future__ import annotations

import contextlib
import functools
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from hpc_recon.core import threads
from hpc_recon.core.cluster_file import ClusterFile, walltime_seconds
from hpc_recon.core.errors import ClusterError, ReconError
from hpc_recon.core.paths import private_folder
from hpc_recon.core.text import parse_bytes
from hpc_recon.run import cuda, here, jobqueue, kernel, security
from hpc_recon.run.descriptors import raise_limit
from hpc_recon.run.environment import expectations, require_same_kind
from hpc_recon.run.failures import Epitaph
from hpc_recon.run.jobs import Registry, Watcher, cancel_jobs_of
from hpc_recon.run.lease import Lease, Owner, certificate_folder
from hpc_recon.run.nodes import Nodes
from hpc_recon.run.options import Jobs
from hpc_recon.run.progress import say
from hpc_recon.run.queues import Queue
from hpc_recon.run.schedulers import SCHEDULERS
from hpc_recon.run.worker import VISIBLE

#: Set while a cluster is open. A task whose worker died comes back to the runner, which counts attempts: dask blames
#: every task queued on that worker; one tile a worker, none queued behind it; nothing is stolen (a tile is not moved).
DASK = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.tick.limit": "60s",
    # dask keeps this many messages of every worker, and of each log: with 1,000 (its default) and 1,000 workers, memory
    # would grow by a million messages.
    "distributed.admin.low-level-log-length": 10,
    # dask would end, after 15 s, what a lost worker belongs to: a job that may be back in the queue (pre-empted), or
    # the process that is just starting another worker in its place, which a busy machine takes longer for.
    "distributed.deploy.lost-worker-timeout": "10000 days",
}
#: Clusters on this machine.
HERE = ("local", "cuda")

#: Seconds without any local worker after which a run stops: a start takes a few, on a busy machine a minute.
GONE_AFTER = 180.0


@dataclass(frozen=True)
class Pool:
    """Workers, and what watches them.

    Attributes
    ----------
    client
        To submit tiles to.
    tick
        Called with the tiles left, between batches: watches workers and jobs, says what they wait for.
    description
        For the user, in a line.
    epitaph
        Called with a worker's address: what is known of that worker; None if there never was such a one.
    """

    client: Client
    tick: Callable[[int], str]
    description: str
    epitaph: Callable[[str], Epitaph | None]


@dataclass(frozen=True)
class Place:
    """A cluster file with what the command line said about it."""

    name: str
    file: ClusterFile
    jobs: Jobs | None
    xp: str
    memory: int | None
    max_jobs: int | None = None
    strict_device: bool = False

    @functools.cached_property  # nvidia-smi takes up to seconds to answer
    def wanted(self) -> Jobs:
        """Jobs: the command line's, else the cluster file's, else one; for `cuda` one for each GPU, at most."""
        text = self.file.cluster.jobs
        asked = self.jobs or (Jobs.parse(text) if text is not None else None)
        if self.file.kind != "cuda":
            return asked or Jobs(1, 1)
        n_gpus = len(cuda.gpus())
        most = n_gpus if asked is None else min(n_gpus, asked.most)
        return Jobs(most, most)

    @property
    def workers_per_job(self) -> int:
        """Worker processes of a job: one, or one for each of its GPUs; on this machine a worker is a job."""
        return 1 if self.file.kind in HERE else max(1, self.file.cluster.gpus)

    @property
    def n_workers(self) -> int:
        """Worker processes that there may be at once."""
        return self.wanted.most * self.workers_per_job

    @functools.cached_property  # also asked where plans are made for other numbers of threads
    def worker_threads(self) -> int:
        """Threads of a worker: the cluster file's, else its share of the job's cores, or of those of this process."""
        if self.file.cluster.threads is not None:
            return self.file.cluster.threads
        if self.file.kind in HERE:
            return max(1, threads.available() // self.wanted.most)
        return int(jobqueue.job_settings(self.file)["cores"]) // self.workers_per_job

    @property
    def most_submissions(self) -> int | None:
        """Jobs that may be submitted altogether: `--max-jobs`, else the cluster file's; None without limit."""
        return self.max_jobs or self.file.cluster.max_jobs

    @property
    def host_budget(self) -> int:
        """Bytes that one worker may use: `--memory`, else the cluster file's, else its part of the job or machine."""
        if self.memory is not None:
            return self.memory
        if self.file.cluster.memory is not None:
            return parse_bytes(self.file.cluster.memory)
        if self.file.kind in HERE:
            return available_memory() // self.wanted.most
        settings = jobqueue.job_settings(self.file)
        return parse_bytes(str(settings["memory"])) // self.workers_per_job

    @property
    def device_budget(self) -> int | None:
        """Bytes of a worker's GPU, if the cluster file says so."""
        text = self.file.cluster.device_memory
        return None if text is None else parse_bytes(text)

    @property
    def walltime(self) -> int | None:
        """Seconds of a job, None without limit."""
        if self.file.kind in HERE:
            return None
        text = jobqueue.job_settings(self.file).get("walltime")
        return None if text is None else walltime_seconds(text, self.file.kind)

    @property
    def start_within(self) -> int | None:
        """Seconds that jobs may wait in the queue while none runs, None without limit."""
        text = self.file.cluster.start_within
        return None if text is None else walltime_seconds(text, self.file.kind)


def available_memory() -> int:
    """Return the bytes that this machine can give now, within the limit of this process's control group (of a job)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    limit = kernel.memory_limit()
    return free if limit is None else min(free, limit)


def require_scheduler(kind: str) -> None:
    """Raise `ClusterError` unless the cluster can be used from here; checked before anything is written.

    A batch scheduler needs its commands on PATH, `cuda` a GPU.
    """
    if kind == "cuda":
        cuda.gpus()
    absent = [name for name in (SCHEDULERS[kind].commands if kind in SCHEDULERS else ()) if shutil.which(name) is None]
    if absent:
        raise ClusterError(
            f"the cluster {kind!r} needs {', '.join(absent)} on PATH, which is not there; run this on a machine that "
            "submits jobs (a login node), or compute here with --cluster local"
        )


def cancel_jobs(owner: Owner) -> None:
    """End the jobs of a dead controller and wait until they left; local workers end with their controller."""
    if owner.cluster in SCHEDULERS:
        require_scheduler(owner.cluster)
        cancel_jobs_of(owner, SCHEDULERS[owner.cluster].queue())


@contextlib.contextmanager
def open_pool(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    """Open the cluster of `place`; workers, jobs and certificates are gone when the block ends.

    Raises
    ------
    ClusterError
        If the scheduler's commands are absent or it does not start, if there is no GPU, or if this machine is not of
        the kind that is asked for.
    """
    if place.strict_device and place.file.kind in HERE:
        require_same_kind(workspace)
    opener = {"local": _open_local, "cuda": _open_cuda}.get(place.file.kind, _open_jobs)
    # dask makes a temporary folder for every process and lets Python import from it; in a folder of a stranger's below
    # /tmp, he could put his own modules there.
    settings = {**DASK, "temporary-directory": str(private_folder())}
    if warning := raise_limit(place.n_workers):
        say(warning)
    with dask.config.set(settings), opener(place, workspace=workspace, lease=lease) as pool:
        yield pool


@contextlib.contextmanager
def _client(cluster: Any) -> Iterator[Client]:
    client = Client(cluster)
    try:
        yield client
    finally:
        client.close()


@dataclass
class LocalWatcher:
    """Notices that all workers on this machine are gone for good; a nanny replaces a single one that dies."""

    cluster: Any
    alive: float = field(default_factory=time.monotonic)
    registry: Registry = field(init=False)
    #: Processes that the kernel had killed for want of memory when it was last asked; None where it does not count.
    kills: int | None = field(default_factory=kernel.memory_kills)

    def __post_init__(self) -> None:
        self.registry = Registry(self.cluster)

    def tick(self, _: int) -> str:
        """Return what the run waits for.

        Raises
        ------
        ClusterError
            If there has been no worker for `GONE_AFTER` seconds.
        """
        now = time.monotonic()
        if self.registry.look():
            self.alive = now
            return ""
        if now - self.alive > GONE_AFTER:
            raise ClusterError(
                f"there has been no worker on this machine for {GONE_AFTER:.0f} s: they end as soon as they start, or "
                "were killed (out of memory?). Run the same command again to go on; give --memory, or fewer --jobs"
            )
        return "waiting for workers"

    def epitaph(self, address: str) -> Epitaph | None:
        """Return what is known of the worker with this address; None if no such worker ever registered."""
        if address not in self.registry.workers:
            return None
        before, self.kills = self.kills, kernel.memory_kills()
        is_full = None if before is None or self.kills is None else self.kills > before
        return Epitaph(self.registry.workers[address].memory, is_full, None, platform.node())


@contextlib.contextmanager
def _open_local(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    n_threads = place.worker_threads
    environments = [_worker_environment(place, n_threads)] * place.wanted.most
    with _opened_here(environments, place, workspace=workspace, lease=lease) as (cluster, client):
        noun = "worker" if len(environments) == 1 else "workers"
        watcher = LocalWatcher(cluster)
        text = f"local: {len(environments)} {noun}, {n_threads} threads each{_dashboard(place, cluster)}"
        yield Pool(client, watcher.tick, text, watcher.epitaph)


@contextlib.contextmanager
def _opened_here(
    environments: Sequence[Mapping[str, str]], place: Place, *, workspace: Path, lease: Lease
) -> Iterator[tuple[Any, Client]]:
    with (
        security.certificates(certificate_folder(workspace, lease.owner.nonce)) as credentials,
        here.open_cluster(environments, security=credentials, dashboard=place.file.cluster.dashboard) as cluster,
        _client(cluster) as client,
    ):
        yield cluster, client


def _worker_environment(place: Place, n_threads: int) -> dict[str, str]:
    return {**threads.worker_environment(n_threads), "HPC_RECON_XP": place.xp}


@contextlib.contextmanager
def _open_cuda(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    names = cuda.gpus()[: place.wanted.most]
    n_threads = place.worker_threads
    environments = [{**_worker_environment(place, n_threads), VISIBLE: name} for name in names]
    with _opened_here(environments, place, workspace=workspace, lease=lease) as (cluster, client):
        watcher = LocalWatcher(cluster)
        text = f"cuda: a worker on each of the GPUs {', '.join(names)}, {n_threads} threads each"
        yield Pool(client, watcher.tick, f"{text}{_dashboard(place, cluster)}", watcher.epitaph)


@contextlib.contextmanager
def _leaving_nothing_that_writes(owner: Owner, queue: Queue) -> Iterator[None]:
    """After an error or a second Ctrl-C, return only when the jobs, which may still write, have left the queue."""
    try:
        yield
    except BaseException as cause:
        try:
            cancel_jobs_of(owner, queue)
        except ClusterError as error:
            if isinstance(cause, ReconError):
                raise ClusterError(f"{cause}\nBesides, its jobs may still run and write: {error}") from cause
            raise
        raise


def _cancel_what_is_left(owner: Owner, queue: Queue) -> None:
    """Cancel jobs that were submitted while the cluster closed; results are safe by now, whatever the queue says."""
    try:
        queue.cancel(owner.job_name)
    except ClusterError as error:
        say(f"jobs named {owner.job_name} may be left in the queue, look there and cancel them: {error}")


def _dashboard(place: Place, cluster: Any) -> str:
    return f"; dashboard {cluster.dashboard_link}" if place.file.cluster.dashboard else ""


@contextlib.contextmanager
def _open_jobs(place: Place, *, workspace: Path, lease: Lease) -> Iterator[Pool]:
    """Open the cluster of any batch scheduler."""
    kind, owner = place.file.kind, lease.owner
    require_scheduler(kind)
    folder = workspace / "jobs"
    nodes = Nodes(folder, owner.nonce, say, set())
    plan = jobqueue.plan_jobs(
        place.file, folder=folder, job_name=owner.job_name, xp=place.xp, nonce=owner.nonce, exclusions=nodes.exclusions
    )
    queue = SCHEDULERS[kind].queue()
    with (
        expectations(workspace, owner.nonce, strict=place.strict_device),
        security.certificates(certificate_folder(workspace, owner.nonce)) as credentials,
    ):
        try:
            with (
                _leaving_nothing_that_writes(owner, queue),
                jobqueue.open_jobs(
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
                    nodes=nodes,
                    poll_seconds=place.file.cluster.poll_seconds,
                    remember=lease.record_jobs,
                    workers_per_job=place.workers_per_job,
                    max_jobs=place.most_submissions,
                    start_within=place.start_within,
                )
                each = f"{place.file.cluster.gpus} GPUs and " if place.file.cluster.gpus > 1 else ""
                text = f"{kind}: {place.wanted.least} to {place.wanted.most} jobs, {each}{plan.threads} threads each"
                yield Pool(client, watcher.tick, f"{text}{_dashboard(place, cluster)}", watcher.epitaph)
        finally:
            _cancel_what_is_left(owner, queue)
