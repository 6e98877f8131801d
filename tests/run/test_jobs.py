"""Watching jobs, with a pretended queue and cluster."""

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import jobs
from hpc_recon.run.jobs import Watcher
from hpc_recon.run.nodes import Nodes
from hpc_recon.run.options import Jobs
from hpc_recon.run.queues import JobState


class Queue:
    """A queue whose content the test sets; `accepts` puts every new job of the cluster into it."""

    def __init__(self):
        self.states = {}
        self.cancelled = []
        self.reason = "JobState FAILED, Reason NonZeroExitCode, ExitCode 1:0"
        self.full = set()

    def by_name(self, job_name):
        return dict(self.states)

    def why(self, job):
        return self.reason

    def out_of_memory(self, job):
        return job in self.full

    def hopeless(self, state):
        return state.state == "held" or state.reason == "BadConstraints"

    def cancel(self, job_name, jobs=()):
        self.cancelled.append(job_name)


class Scheduler:
    """dask's scheduler as far as the watcher sees it."""

    def __init__(self):
        self.workers = {}
        self.retired = []

    async def retire_workers(self, workers, *, close_workers, remove):
        assert close_workers
        assert remove
        self.retired += workers
        for address in workers:
            del self.workers[address]


@dataclass
class Cluster:
    """A cluster whose jobs get ids one after another: job w-1 has id 101."""

    queue: Queue
    workers: dict = field(default_factory=dict)
    scheduler: Scheduler = field(default_factory=Scheduler)
    made: int = 0
    #: What a new job starts as in the queue; None: it never gets there.
    state: JobState | None = field(default_factory=lambda: JobState("waiting", "Priority"))
    refusal: str | None = None

    @property
    def worker_spec(self):
        return self.workers

    def scale(self, jobs):
        while len(self.workers) < jobs:
            self.made += 1
            job = None if self.refusal else str(100 + self.made)
            self.workers[f"w-{self.made}"] = SimpleNamespace(job_id=job, problem=self.refusal)
            if job and self.state:
                self.queue.states[job] = self.state

    def scale_down(self, names):
        for name in names:
            job = self.workers.pop(name)
            self.queue.states.pop(job.job_id, None)

    def sync(self, function, *arguments):
        result = function(*arguments)
        return asyncio.run(result) if asyncio.iscoroutine(result) else result

    def run(self, name, reason=""):
        self.queue.states[self.workers[name].job_id] = JobState("running", reason)

    def register(self, name, *, memory=1000, busy=True):
        """Let a worker (`w-1`, or `w-1.0` of several) join."""
        self.run(name.partition(".")[0])
        address = f"tls://{name}"
        self.scheduler.workers[address] = SimpleNamespace(
            name=name, address=address, metrics={"memory": memory}, processing={"tile"} if busy else set()
        )

    def end(self, name):
        """Let a job end, as a cancelled or killed one does."""
        self.queue.states.pop(self.workers[name].job_id, None)
        for address in [a for a in self.scheduler.workers if a.removeprefix("tls://").partition(".")[0] == name]:
            del self.scheduler.workers[address]


@pytest.fixture
def said():
    return []


@pytest.fixture
def watcher(tmp_path, said):
    queue = Queue()
    return Watcher(
        cluster=Cluster(queue),
        queue=queue,
        jobs=Jobs(1, 1),
        job_name="hpc_recon-tiny-x",
        nodes=Nodes(tmp_path, "abc", said.append, set()),
        poll_seconds=0.0,
        remember=lambda ids: None,
    )


def tick_often(watcher, tiles=10, times=10):
    for _ in range(times):
        watcher.tick(tiles)


def test_as_many_jobs_as_tiles_within_the_bounds(watcher):
    watcher.jobs = Jobs(2, 4)
    assert watcher.tick(3) == "waiting for workers; jobs: 3 waiting (Priority)"
    assert watcher.cluster.made == 3
    watcher.tick(100)
    assert watcher.cluster.made == 4
    assert watcher.submitted == 4


def test_a_job_with_several_gpus_serves_as_many_tiles(watcher):
    watcher.jobs, watcher.workers_per_job = Jobs(1, 8), 4
    watcher.tick(9)
    assert watcher.cluster.made == 3


def test_a_worker_at_work_needs_no_line(watcher):
    watcher.tick(2)
    watcher.cluster.register("w-1")
    assert watcher.tick(2) == ""


