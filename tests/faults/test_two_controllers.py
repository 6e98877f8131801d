"""Two controllers on one study, on one machine and on two whose clocks disagree: one works, the other refuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import harness
import pytest

from hpc_recon.core.cluster_file import WALLTIME_MARGIN, load_cluster, walltime_seconds
from hpc_recon.run import jobqueue, lease, runner, security

HERE = Path(__file__).parent


def owner(workspace):
    return json.loads((workspace / "receipts" / "controller.json").read_text())


def test_the_second_refuses_and_names_the_first(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    study = harness.write_fake(workspace, hold=[20])
    first = harness.start_fake(study)
    harness.wait_until(lambda: harness.starts(workspace, 0), first)
    code, printed = harness.attempt(study)
    printed = " ".join(printed.split())
    assert code == 2, printed
    assert f"another controller (process {first.pid} on {socket.gethostname()}, cluster local)" in printed
    assert "--set workspace=" in printed
    harness.go(workspace)
    code, printed = harness.finish(first)
    assert code == 0, printed
    assert [len(harness.starts(workspace, i)) for i in range(harness.N_TILES)] == [1] * harness.N_TILES
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


#: Seconds in a day.
DAY = 86400


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """A library that shifts the clock of the process that preloads it."""
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    if shutil.which("gcc") is None:
        harness.need("the clock of a process cannot be shifted here: gcc is not installed")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "clock.c")], check=True)
    return library


@pytest.fixture
def elsewhere(clock):
    """A command prefix that starts a program on another host (by name), whose clock is a day behind."""
    names = f"LD_PRELOAD={clock} CLOCK_SHIFT={-DAY}"
    prefix = ["unshare", "--uts", "sh", "-c", f'hostname elsewhere && exec env {names} "$@"', "elsewhere"]
    found = subprocess.run([*prefix, "sh", "-c", "hostname; date +%s"], capture_output=True, text=True)
    if not found.stdout.startswith("elsewhere\n"):
        harness.need(f"a process cannot have a host name of its own here: {found.stderr.strip()}")
    assert abs(time.time() - DAY - int(found.stdout.split()[1])) < 60, "the clock is not shifted"
    return prefix


def test_a_host_with_another_clock_refuses_while_the_heart_beats_and_takes_over_when_it_stops(
    elsewhere, tmp_path, undisturbed
):
    """Neither the age of the lease nor that of a receipt, which would both seem to lie in the future, is looked at."""
    workspace = tmp_path / "ws"
    study = harness.write_fake(workspace, hold=[20])
    quick = {"script": HERE / "quick_hearts.py"}
    first = harness.start_fake(study, **quick)
    harness.wait_until(lambda: harness.starts(workspace, 0), first)
    code, printed = harness.finish(harness.start_fake(study, prefix=elsewhere, **quick))
    assert code == 2, printed
    assert f"another controller (process {first.pid} on {socket.gethostname()}" in printed
    harness.wait_until(lambda: harness.n_done(workspace) >= 2, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = harness.n_done(workspace)
    second = harness.start_fake(harness.write_fake(workspace), prefix=elsewhere, **quick)
    code, printed = harness.finish(second)
    assert code == 0, printed
    assert "taking over" in printed
    assert before == 2, "the third is held"
    # The file of the second may be there before its receipt is, when the controller is killed and its worker ends.
    assert "6 tiles done" in printed or "7 tiles done" in printed, printed
    assert harness.outputs(workspace) == undisturbed
    run = json.loads(next((workspace / "receipts").rglob("finished.json")).read_text())
    assert {one["run"]["host"] for one in run["tiles"].values()} == {"elsewhere", socket.gethostname()}
    harness.assert_nothing_is_left(workspace)


def test_a_worker_whose_clock_differs_does_its_tiles(clock, tmp_path, undisturbed):
    """Its certificate, made by the controller, must be valid by its own clock too."""
    workspace = tmp_path / "ws"
    shift = {"CLOCK": str(clock), "CLOCK_SHIFT": str(-DAY // 2)}
    script = HERE / "skewed_workers.py"
    code, printed = harness.finish(harness.start_fake(harness.write_fake(workspace), script=script, **shift))
    assert code == 0, printed
    begun = workspace / "starts-fit-00000000-00000010"
    assert abs(float(begun.read_text().split()[1]) + DAY / 2 - begun.stat().st_mtime) < 60, "its clock is not shifted"
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_the_deadline_of_a_job_is_counted_by_the_clock_of_its_node(elsewhere):
    """The line of the job script that sets the deadline, and the worker that reads it, on a node a day behind."""
    plan = jobqueue.plan_jobs(load_cluster("slurm", None), folder=Path("/jobs"), job_name="x", xp="numpy")
    script = jobqueue.render(plan, security.of_files(Path("/jobs/tls")))
    line = next(line for line in script.splitlines() if f"export {runner.DEADLINE}=" in line)
    program = f"import os, time; print(float(os.environ['{runner.DEADLINE}']) - time.time())"
    node = [*elsewhere, "bash", "-c", f"{line}\nexec '{sys.executable}' -c \"{program}\""]
    found = subprocess.run(node, capture_output=True, text=True, check=True)
    walltime = walltime_seconds(plan.settings["walltime"], "slurm")
    assert 0 < walltime - WALLTIME_MARGIN - float(found.stdout) < 30


def test_the_heart_beats_on_a_full_disk(tmp_path, monkeypatch):
    """Where the lease cannot be written anew, its time of change still shows that its owner lives."""
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)

    def full(*_):
        raise OSError(28, "No space left on device")

    mine = lease._new_owner("local", "tiny")
    assert lease._create(tmp_path, mine)
    held = lease.Lease(tmp_path, mine)
    monkeypatch.setattr(lease, "write_json", full)
    held.start()
    try:
        assert lease.is_alive(tmp_path, lease.replace(mine, host="far-away"), patience=2.0)
        assert not held.lost
    finally:
        held.release()
    assert lease.read(tmp_path) is None
