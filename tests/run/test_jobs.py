"""Watching jobs, with a pretended queue and cluster."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import jobs
from hpc_recon.run.jobs import JobState, Watcher
from hpc_recon.run.options import Jobs


class Queue:
    """A queue whose content the test sets."""

    def __init__(self):
        self.states = {}
        self.cancelled = []

    def by_name(self, job_name):
        return dict(self.states)

    def why(self, job):
        return "JobState FAILED, Reason NonZeroExitCode, ExitCode 1:0"

    def cancel(self, job_name, jobs=()):
        self.cancelled.append(job_name)


@dataclass
class Cluster:
    """A cluster whose jobs get ids one after another."""

    workers: dict = field(default_factory=dict)
    scheduler: object = field(default_factory=lambda: SimpleNamespace(workers={}))
    asked: int = 0
    made: int = 0

    def scale(self, jobs):
        self.asked = jobs
        while len(self.workers) < jobs:
            self.made += 1
            self.workers[f"w-{self.made}"] = SimpleNamespace(job_id=str(100 + self.made), problem=None)

    def scale_down(self, names):
        for name in names:
            del self.workers[name]

    def sync(self, function, *arguments):
        function(*arguments)

    def register(self, name):
        self.scheduler.workers[name] = SimpleNamespace(name=name)


@pytest.fixture
def watcher(tmp_path):
    return Watcher(
        cluster=Cluster(),
        queue=Queue(),
        jobs=Jobs(2, 4),
        job_name="hpc_recon-tiny-x",
        folder=tmp_path,
        poll_seconds=0.0,
        remember=lambda ids: None,
    )


def tick_often(watcher):
    for _ in range(10):
        watcher.tick(1)


def put_all_in_queue(watcher, state="RUNNING", reason="None"):
    watcher.queue.states = {job.job_id: JobState(state, reason) for job in watcher.cluster.workers.values()}


def test_jobs_are_asked_for_once_and_more_when_more_tiles_are_left(watcher):
    watcher.queue.by_name = lambda name: {j.job_id: JobState("PENDING", "Priority") for j in watcher._jobs().values()}
    assert watcher.tick(3) == "waiting for workers: 3 pending (Priority)"
    assert watcher.cluster.made == 3
    watcher.tick(100)
    assert watcher.cluster.made == 4
    watcher.tick(1)
    assert (watcher.cluster.made, watcher.cluster.asked) == (4, 4), "jobs are not taken away from running tiles"


def test_a_worker_at_work_needs_no_line(watcher):
    watcher.cluster.scale(2)
    put_all_in_queue(watcher)
    watcher.cluster.register("w-1")
    assert watcher.tick(2) == ""


def test_a_registered_job_that_left_the_queue_is_replaced_without_blame(watcher):
    watcher.cluster.scale(2)
    put_all_in_queue(watcher)
    watcher.cluster.register("w-1")
    watcher.cluster.register("w-2")
    watcher.tick(2)
    del watcher.queue.states["101"]
    watcher.cluster.scheduler.workers.pop("w-1")
    watcher.tick(2)
    assert set(watcher.cluster.workers) == {"w-2", "w-3"}
    assert watcher.deaths == 0


def test_three_deaths_before_registration_end_the_run_with_the_log(watcher, tmp_path):
    (tmp_path / "hpc_recon-tiny-x-103.log").write_text("module: command not found\n")
    watcher.jobs = Jobs(1, 1)
    with pytest.raises(ClusterError) as caught:
        tick_often(watcher)
    text = str(caught.value)
    assert "3 jobs in a row ended" in text
    assert "ExitCode 1:0" in text
    assert "module: command not found" in text
    assert "--dry-run" in text


def test_deaths_are_forgotten_when_a_worker_registers(watcher):
    watcher.jobs = Jobs(1, 1)
    watcher.tick(1)
    watcher.tick(1)
    assert watcher.deaths >= 1
    name = next(iter(watcher.cluster.workers))
    put_all_in_queue(watcher)
    watcher.cluster.register(name)
    watcher.tick(1)
    assert watcher.deaths == 0


def test_a_refused_submission_counts_as_a_death_and_is_quoted(watcher):
    watcher.jobs = Jobs(1, 1)
    scale = watcher.cluster.scale

    def refused(jobs):
        scale(jobs)
        for job in watcher.cluster.workers.values():
            job.job_id, job.problem = None, "sbatch: error: invalid partition specified: nosuch"

    watcher.cluster.scale = refused
    with pytest.raises(ClusterError, match="invalid partition"):
        tick_often(watcher)


def test_a_queue_that_does_not_answer_is_asked_again(watcher):
    def silent(job_name):
        raise ClusterError("slurm_load_jobs error: Unable to contact slurm controller")

    watcher.queue.by_name = silent
    assert "Unable to contact slurm controller" in watcher.tick(2)
    assert watcher.deaths == 0


def test_jobs_of_a_dead_controller_are_waited_for(monkeypatch):
    queue = Queue()
    queue.states = {"7": JobState("COMPLETING", "None")}
    owner = SimpleNamespace(job_name="hpc_recon-tiny-x", jobs=("7",))
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: queue.states.clear())
    jobs.cancel_jobs_of(owner, queue)
    assert queue.cancelled == ["hpc_recon-tiny-x"]
    queue.states = {"7": JobState("COMPLETING", "None")}
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    with pytest.raises(ClusterError, match=r"7 \(COMPLETING\).*scancel"):
        jobs.cancel_jobs_of(owner, queue, within=0.01)