def test_a_registered_job_that_left_the_queue_is_replaced_without_blame(watcher):
    watcher.jobs = Jobs(2, 2)
    watcher.tick(2)
    watcher.cluster.register("w-1.0")
    watcher.cluster.register("w-1.1")
    watcher.cluster.register("w-2")
    watcher.tick(2)
    watcher.cluster.end("w-1")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-2", "w-3"}
    assert watcher.deaths == 0


def test_all_jobs_cancelled_at_once_are_replaced(watcher):
    watcher.jobs = Jobs(3, 3)
    watcher.tick(9)
    for name in ("w-1", "w-2", "w-3"):
        watcher.cluster.register(name)
    watcher.tick(9)
    for name in ("w-1", "w-2", "w-3"):
        watcher.cluster.end(name)
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-4", "w-5", "w-6"}


def test_a_worker_that_lives_is_believed_before_a_queue_that_does_not_know_its_job(watcher):
    watcher.tick(2)
    watcher.cluster.register("w-1")
    watcher.queue.states.clear()
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-1"}


def test_a_job_that_is_back_in_the_queue_is_not_replaced(watcher):
    watcher.tick(2)
    watcher.cluster.register("w-1")
    watcher.tick(2)
    watcher.cluster.end("w-1")
    watcher.queue.states["101"] = JobState("waiting", "BeginTime")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-1"}
    watcher.cluster.register("w-1")
    assert watcher.tick(2) == ""


def test_three_deaths_before_registration_end_the_run_with_script_and_log(watcher, tmp_path):
    (tmp_path / "w-3.log").write_text("module: command not found\n")
    watcher.cluster.state = None
    with pytest.raises(ClusterError) as caught:
        tick_often(watcher)
    text = str(caught.value)
    assert "3 jobs in a row ended before their workers registered" in text
    assert "job 103: JobState FAILED, Reason NonZeroExitCode, ExitCode 1:0" in text
    assert "| module: command not found" in text
    assert f"Script {tmp_path / 'w-3.sh'}, log {tmp_path / 'w-3.log'}" in text
    assert "--dry-run" in text


def test_deaths_are_forgotten_when_a_worker_registers(watcher):
    watcher.cluster.state = None
    while watcher.deaths < 2:
        watcher.tick(1)
    watcher.cluster.register(next(iter(watcher.cluster.workers)))
    watcher.tick(1)
    assert watcher.deaths == 0


def test_three_deaths_are_waited_over_while_another_job_is_starting(watcher):
    watcher.jobs = Jobs(2, 2)
    watcher.tick(2)
    watcher.cluster.run("w-2")
    watcher.cluster.state = None
    watcher.queue.states.pop("101")
    tick_often(watcher, times=12)
    assert watcher.deaths >= 3
    watcher.cluster.end("w-2")
    with pytest.raises(ClusterError, match="in a row ended before"):
        tick_often(watcher)


def test_while_others_work_deaths_do_not_end_the_run_but_slow_it(watcher, said):
    watcher.jobs = Jobs(2, 2)
    watcher.tick(9)
    watcher.cluster.register("w-1")
    watcher.tick(9)
    watcher.queue.states.pop("102")
    watcher.cluster.state = None
    tick_often(watcher, times=30)
    assert (watcher.deaths, watcher.cluster.made) == (3, 4), "a minute's pause after the third"
    assert "3 jobs in a row ended before" in said[-1]


def test_a_refused_submission_counts_as_a_death_and_is_quoted(watcher):
    watcher.cluster.refusal = "sbatch: error: invalid partition specified: nosuch"
    with pytest.raises(ClusterError, match="its submission was refused:\nsbatch: error: invalid partition"):
        tick_often(watcher)


def test_a_queue_that_does_not_answer_is_asked_again(watcher):
    def silent(job_name):
        raise ClusterError("slurm_load_jobs error: Unable to contact slurm controller")

    watcher.queue.by_name = silent
    assert "Unable to contact slurm controller" in watcher.tick(2)
    tick_often(watcher)
    assert watcher.deaths == 0
    assert watcher.cluster.made == 1


def test_a_running_job_whose_worker_never_registers_is_replaced(watcher, monkeypatch):
    watcher.tick(2)
    watcher.cluster.run("w-1")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-1"}
    monkeypatch.setattr(jobs, "REGISTER_WITHIN", -1.0)
    watcher.tick(2)
    assert set(watcher.cluster.workers) == {"w-2"}
    assert watcher.deaths == 1
    assert "did not register within" in watcher._last_death[1]


