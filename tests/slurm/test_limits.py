"""How many jobs, and jobs that never start, on a real Slurm."""

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
    run,
    start,
    trace,
    wait_until,
    write_study,
)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]


def test_jobs_grow_with_the_tiles_and_are_given_back(slurm, cluster_file, tmp_path, expected):
    """Three jobs are wanted, but there are two nodes: in the end the job that waits and the idle one are given back."""
    study = write_study(tmp_path, "ws", n=5, seconds=1.0, hold=[40])
    workspace = tmp_path / "ws"
    process = start(slurm, study, cluster="slurm", cluster_file=cluster_file, jobs="1:3")
    wait_until(lambda: len(jobs(slurm)) == 3, process=process)
    wait_until(lambda: len(jobs(slurm, "RUNNING")) == 2, process=process)
    wait_until(lambda: len(jobs(slurm)) == 1, process=process)
    assert len(finished(workspace)) == 4, "the last tile should still be computed"
    go(workspace)
    code, printed = finish(process)
    assert code == 0, printed
    require_same(workspace, expected, 5)
    assert len(trace(workspace)) == 5, "a tile was computed twice"
    assert len(list((workspace / "jobs").glob("worker-*.sh"))) == 3, "what was given back was asked for again"
    require_clean(slurm, workspace)


def test_no_more_jobs_are_submitted_than_allowed(slurm, cluster_file, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=40, seconds=1.0)
    workspace = tmp_path / "ws"
    options = {"cluster": "slurm", "cluster_file": cluster_file, "max_jobs": 2}
    process = start(slurm, study, **options)
    for count in (1, 2):
        wait_until(lambda count=count: len(jobs_of(workspace)) == count, process=process)
        ask(slurm, "scancel", *jobs(slurm))
    code, printed = finish(process)
    assert code == 2, printed
    assert "all 2 jobs that may be submitted (--max-jobs) have ended" in printed
    assert len(jobs_of(workspace)) == 2
    require_clean(slurm, workspace)
    assert 2 <= len(finished(workspace)) < 40
    go(workspace)
    code, printed = run(slurm, study, **options)
    assert code == 0, printed
    require_same(workspace, expected, 40)


def test_a_held_job_stops_the_run_with_slurms_reason(slurm, cluster_file, tmp_path):
    change(cluster_file, job_extra_directives=["--hold"])
    code, printed = run(slurm, write_study(tmp_path, "ws"), cluster="slurm", cluster_file=cluster_file)
    assert code == 2, printed
    assert "is held and will not start by waiting: JobHeldUser" in printed
    assert "worker-" in printed
    require_clean(slurm, tmp_path / "ws")


def test_a_job_that_asks_for_what_there_is_not_is_refused_in_slurms_words(slurm, cluster_file, tmp_path):
    change(cluster_file, job_extra_directives=["--constraint=nosuch"])
    code, printed = run(slurm, write_study(tmp_path, "ws"), cluster="slurm", cluster_file=cluster_file)
    assert code == 2, printed
    assert "Invalid feature specification" in printed
    require_clean(slurm, tmp_path / "ws")


def test_no_job_starts_in_time(slurm, cluster_file, tmp_path):
    change(cluster_file, cluster={"start_within": "00:00:04"}, job_extra_directives=["--begin=now+1hour"])
    code, printed = run(slurm, write_study(tmp_path, "ws"), cluster="slurm", cluster_file=cluster_file)
    assert code == 2, printed
    assert "no job has started within 4.0 s" in printed
    assert "the queue says: 1 waiting (BeginTime)" in printed
    require_clean(slurm, tmp_path / "ws")
