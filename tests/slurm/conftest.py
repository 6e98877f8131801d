"""A real Slurm for these tests, started once; skipped with the reason where it cannot start, an error in CI."""

import os
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
FAKES = HERE.parent / "run"
sys.path.insert(0, str(HERE))

import cluster  # noqa: E402


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
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
    configuration, daemons = cluster.start(folder)
    try:
        yield {**os.environ, "SLURM_CONF": str(configuration), "PYTHONPATH": str(FAKES)}
    finally:
        cluster.stop(folder)
        for daemon in daemons:
            daemon.wait(5)


@pytest.fixture
def cluster_file(tmp_path):
    """A cluster file for one core and one pretended GPU a job."""
    content = {
        "cluster": {"poll_seconds": 1},
        "jobqueue": {
            "slurm": {
                "cores": 1,
                "memory": "2GiB",
                "walltime": "00:10:00",
                "interface": "lo",
                "job-extra-directives": ["--gres=gpu:1"],
                "job-directives-skip": ["--mem"],
            }
        },
    }
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