def test_jobs_without_work_are_given_back_those_that_wait_first(watcher):
    watcher.jobs = Jobs(1, 4)
    watcher.tick(9)
    watcher.cluster.register("w-1", busy=True)
    watcher.cluster.register("w-2.0", busy=False)
    watcher.cluster.register("w-2.1", busy=True)
    watcher.cluster.register("w-3.0", busy=False)
    watcher.cluster.register("w-3.1", busy=False)
    tick_often(watcher, tiles=2)
    assert set(watcher.cluster.workers) == {"w-1", "w-2"}
    assert set(watcher.cluster.scheduler.retired) == {"tls://w-3.0", "tls://w-3.1"}
    tick_often(watcher, tiles=1)
    assert set(watcher.cluster.workers) == {"w-1", "w-2"}, "both compute"
    tick_often(watcher, tiles=9)
    assert len(watcher.cluster.workers) == 4


def test_jobs_are_not_given_back_at_once(watcher):
    watcher.jobs, watcher.poll_seconds = Jobs(1, 2), 0.05
    watcher.tick(9)
    watcher.cluster.register("w-1", busy=False)
    watcher.cluster.register("w-2", busy=False)
    watcher._looked = 0.0
    watcher.tick(1)
    assert len(watcher.cluster.workers) == 2
    watcher.tick(9)
    watcher._looked = 0.0
    watcher.tick(9)
    assert watcher._excess_since is None


def test_never_below_the_least(watcher):
    watcher.jobs = Jobs(2, 3)
    watcher.tick(9)
    for name in ("w-1", "w-2", "w-3"):
        watcher.cluster.register(name, busy=False)
    tick_often(watcher, tiles=1)
    assert len(watcher.cluster.workers) == 2


def test_max_jobs(watcher):
    watcher.jobs, watcher.max_jobs = Jobs(2, 4), 3
    watcher.tick(9)
    assert watcher.cluster.made == 3
    for name in ("w-1", "w-2", "w-3"):
        watcher.cluster.register(name)
    watcher.tick(9)
    watcher.cluster.end("w-1")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-2", "w-3"}
    watcher.cluster.end("w-2")
    watcher.cluster.end("w-3")
    with pytest.raises(ClusterError, match=r"all 3 jobs that may be submitted \(--max-jobs\) have ended, 9 tiles"):
        tick_often(watcher, tiles=9)


def test_no_job_has_started_in_time(watcher):
    watcher.start_within = 3600
    tick_often(watcher)
    watcher._quiet_since -= 3601
    with pytest.raises(ClusterError, match=r"no job has started within .*: 1 waiting \(Priority\)\. Script .*w-1\.sh"):
        watcher.tick(2)


def test_no_job_has_started_in_time_and_the_queue_is_silent(watcher):
    def silent(job_name):
        raise ClusterError("Unable to contact slurm controller")

    watcher.start_within = 3600
    watcher.queue.by_name = silent
    tick_often(watcher)
    watcher._quiet_since -= 3601
    with pytest.raises(ClusterError, match=r"no job has started within .*Unable to contact"):
        watcher.tick(2)


def test_start_within_counts_from_when_the_last_job_ended(watcher):
    watcher.start_within = 3600
    watcher._quiet_since -= 3599
    watcher.tick(2)
    watcher.cluster.register("w-1")
    watcher.tick(2)
    watcher.cluster.end("w-1")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-2"}, "replaced; the wait begins anew"
    watcher._quiet_since -= 3601
    with pytest.raises(ClusterError, match=r"no job has started within .*: 1 waiting"):
        tick_often(watcher)


@pytest.mark.parametrize("state", [JobState("held", "JobHeldUser"), JobState("waiting", "BadConstraints")])
def test_a_job_that_can_never_start(watcher, state):
    watcher.cluster.state = state
    with pytest.raises(ClusterError, match=f"job 101 is {state.state} and will not start by waiting: {state.reason}"):
        tick_often(watcher)


def test_a_held_job_beside_one_that_works_is_left_alone(watcher):
    watcher.jobs = Jobs(2, 2)
    watcher.tick(9)
    watcher.cluster.register("w-1")
    watcher.queue.states["102"] = JobState("held", "JobHeldUser")
    tick_often(watcher)
    assert set(watcher.cluster.workers) == {"w-1", "w-2"}


def report(folder, job, host, problem="version of numpy: 2.0 (controller: 2.4)"):
    content = {"host": host, "job": "1", "worker": job, "problems": [problem]}
    (folder / f"broken-abc-{job}.json").write_text(json.dumps(content))


