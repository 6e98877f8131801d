"""Running on a real Grid Engine, with a verb that computes nothing: a killed controller, deleted and dead jobs."""

import os
import re
import signal
import socket
from collections import Counter

import pytest
from running import (
    ask,
    change,
    finish,
    finished,
    go,
    jobs_of,
    require_clean,
    require_same,
    run,
    start,
    taken_over,
    trace,
    wait_until,
    write_study,
)

pytestmark = [pytest.mark.sge, pytest.mark.timeout(500)]


@pytest.fixture
def options(cluster_file):
    return {"cluster": "sge", "cluster_file": cluster_file}


def test_two_jobs_write_what_a_local_run_writes(sge, jobs, options, tmp_path, expected):
    workspace = tmp_path / "ws"
    process = start(sge, write_study(tmp_path, "ws", n=80, seconds=1.0), **options, jobs="2")
    wait_until(lambda: len(jobs_of(workspace)) == 2, process=process)
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    require_same(workspace, expected, 80)
    assert len(jobs_of(workspace)) == 2
    scripts = sorted((workspace / "jobs").glob("*.sh"))
    assert len(scripts) == 2
    for script in scripts:
        log = script.with_suffix(".log")
        text = script.read_text()
        assert f"#$ -o {log}\n" in text
        assert "#$ -l h_rt=00:10:00\n" in text
        assert re.search(r"^hpc_recon: node \S+, job \d+$", log.read_text(), re.MULTILINE)
    require_clean(sge, workspace, jobs)


def test_a_killed_controller_is_taken_over_and_only_unfinished_tiles_are_computed(
    sge, jobs, options, tmp_path, expected
):
    study = write_study(tmp_path, "ws", n=40, seconds=0.4)
    workspace = tmp_path / "ws"
    first = start(sge, study, **options, jobs="2")
    wait_until(lambda: len(finished(workspace)) >= 6, process=first)
    os.kill(first.pid, signal.SIGKILL)
    finish(first)
    assert jobs(sge), "the jobs of the killed controller should still be there"
    assert list((workspace / "jobs").glob("tls-*")), "so should its certificates"
    (workspace / "out" / "x.partial").write_bytes(b"torn")
    go(workspace)
    second = start(sge, study, **options, jobs="2")
    # Tiles that finish before the old jobs are deleted count as done: remember what lies there after that.
    wait_until(lambda: taken_over(workspace), process=second)
    before = {tile.rpartition("/")[2] for tile in finished(workspace)}
    code, printed = finish(second)
    assert code == 0, printed
    assert "taking over" in printed
    require_same(workspace, expected, 40)
    times = Counter(record["tile"] for record in trace(workspace))
    assert not [tile for tile in before if times[tile] > 1], "finished tiles were computed again"
    require_clean(sge, workspace, jobs)


def test_a_deleted_job_is_replaced(sge, jobs, options, tmp_path, expected):
    workspace = tmp_path / "ws"
    process = start(sge, write_study(tmp_path, "ws", n=80, seconds=1.0), **options)
    wait_until(lambda: len(finished(workspace)) >= 2, process=process)
    victims = jobs(sge)
    ask(sge, "qdel", *victims)
    wait_until(lambda: len(jobs_of(workspace)) == 2, process=process)
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    require_same(workspace, expected, 80)
    seen = jobs_of(workspace)
    assert len(seen) == 2
    assert set(victims) < seen
    require_clean(sge, workspace, jobs)


def test_jobs_that_die_before_their_workers_start_stop_the_run_with_a_log(sge, jobs, options, cluster_file, tmp_path):
    change(cluster_file, job_script_prologue=["echo the module cuda/99 is unknown", "exit 3"])
    workspace = tmp_path / "ws"
    code, printed = run(sge, write_study(tmp_path, "ws"), **options)
    assert code == 2, printed
    assert "3 jobs in a row ended before their workers registered" in printed
    # After two of them their node is avoided, and this cell has no other.
    assert f"the node {socket.gethostname()} is avoided from now on" in printed
    assert "exit code 3" in printed
    assert "the module cuda/99 is unknown" in printed
    assert "Unable to run job: error: no suitable queues" in printed
    require_clean(sge, workspace, jobs)


def test_a_job_that_grid_engine_cannot_start_stops_the_run_with_its_reason(sge, jobs, options, cluster_file, tmp_path):
    change(cluster_file, job_extra_directives=["-v PYTHONPATH", "-wd /nowhere/at/all"])
    workspace = tmp_path / "ws"
    code, printed = run(sge, write_study(tmp_path, "ws"), **options)
    assert code == 2, printed
    assert "Eqw" in printed
    assert "can't chdir to /nowhere/at/all" in printed
    require_clean(sge, workspace, jobs)


def test_a_refused_submission_is_reported_in_grid_engines_words(sge, jobs, options, cluster_file, tmp_path):
    change(cluster_file, queue="nosuchqueue")
    workspace = tmp_path / "ws"
    code, printed = run(sge, write_study(tmp_path, "ws"), **options)
    assert code == 2, printed
    assert 'unknown queue "nosuchqueue"' in printed
    require_clean(sge, workspace, jobs)
