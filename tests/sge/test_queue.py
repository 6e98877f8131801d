"""The questions that a run asks its queue, put to a real Grid Engine: jobs that wait, run, are held, fail and end."""

import subprocess

import pytest
from daemons import free_ports
from running import wait_until

from hpc_recon.core.errors import ClusterError
from hpc_recon.run.queues import SGEQueue
from hpc_recon.run.schedulers import SCHEDULERS, node_name

pytestmark = [pytest.mark.sge, pytest.mark.timeout(200)]
NAME = "hpc_recon-a_study_with_a_long_name-0123456789ab"


@pytest.fixture
def queue(sge, monkeypatch):
    """The queue as the controller sees it."""
    for name, value in sge.items():
        if name.startswith("SGE_"):
            monkeypatch.setenv(name, value)
    return SGEQueue()


@pytest.fixture
def submit(sge, tmp_path):
    """A function that submits a line of bash and returns the id of its job."""

    def submit(line, *options, name=NAME):
        command = ["qsub", "-terse", "-S", "/bin/bash", "-N", name, "-j", "y", "-o", str(tmp_path / "log"), *options]
        result = subprocess.run(command, input=line, env=sge, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    return submit


def test_jobs_are_listed_by_their_whole_name_with_state_and_reason(queue, submit):
    running = submit("sleep 60")
    held = submit("sleep 60", "-h")
    failing = submit("sleep 60", "-wd", "/nowhere/at/all")
    other = submit("sleep 60", name=NAME[:-1])
    expected = {running: "running", held: "held", failing: "held"}  # the last one only after it was tried
    wait_until(lambda: {job: state.state for job, state in queue.by_name(NAME).items()} == expected, 120)
    found = queue.by_name(NAME)
    assert {job: queue.hopeless(state) for job, state in found.items()} == {running: False, held: True, failing: True}
    assert "can't chdir to /nowhere/at/all" in queue.why(failing)
    assert set(queue.by_name(NAME[:-1])) == {other}


def test_a_job_keeps_off_excluded_hosts_and_is_refused_where_none_is_left(queue, submit):
    def excluded(*hosts):
        return [word for directive in SCHEDULERS["sge"].exclude(hosts) for word in directive.split()]

    allowed = submit("sleep 60", *excluded("nosuchhost", "neitherthis"))
    wait_until(lambda: queue.by_name(NAME)[allowed].state == "running")
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        submit("sleep 60", *excluded("nosuchhost", node_name()))
    assert "no suitable queues" in refusal.value.stderr
    assert set(queue.by_name(NAME)) == {allowed}


def test_a_job_that_waits_is_explained_by_the_scheduler(queue, submit):
    waiting = submit("sleep 60", "-pe", "smp", "99")
    wait_until(lambda: queue.why(waiting) == 'cannot run in PE "smp" because it only offers 0 slots', 120)
    assert queue.by_name(NAME)[waiting].state == "waiting"


def test_jobs_of_that_very_name_are_cancelled_and_no_others(queue, submit):
    submit("sleep 60")
    submit("sleep 60", "-h")
    longer = submit("sleep 60", name=NAME + "c")
    wait_until(lambda: queue.by_name(NAME + "c")[longer].state == "running")
    queue.cancel(NAME)
    wait_until(lambda: not queue.by_name(NAME), 120)
    assert queue.by_name(NAME + "c")[longer].state == "running"
    queue.cancel(NAME)  # nothing is left: no error


def test_ended_jobs_are_explained_by_their_exit_code_or_what_ended_them(queue, submit):
    failed = submit("exit 7")
    killed = submit("kill -9 $$")
    too_long = submit("sleep 60", "-l", "h_rt=0:0:2")
    wait_until(lambda: not queue.by_name(NAME), 120)
    assert "exit code 7" in queue.why(failed)
    assert "exit code 137" in queue.why(killed)
    assert "h_rt" in queue.why(too_long)
    assert not any(queue.out_of_memory(job) for job in (failed, killed, too_long))


def test_a_qmaster_that_does_not_answer_is_an_error(queue, monkeypatch):
    monkeypatch.setenv("SGE_QMASTER_PORT", str(free_ports(1)[0]))
    with pytest.raises(ClusterError, match="commlib error"):
        queue.by_name(NAME)
    with pytest.raises(ClusterError):
        queue.cancel(NAME)
