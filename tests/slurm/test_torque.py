"""Jobs of PBS through Torque's commands above the real Slurm: submitted, found by name, cancelled, explained."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import torque

from hpc_recon.core.cluster_file import ClusterFile
from hpc_recon.run import jobqueue
from hpc_recon.run.job_classes import JOBS
from hpc_recon.run.queues import JobState, PBSQueue

pytestmark = pytest.mark.slurm
NAME = "r-0123456789ab"


@pytest.fixture
def commands(slurm, monkeypatch, tmp_path):
    folder = os.environ.get("TORQUE_COMMANDS")
    if folder is None:
        pytest.skip("TORQUE_COMMANDS is not set (python tests/slurm/torque.py DIR makes them)")
    monkeypatch.setenv("SLURM_CONF", slurm["SLURM_CONF"])
    for name, value in torque.environment(Path(folder)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # the wrapper puts outputs here


def submit(folder, worker, name=NAME, **section):
    python = folder / "python"
    python.write_text("#!/bin/sh\nsleep 100\n")
    python.chmod(0o755)
    content = {"cores": 1, "memory": "1GiB", "python": str(python), "walltime": "00:05:00", **section}
    cluster = ClusterFile.model_validate({"jobqueue": {"pbs": content}})
    plan = jobqueue.plan_jobs(cluster, folder=folder, job_name=name, xp="numpy")
    job = JOBS["pbs"]("tls://127.0.0.1:1", name=worker, script_folder=folder, skip=plan.skip, **plan.settings)
    asyncio.run(job.start())
    return job


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_life_of_a_job(commands, tmp_path):
    queue = PBSQueue()
    assert queue.by_name(NAME) == {}
    job, other = submit(tmp_path, "w-0"), submit(tmp_path, "w-1", name=NAME + "c")
    try:
        assert job.problem is None
        until(lambda: queue.by_name(NAME) == {job.job_id: JobState("running")})
        queue.cancel(NAME)
        until(lambda: queue.by_name(NAME) == {})
        assert set(queue.by_name(NAME + "c")) == {other.job_id}, "another run's jobs are left alone"
        assert queue.why(job.job_id) == "state C"
    finally:
        queue.cancel(NAME + "c")


def test_a_refusal_says_why(commands, tmp_path):
    job = submit(tmp_path, "w-0", queue="nosuchqueue")
    assert job.job_id is None
    assert "invalid partition" in job.problem