def test_a_broken_node_is_said_once_avoided_and_not_counted(watcher, tmp_path, said):
    watcher.jobs = Jobs(2, 2)
    watcher.tick(9)
    for name in ("w-1", "w-2"):
        report(tmp_path, name, "n1")
        watcher.cluster.end(name)
    tick_often(watcher)
    assert watcher.nodes.exclusions == {"n1"}
    assert watcher.deaths == 0
    assert set(watcher.cluster.workers) == {"w-3", "w-4"}
    (line,) = said
    assert "the node n1 cannot be used, and is avoided from now on: version of numpy: 2.0 (controller: 2.4)" in line


def test_broken_nodes_only(watcher, tmp_path):
    def every_node_is_broken():
        for number in range(1, 20):
            watcher.tick(9)
            report(tmp_path, f"w-{number}", f"n{number}")
            watcher.cluster.end(f"w-{number}")
            tick_often(watcher, times=2)

    with pytest.raises(ClusterError) as caught:
        every_node_is_broken()
    assert watcher.cluster.made == jobs.BROKEN_NODES
    assert "no node can be used: 5 were tried" in str(caught.value)
    assert "node n5: version of numpy" in str(caught.value)


def test_what_is_known_of_a_worker_after_its_death(watcher, tmp_path):
    watcher.tick(9)
    (tmp_path / "w-1.log").write_text("hpc_recon: node n7, job 101\n")
    watcher.cluster.register("w-1.0", memory=12_345)
    watcher.tick(9)
    watcher.cluster.end("w-1")
    watcher.tick(9)
    found = watcher.epitaph("tls://w-1.0")
    assert (found.memory, found.out_of_memory, found.job, found.host) == (12_345, None, "101", "n7")
    watcher.queue.full = {"101"}
    assert watcher.epitaph("tls://w-1.0").out_of_memory is True
    assert watcher.epitaph("tls://nobody") is None


def test_a_silent_scheduler_is_not_asked_about_each_of_many_lost_workers(watcher, monkeypatch):
    clock, asked = [1000.0], []

    def silent(job):
        asked.append(job)
        clock[0] += jobs.ANSWER_WITHIN
        return False

    watcher.jobs = Jobs(3, 3)
    watcher.tick(9)
    for name in ("w-1", "w-2", "w-3"):
        watcher.cluster.register(name)
    watcher.tick(9)
    monkeypatch.setattr(watcher.queue, "out_of_memory", silent)
    monkeypatch.setattr(jobs.time, "monotonic", lambda: clock[0])
    for _ in range(2):
        assert all(watcher.epitaph(f"tls://w-{n}").out_of_memory is None for n in (1, 2, 3))
    assert len(asked) == 1
    clock[0] += jobs.PAUSE
    watcher.epitaph("tls://w-2")
    assert asked == ["101", "102"], "asked again after a while"


def test_a_worker_that_has_not_reported_again_keeps_its_memory(watcher):
    watcher.tick(9)
    watcher.cluster.register("w-1", memory=777)
    watcher.tick(9)
    watcher.cluster.scheduler.workers["tls://w-1"].metrics = {}
    watcher.tick(9)
    assert watcher.epitaph("tls://w-1").memory == 777


def test_workers_may_leave_while_they_are_looked_at(watcher):
    class Leaving(dict):  # as dask's sorted mapping does: each key is looked up again
        def values(self):
            raise KeyError("a worker that the scheduler's thread has just removed")

    watcher.tick(9)
    watcher.cluster.scheduler.workers = Leaving()
    watcher.cluster.register("w-1")
    assert watcher.tick(9) == ""


def test_all_job_ids_are_remembered_for_whoever_takes_over(watcher):
    seen = []
    watcher.remember = seen.append
    watcher.tick(9)
    watcher.cluster.register("w-1")
    watcher.tick(9)
    watcher.cluster.end("w-1")
    tick_often(watcher)
    assert seen[-1] == ("101", "102")


def test_jobs_of_a_dead_controller_are_waited_for(monkeypatch):
    queue = Queue()
    queue.states = {"7": JobState("ending", "")}
    owner = SimpleNamespace(job_name="hpc_recon-tiny-x", jobs=("7",))
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: queue.states.clear())
    jobs.cancel_jobs_of(owner, queue)
    assert queue.cancelled == ["hpc_recon-tiny-x"]
    queue.states = {"7": JobState("ending", "")}
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    with pytest.raises(ClusterError, match=r"7 \(ending\).*Cancel them by hand"):
        jobs.cancel_jobs_of(owner, queue, within=0.01)
