"""A real Grid Engine for these tests, started once; skipped with the reason where it cannot start, an error in CI."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
#: The fake verb; and what tests of real schedulers share, the verb that they watch included.
SHARED = (HERE.parent / "run", HERE.parent / "slurm")
sys.path[:0] = map(str, SHARED)

import running  # noqa: E402

#: Tiles of which `expected` knows the bytes: more than any test here has.
MOST_TILES = 80


def _load_cluster():
    # Not by its plain name, which is that of Slurm's.
    spec = importlib.util.spec_from_file_location("sge_cluster", HERE / "cluster.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _end_what_a_test_left():
    yield
    running.end_started()


@pytest.fixture(scope="session")
def cell(tmp_path_factory):
    """The environment in which Grid Engine's commands find this test run's cell."""
    cluster = _load_cluster()
    reason = cluster.absent()
    if reason is not None:
        message = f"no real Grid Engine in this test run: {reason}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("sge")
    variables, daemons = cluster.start(folder)
    try:
        yield {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(map(str, SHARED))}
    finally:
        try:
            cluster.stop(folder)
        finally:
            for daemon in daemons:
                daemon.wait(120)


@pytest.fixture(scope="session")
def jobs():
    """A function that lists the ids of the jobs in the queue, whatever their state."""

    def jobs(environment):
        return [line.split()[0] for line in running.ask(environment, "qstat").splitlines()[2:]]

    return jobs


@pytest.fixture
def sge(cell, jobs):
    """The environment of the cell; a test that fails leaves no jobs to the next."""
    yield cell
    if jobs(cell):
        subprocess.run(["qdel", "-u", "*"], env=cell, capture_output=True, check=False)
        running.wait_until(lambda: not jobs(cell), 120)


@pytest.fixture(scope="session")
def expected(tmp_path_factory):
    """What the fake verb's tiles write on this machine, by the name of the file."""
    return running.run_here(tmp_path_factory.mktemp("here"), MOST_TILES)


@pytest.fixture
def cluster_file(tmp_path):
    """A cluster file for jobs of one core; their `PYTHONPATH` leads to the fake verb."""
    job = {
        "cores": 1,
        "memory": "2GiB",
        "walltime": "00:10:00",
        "interface": "lo",
        "job-extra-directives": ["-v PYTHONPATH"],
        "worker-extra-args": ["--no-dashboard"],
    }
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"cluster": {"poll_seconds": 1, "dashboard": False}, "jobqueue": {"sge": job}}))
    return path
