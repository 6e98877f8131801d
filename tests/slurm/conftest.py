"""A real Slurm for these tests, started once; skipped with the reason where it cannot start, an error in CI."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAKES = HERE.parent / "run"
sys.path[:0] = [str(HERE), str(FAKES)]

import cluster  # noqa: E402
import running  # noqa: E402

#: Tiles of which `expected` knows the bytes: more than any test here has.
MOST_TILES = 80


@pytest.fixture(autouse=True)
def _end_what_a_test_left():
    yield
    running.end_started()


@pytest.fixture(scope="session")
def daemons():
    """Slurm's processes; a test that starts one anew adds it."""
    return []


@pytest.fixture(scope="session")
def slurm(tmp_path_factory, daemons):
    """The environment in which Slurm's commands find this test's two-node cluster."""
    reason = cluster.absent()
    if reason is not None:
        message = f"no real Slurm in this test run: {reason}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)  # munged runs as its own user
    configuration, started = cluster.start(folder)
    daemons += started
    try:
        yield {**os.environ, "SLURM_CONF": str(configuration), "PYTHONPATH": os.pathsep.join(map(str, (FAKES, HERE)))}
    finally:
        cluster.stop(folder)
        for daemon in daemons:
            daemon.wait(120)


@pytest.fixture(scope="session")
def expected(tmp_path_factory):
    """What the fake verb's tiles write on this machine, by the name of the file."""
    return running.run_here(tmp_path_factory.mktemp("here"), MOST_TILES)


@pytest.fixture
def cluster_file(tmp_path):
    """A cluster file for one core and one pretended GPU a job, each job on a node of its own."""
    return running.write_cluster(tmp_path, poll_seconds=0.5, walltime="00:10:00", directive="--exclusive")
