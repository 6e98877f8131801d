"""The controller as a batch job on a real Slurm: drained five minutes before its end, submitted again, completed."""

import subprocess
import sys
from pathlib import Path

import pytest
from running import HERE, ask, finished, go, jobs, outputs, require_clean, require_same, wait_until, write_study

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]
SCRIPT = Path(__file__).parents[2] / "jobs" / "controller.slurm.sh"

#: Stands in for Python: the pipeline of the script is the watched verb here.
PYTHON = """#!/bin/bash
[ "$1 $2 $3" = "-m hpc_recon.pipeline --study" ] || { echo "unexpected: $*"; exit 9; }
study=$4
shift 4
[ "$*" = "--cluster slurm --cluster-file {cluster_file} --jobs 1" ] || { echo "unexpected: $*"; exit 9; }
env | grep -E '^(SLURM|SBATCH)_' | grep -v '^SLURM_CONF=' && { echo "would reach later jobs"; exit 9; }
exec {python} {run} "$study" '{"cluster": "slurm", "cluster_file": "{cluster_file}"}'
"""


@pytest.fixture
def submit(slurm, cluster_file, tmp_path):
    """Return a function that submits the controller; it returns the job's id and its log."""
    python = tmp_path / "controllers-python"
    text = PYTHON
    for key, value in {"cluster_file": cluster_file, "python": sys.executable, "run": HERE / "run_watched.py"}.items():
        text = text.replace(f"{{{key}}}", str(value))
    python.write_text(text)
    python.chmod(0o755)

    def submit(study):
        log = tmp_path / "controller-%j.log"
        command = ["sbatch", "--parsable", f"--output={log}", "--time=0:10:00", str(SCRIPT), str(study)]
        arguments = ["--cluster-file", str(cluster_file), "--jobs", "1"]
        environment = {**slurm, "PYTHON": str(python)}
        answer = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=True)
        job = answer.stdout.strip()
        return job, Path(str(log).replace("%j", job))

    return submit


def test_drained_before_its_end_and_submitted_again(slurm, submit, tmp_path, expected):
    study = write_study(tmp_path, "ws", n=40, seconds=1.0)
    workspace = tmp_path / "ws"
    first, log = submit(study)
    wait_until(lambda: len(finished(workspace)) >= 3)
    # What Slurm does by itself five minutes before the end: --signal=B:TERM@300.
    ask(slurm, "scancel", "--signal=TERM", "--batch", first)
    wait_until(lambda: not jobs(slurm))
    assert "stopping when the tiles that run now are done" in log.read_text()
    assert "run the same command again to go on" in log.read_text()
    assert "ExitCode=1:0" in ask(slurm, "scontrol", "show", "job", first)
    count = len(finished(workspace))
    assert 3 <= count < 40
    assert len(outputs(workspace)) == count
    require_clean(slurm, workspace)
    go(workspace)
    second, log = submit(study)
    wait_until(lambda: len(finished(workspace)) == 40 and not jobs(slurm), 300)
    assert "ExitCode=0:0" in ask(slurm, "scontrol", "show", "job", second), log.read_text()
    require_same(workspace, expected, 40)
    require_clean(slurm, workspace)
