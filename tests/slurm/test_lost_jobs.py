"""Jobs that go away in mid-run on a real Slurm: cancelled, pre-empted, crashed with their node, out of time."""

import os
import signal
import time
from pathlib import Path

import cluster
import psutil
import pytest
from running import (
    ask,
    change,
    finish,
    finished,
    go,
    jobs,
    jobs_of,
    require_clean,
    require_same,
    start,
    trace,
    wait_until,
    wrapper,
    write_study,
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def scripts_of(workspace):
    return sorted((workspace / "jobs").glob("worker-*.sh"))


def test_one_job_and_then_all_are_cancelled_and_replaced(slurm, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=80, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file, jobs="2")
    wait_until(lambda: len(jobs_of(workspace)) == 2, process=process)
    first, second = sorted(jobs(slurm, "RUNNING"))
    ask(slurm, "scancel", first)
    wait_until(lambda: len(jobs_of(workspace)) == 3, process=process)
    ask(slurm, "scancel", "--signal=KILL", second)
    ask(slurm, "scancel", *jobs(slurm))
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    require_same(workspace, expected, 80)
    assert len(jobs_of(workspace)) >= 4
    assert {first, second} < jobs_of(workspace)
    require_clean(slurm, workspace)


def test_a_pre_empted_job_comes_back_and_one_that_slurm_ends_at_its_walltime_is_replaced(
    slurm, cluster_file, tmp_path, expected
):
    # Slurm looks at walltimes every 30 s: there must be tiles for so long.
    study = write_study(tmp_path, "ws", n=80, seconds=2.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file, jobs="2")
    wait_until(lambda: len(jobs_of(workspace)) == 2, process=process)
    taken, late = sorted(jobs(slurm), key=int)
    # Slurm refuses a time that has passed, and a busy machine takes its time to ask.
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 10))
    ask(slurm, "scontrol", "update", f"JobId={late}", f"EndTime={end}")
    ask(slurm, "scontrol", "requeue", taken)
    wait_until(lambda: "Restarts=1" in ask(slurm, "scontrol", "show", "job", taken), process=process)
    wait_until(lambda: len(processes_of(workspace, taken)) == 2 and len(jobs_of(workspace)) == 3, process=process)
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    assert "JobState=TIMEOUT" in ask(slurm, "scontrol", "show", "job", late)
    assert "Restarts=1" in ask(slurm, "scontrol", "show", "job", taken)
    require_same(workspace, expected, 80)
    assert len(processes_of(workspace, taken)) == 2, "the job that came back computed nothing"
    assert len(jobs_of(workspace)) == 3
    assert len(scripts_of(workspace)) == 3, "the job that came back was replaced"
    require_clean(slurm, workspace)


def processes_of(workspace, job):
    """Return the ids of the workers of a job that computed tiles."""
    return {record["pid"] for record in trace(workspace) if record["job"] == job}


def processes_on(node, job):
    """Return the ids of the processes of a job on a pretended node, Slurm's own included."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ()
            is_step = process.name() == "slurmstepd" and f"[{job}." in " ".join(process.cmdline())
        except psutil.Error:
            continue
        if is_step or (mine.get("SLURM_JOB_ID"), mine.get("SLURMD_NODENAME")) == (job, node):
            found.append(process.pid)
    return found


def test_a_node_crashes_and_its_tiles_are_computed_on_another(slurm, daemons, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=40, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file)
    wait_until(lambda: len(finished(workspace)) >= 2, process=process)
    (job,) = jobs(slurm)
    (node,) = {record["node"] for record in trace(workspace)}
    folder = Path(slurm["SLURM_CONF"]).parent
    daemon = int((folder / f"slurmd-{node}.pid").read_text())
    try:
        for pid in (daemon, *processes_on(node, job)):
            os.kill(pid, signal.SIGKILL)
        # Slurm would notice by itself after its SlurmdTimeout, five minutes.
        ask(slurm, "scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")
        go(workspace)
        code, printed = finish(process)
        assert code == 0, printed
    finally:
        daemons.append(cluster.start_node(folder, node))
        with open(folder / "pids", "a") as stream:
            stream.write(f"\n{daemons[-1].pid}")
        wait_until(lambda: ask(slurm, "sinfo", "--noheader", "--Node", "--format=%N %T").count("idle") == 2)
    require_same(workspace, expected, 40)
    assert len({record["node"] for record in trace(workspace)}) == 2
    require_clean(slurm, workspace)


def test_a_worker_leaves_before_its_walltime_and_no_tile_is_lost(slurm, cluster_file, tmp_path, expected):
    """The job exports its deadline; here the first one has one that comes soon, as Slurm counts in minutes."""
    # A busy machine may take the whole of a short time to start a worker: then the next one is longer.
    for seconds in (8, 24, 72):
        workspace = tmp_path / f"ws{seconds}"
        soon = f"mkdir {workspace}-first 2>/dev/null && export HPC_RECON_DEADLINE=$(( $(date +%s) + {seconds} ))"
        change(cluster_file, python=str(wrapper(tmp_path, soon)))
        before = set(jobs(slurm))
        process = start(
            slurm,
            write_study(tmp_path, workspace.name, n=40, seconds=seconds / 16, need=seconds / 8),
            cluster="slurm",
            cluster_file=cluster_file,
        )
        wait_until(lambda known=before: set(jobs(slurm)) - known, process=process)
        first = min(set(jobs(slurm)) - before, key=int)
        done = f"scontrol show job {first}".split()
        wait_until(lambda done=done: "JobState=COMPLETED" in ask(slurm, *done), process=process)
        go(workspace)
        code, printed = finish(process)
        assert code == 0, printed
        require_same(workspace, expected, 40)
        assert len(trace(workspace)) == 40, "a tile was computed twice"
        require_clean(slurm, workspace)
        if first in jobs_of(workspace):
            break
    assert len(jobs_of(workspace)) == 2
