"""Running on a real Slurm, with a verb that computes nothing: jobs, nodes, a killed controller, dead jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]
RUN_FAKE = Path(__file__).parent.parent / "run" / "run_fake.py"


def write_study(folder, workspace, **orders):
    content = {
        "name": "tiny",
        "workspace": str(folder / workspace),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
        "report": {"description": json.dumps(orders)},
    }
    path = folder / f"{workspace}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def start(environment, study, *arguments):
    command = [sys.executable, str(RUN_FAKE), str(study), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process, seconds=90):
    """Return the exit code and what was printed."""
    try:
        _, printed = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"not done after {seconds} s:\n{process.communicate()[1]}") from None
    return process.returncode, printed


def jobs(environment):
    command = ["squeue", "--noheader", "--format=%i"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def wait_until(ready, seconds=40):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not after {seconds} s"
        time.sleep(0.1)


def receipts_of(workspace):
    folder = workspace / "receipts" / "fit" / "S1" / "VC" / "net" / "layer"
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("fit-*.json")} if folder.is_dir() else {}


def outputs(workspace):
    return {p.name: p.read_bytes() for p in (workspace / "out").iterdir()}


def require_clean(environment, workspace):
    """No jobs, no certificates, no lease, no partial files are left."""
    wait_until(lambda: not jobs(environment), 20)
    assert not list((workspace / "jobs").glob("tls-*"))
    assert not list((workspace / "receipts").glob("*controller*"))
    assert not list((workspace / "receipts").glob(".*controller*"))
    assert not list(workspace.rglob("*.partial"))


def test_two_jobs_on_two_nodes_write_what_a_local_run_writes(slurm, cluster_file, tmp_path):
    code, printed = finish(start(slurm, write_study(tmp_path, "there", n=16, seconds=0.2), "slurm", cluster_file, 2))
    assert code == 0, printed
    code, printed = finish(start(slurm, write_study(tmp_path, "here", n=16), "local"))
    assert code == 0, printed
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert len(outputs(tmp_path / "there")) == 16
    found = [json.loads(p.read_text()) for p in (tmp_path / "there" / "receipts").rglob("fit-*.json")]
    assert len({receipt["run"]["job"] for receipt in found}) == 2, "one of the two jobs did nothing"
    scripts = sorted((tmp_path / "there" / "jobs").glob("*.sh"))
    assert len(scripts) == 2
    for script in scripts:
        assert "#SBATCH --gres=gpu:1" in script.read_text()
        assert "--mem=" not in script.read_text()
    require_clean(slurm, tmp_path / "there")


def test_a_killed_controller_is_taken_over_and_only_unfinished_tiles_are_computed(slurm, cluster_file, tmp_path):
    study = write_study(tmp_path, "ws", n=20, seconds=0.4)
    workspace = tmp_path / "ws"
    first = start(slurm, study, "slurm", cluster_file, 2)
    wait_until(lambda: len(receipts_of(workspace)) >= 6)
    os.kill(first.pid, signal.SIGKILL)
    finish(first)
    assert jobs(slurm), "the jobs of the killed controller should still be there"
    assert list((workspace / "jobs").glob("tls-*")), "so should its certificates"
    (workspace / "out" / "x.partial").write_bytes(b"torn")
    second = start(slurm, study, "slurm", cluster_file, 2)
    # Tiles that finish before the old jobs are cancelled count as done: remember what lies there after that.
    wait_until(lambda: list((workspace / "jobs").glob("tls-*/key.pem")) and not list(workspace.rglob("*.partial")))
    before = receipts_of(workspace)
    code, printed = finish(second)
    assert code == 0, printed
    assert "taking over" in printed
    after = receipts_of(workspace)
    assert len(after) == 20
    assert {name: after[name] for name in before} == before, "finished tiles were computed again"
    require_clean(slurm, workspace)


def test_a_second_controller_refuses_and_a_cancelled_job_is_replaced(slurm, cluster_file, tmp_path):
    study = write_study(tmp_path, "ws", n=16, seconds=0.4)
    workspace = tmp_path / "ws"
    first = start(slurm, study, "slurm", cluster_file, 1)
    wait_until(lambda: len(receipts_of(workspace)) >= 2)
    code, printed = finish(start(slurm, study, "slurm", cluster_file, 1))
    assert code == 2
    assert f"another controller (process {first.pid} on" in printed
    victims = jobs(slurm)
    subprocess.run(["scancel", *victims], env=slurm, check=True)
    code, printed = finish(first)
    assert code == 0, printed
    assert len(receipts_of(workspace)) == 16
    seen = {json.loads(p.read_text())["run"]["job"] for p in (workspace / "receipts").rglob("fit-*.json")}
    assert len(seen) == 2
    assert set(victims) < seen
    require_clean(slurm, workspace)


def test_jobs_that_die_before_their_worker_starts_stop_the_run_with_their_log(slurm, cluster_file, tmp_path):
    content = yaml.safe_load(cluster_file.read_text())
    content["jobqueue"]["slurm"]["job-script-prologue"] = ["echo the module cuda/99 is unknown", "exit 3"]
    cluster_file.write_text(yaml.safe_dump(content))
    workspace = tmp_path / "ws"
    code, printed = finish(start(slurm, write_study(tmp_path, "ws"), "slurm", cluster_file, 1))
    assert code == 2
    assert "3 jobs in a row ended before their workers registered" in printed
    assert "the module cuda/99 is unknown" in printed
    assert "ExitCode 3:0" in printed
    require_clean(slurm, workspace)


def test_a_refused_submission_is_reported_in_slurms_words(slurm, cluster_file, tmp_path):
    content = yaml.safe_load(cluster_file.read_text())
    content["jobqueue"]["slurm"]["queue"] = "nosuchqueue"
    cluster_file.write_text(yaml.safe_dump(content))
    code, printed = finish(start(slurm, write_study(tmp_path, "ws"), "slurm", cluster_file, 1))
    assert code == 2
    assert "invalid partition" in printed.lower()


def test_sigterm_finishes_the_running_tiles_and_goes(slurm, cluster_file, tmp_path):
    study = write_study(tmp_path, "ws", n=30, seconds=1.0)
    workspace = tmp_path / "ws"
    process = start(slurm, study, "slurm", cluster_file, 1)
    wait_until(lambda: len(receipts_of(workspace)) >= 2)
    process.send_signal(signal.SIGTERM)
    code, printed = finish(process, 30)
    assert code == 1
    assert "stopping when the tiles that run now are done" in printed
    assert "run the same command again to go on" in printed
    assert 2 <= len(receipts_of(workspace)) < 10
    require_clean(slurm, workspace)
