"""The scripts that run the controller as a batch job: read by bash, and PBS's driven as PBS drives it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

JOBS = Path(__file__).parents[2] / "jobs"
FAKES = Path(__file__).parents[1] / "run"
SCRIPT = JOBS / "controller.pbs.sh"
N_TILES = 12
#: On this machine, without web pages.
CLUSTER = FAKES.parent / "faults" / "cluster.yaml"

#: Stands in for Python: the pipeline of the script is the fake verb on this machine.
PYTHON = """#!/bin/bash
printf '%s\\n' "$*" >>arguments
exec {python} {run} study.yaml local {cluster}
"""
QSTAT = """#!/bin/bash
[ "$*" = "-f 12.server" ] || exit 1
printf 'Job Id: 12.server\\n    Job_Name = recon-control\\n    Resource_List.walltime = {walltime}\\n'
"""


@pytest.mark.parametrize("script", sorted(JOBS.glob("*.sh")), ids=lambda path: path.name)
def test_bash_can_read_it(script):
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.fixture
def start(tmp_path):
    """Return a function that runs the PBS script as PBS would, in a job with some walltime."""
    content = {
        "name": "tiny",
        "workspace": str(tmp_path / "ws"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
        "report": {"description": json.dumps({"n": N_TILES, "hold": [60], "late": 2.0})},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))

    def write(name, text):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    write("my-python", PYTHON.format(python=sys.executable, run=FAKES / "run_fake.py", cluster=CLUSTER))

    def start(walltime, **variables):
        write("qstat", QSTAT.format(walltime=walltime))
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PYTHONPATH": str(FAKES),
            "PYTHON": str(tmp_path / "my-python"),
            "PBS_JOBID": "12.server",
            "PBS_O_WORKDIR": str(tmp_path),
            "STUDY": "study.yaml",
            "OPTIONS": "--cluster mine --jobs 2:16",
            **variables,
        }
        return subprocess.Popen(["bash", str(SCRIPT)], env=environment, stderr=subprocess.PIPE, text=True, cwd="/")

    return start


def done(folder):
    return len(list((folder / "ws" / "out").glob("*.bin"))) if (folder / "ws" / "out").is_dir() else 0


def until_it_stops(job, folder):
    """Let the held tile go when the controller has heard that it must stop; return whether tiles were done before."""
    for line in job.stderr:
        if "stopping when the tiles that run now are done" in line:
            is_running = done(folder) > 0  # else it was still starting
            if (folder / "ws").is_dir():
                (folder / "ws" / "go").touch()
            return is_running
    return False


def test_sigterm_drains_and_submitted_again_it_completes(start, tmp_path):
    first = start("48:00:00")
    end = time.monotonic() + 300
    while done(tmp_path) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert until_it_stops(first, tmp_path)
    first.communicate(timeout=400)
    assert first.returncode == 1
    assert 2 <= done(tmp_path) < N_TILES
    assert not list((tmp_path / "ws" / "receipts").glob("*controller*"))
    second = start("48:00:00")
    _, printed = second.communicate(timeout=400)
    assert second.returncode == 0, printed
    assert done(tmp_path) == N_TILES
    expected = "-m hpc_recon.pipeline --study study.yaml --cluster pbs --cluster mine --jobs 2:16"
    assert (tmp_path / "arguments").read_text().splitlines() == [expected, expected]


def test_it_drains_by_itself_before_its_walltime_ends(start, tmp_path):
    # A busy machine may take the whole of a short time to start: then a longer one.
    for walltime in ("00:10:06", "00:10:30", "00:11:00", "00:14:00"):
        (tmp_path / "ws" / "go").unlink(missing_ok=True)
        job = start(walltime, EARLY="600")
        is_stopped = until_it_stops(job, tmp_path)
        job.communicate(timeout=400)
        if is_stopped:
            break
    assert is_stopped
    assert job.returncode == 1
    assert done(tmp_path) < N_TILES
    assert not list((tmp_path / "ws" / "receipts").glob("*controller*"))


def test_what_is_missing_is_said(start):
    job = start("00:05:00")
    assert "leaves no time" in job.communicate(timeout=400)[1]
    assert job.returncode == 2
    job = start("48:00:00", STUDY="")
    assert "usage: qsub -v STUDY=" in job.communicate(timeout=400)[1]
    assert job.returncode != 0
