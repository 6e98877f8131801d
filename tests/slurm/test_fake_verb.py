"""Running on a real Slurm, with a verb that computes nothing: jobs, nodes, a killed controller, dead jobs."""

import os
import signal

import pytest
from running import (
    change,
    finish,
    finished,
    go,
    jobs,
    jobs_of,
    outputs,
    require_clean,
    require_same,
    run,
    start,
    taken_over,
    trace,
    wait_until,
    write_study,
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]


def test_two_jobs_on_two_nodes_write_what_a_local_run_writes(slurm, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=80, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file, jobs="2")
    wait_until(lambda: len(jobs_of(workspace)) == 2, process=process)
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    require_same(workspace, expected, 80)
    assert len(jobs_of(workspace)) == 2
    assert {record["node"] for record in trace(workspace)} == {"n1", "n2"}
    scripts = sorted((workspace / "jobs").glob("*.sh"))
    assert len(scripts) == 2
    for script in scripts:
        assert "#SBATCH --gres=gpu:1" in script.read_text()
        assert "--mem=" not in script.read_text()
        assert "hpc_recon: node n" in script.with_suffix(".log").read_text()
    require_clean(slurm, workspace)


def test_a_killed_controller_is_taken_over_and_only_unfinished_tiles_are_computed(
    slurm, cluster_file, tmp_path, expected
):
    study = write_study(tmp_path, "ws", n=40, seconds=0.4)
    workspace = tmp_path / "ws"
    options = {"cluster": "slurm", "cluster_file": cluster_file, "jobs": "2"}
    first = start(slurm, study, **options)
    wait_until(lambda: len(finished(workspace)) >= 6, process=first)
    os.kill(first.pid, signal.SIGKILL)
    finish(first)
    assert jobs(slurm), "the jobs of the killed controller should still be there"
    assert list((workspace / "jobs").glob("tls-*")), "so should its certificates"
    (workspace / "out" / "x.partial").write_bytes(b"torn")
    go(workspace)
    second = start(slurm, study, **options)
    # Tiles that finish before the old jobs are cancelled count as done: remember what lies there after that.
    wait_until(lambda: taken_over(workspace), process=second)
    before = set(finished(workspace))
    code, printed = finish(second)
    assert code == 0, printed
    assert "taking over" in printed
    require_same(workspace, expected, 40)
    again = [
        tile for tile in before if sum(record["tile"] == tile.rpartition("/")[2] for record in trace(workspace)) > 1
    ]
    assert not again, "finished tiles were computed again"
    require_clean(slurm, workspace)


def test_a_second_controller_refuses(slurm, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=8, hold=[20])
    workspace = tmp_path / "ws"
    options = {"cluster": "slurm", "cluster_file": cluster_file}
    first = start(slurm, study, **options)
    wait_until(lambda: (workspace / "receipts" / "controller.json").exists(), process=first)
    code, printed = run(slurm, study, **options)
    go(workspace)
    assert code == 2, printed
    assert f"another controller (process {first.pid} on" in printed
    code, printed = finish(first)
    assert code == 0, printed
    require_same(workspace, expected, 8)
    require_clean(slurm, workspace)


def test_jobs_that_die_before_their_worker_starts_stop_the_run_with_their_log(slurm, cluster_file, tmp_path):
    change(cluster_file, job_script_prologue=["echo the module cuda/99 is unknown", "exit 3"])
    workspace = tmp_path / "ws"
    code, printed = run(slurm, write_study(tmp_path, "ws"), cluster="slurm", cluster_file=cluster_file)
    assert code == 2, printed
    assert "3 jobs in a row ended before their workers registered" in printed
    assert "| the module cuda/99 is unknown" in printed
    assert "ExitCode 3:0" in printed
    script = next((workspace / "jobs").glob("*-2.sh"))
    assert f"Script {script}, log {script.with_suffix('.log')}" in printed
    assert len(list((workspace / "jobs").glob("*.log"))) == 3, "no log was written over by a later job's"
    require_clean(slurm, workspace)


def test_a_refused_submission_is_reported_in_slurms_words(slurm, cluster_file, tmp_path):
    change(cluster_file, queue="nosuchqueue")
    code, printed = run(slurm, write_study(tmp_path, "ws"), cluster="slurm", cluster_file=cluster_file)
    assert code == 2, printed
    assert "invalid partition" in printed.lower()


def test_sigterm_finishes_the_running_tiles_and_goes(slurm, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=30, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file)
    wait_until(lambda: len(finished(workspace)) >= 2, process=process)
    process.send_signal(signal.SIGTERM)
    code, printed = finish(process)
    assert code == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    assert "run the same command again to go on" in printed
    count = len(finished(workspace))
    assert 2 <= count < 30
    assert len(outputs(workspace)) == count
    require_same(workspace, expected, count)
    require_clean(slurm, workspace)
