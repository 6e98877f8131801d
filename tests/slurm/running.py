"""What the tests on real schedulers share: studies, controllers as processes, jobs, and what must be left at last."""

import contextlib
import glob
import io
import json
import os
import subprocess
import sys
import time
import unittest.mock
from pathlib import Path

import yaml

from hpc_recon.core import receipts

HERE = Path(__file__).parent
FAKES = HERE.parent / "run"
sys.path[:0] = [str(HERE), str(FAKES)]

import in_threads  # noqa: E402
import run_watched  # noqa: E402

#: What `spawn` began.
started = []


def write_study(folder, workspace, **orders):
    """Write a study for the fake verb; its tiles behave as `orders` say."""
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


def write_cluster(folder, *, poll_seconds, walltime, directive):
    """Write a cluster file for one core and one pretended GPU a job; `directive` is one more of the job's own."""
    content = {
        # Web pages take a second to start, of the controller and of each worker; tests/run has them.
        "cluster": {"poll_seconds": poll_seconds, "dashboard": False},
        "jobqueue": {
            "slurm": {
                "cores": 1,
                "memory": "2GiB",
                "walltime": walltime,
                "interface": "lo",
                "job-extra-directives": ["--gres=gpu:1", directive],
                "job-directives-skip": ["--mem"],
                "worker-extra-args": ["--no-dashboard"],
            }
        },
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def change(path, *, cluster=None, **job):
    """Change a cluster file: keys of its section `cluster`, and of a job."""
    content = yaml.safe_load(path.read_text())
    content["cluster"].update(cluster or {})
    for section in content["jobqueue"].values():
        section.update({key.replace("_", "-"): value for key, value in job.items()})
    path.write_text(yaml.safe_dump(content))


def wrapper(folder, *lines):
    """Write a Python for the cluster file's `python:` that does something first, on some nodes say."""
    path = folder / "python"
    path.write_text("\n".join(["#!/bin/bash", *lines, f'exec {sys.executable} "$@"']) + "\n")
    path.chmod(0o755)
    return path


def start(environment, study, **options):
    """Start a controller as a process of its own."""
    options = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    command = [sys.executable, str(HERE / "run_watched.py"), str(study), json.dumps(options)]
    return spawn(environment, command)


def run(environment, study, **options):
    """Run a controller in this process, to its end; return the exit code and what was printed."""
    options = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    with unittest.mock.patch.dict(os.environ, environment), contextlib.redirect_stderr(io.StringIO()) as printed:
        code = run_watched.main(str(study), json.dumps(options))
    in_threads.forget()
    return code, printed.getvalue()


def go(workspace):
    """Let tiles go on that hold; those that start after that take no time."""
    (workspace / "go").touch()


def excluding(workspace):
    """Return the scripts of jobs that keep off a node."""
    return [path for path in (workspace / "jobs").glob("worker-*.sh") if "--exclude=" in path.read_text()]


def run_here(folder, n):
    """Return what the watched verb's `n` tiles write in this process, by name."""
    with in_threads.used():
        code = run_watched.main(str(write_study(folder, "here", n=n)))
    assert code == 0
    return outputs(folder / "here")


def spawn(environment, command):
    """Start a command of which the test's end sees the end."""
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    started.append(process)
    return process


def end_started():
    """End the controllers that a test left behind when it failed, and close what they print into."""
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def finish(process, seconds=400):
    """Return the exit code and what was printed."""
    try:
        _, printed = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"not done after {seconds} s:\n{process.communicate()[1]}") from None
    return process.returncode, printed


def ask(environment, *command):
    """Return what a command of Slurm prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def jobs(environment, *states):
    """Return the ids of the jobs in the queue, in some states only (`PENDING`, `RUNNING`) if any are given."""
    chosen = [f"--states={','.join(states)}"] if states else []
    return ask(environment, "squeue", "--noheader", "--format=%i", *chosen).split()


def wait_until(ready, seconds=300, process=None):
    """Wait for something; a controller that ends meanwhile has failed."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not after {seconds} s"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the controller ended with {process.returncode}:\n{process.stderr.read()}")
        time.sleep(0.1)


def finished(workspace):
    """Return the receipts of all finished tiles, by the id of the tile."""
    return dict(receipts.iterate(workspace, "fit"))


def trace(workspace):
    """Return where and when tiles were computed, one record each time that one was computed to its end."""
    return [json.loads(path.read_text()) for path in sorted((workspace / "trace").glob("*.json"))]


def jobs_of(workspace):
    """Return the ids of the jobs that computed the tiles that are there, as the receipts say."""
    return {receipt.run["job"] for receipt in finished(workspace).values()}


def taken_over(workspace):
    """Tell whether a new controller wrote its certificates and swept torn files away."""

    def found(pattern):  # Unlike `Path.glob` it bears that folders vanish meanwhile.
        return glob.glob(pattern, root_dir=workspace, recursive=True)

    return bool(found("jobs/tls-*/key.pem")) and not found("**/*.partial")


def outputs(workspace):
    """Return what the tiles wrote, by name."""
    return {p.name: p.read_bytes() for p in (workspace / "out").iterdir()}


def require_same(workspace, expected, count):
    """All `count` tiles wrote what a run on this machine wrote."""
    found = outputs(workspace)
    assert len(found) == count
    assert found == {name: expected[name] for name in found}


def require_clean(environment, workspace, jobs=jobs):
    """No jobs, certificates, lease, partial files, or notes to workers are left; `jobs(environment)` lists jobs."""
    wait_until(lambda: not jobs(environment))
    left = workspace / "jobs"
    for pattern in ("tls-*", "environment-*", "devices-*", "broken-*"):
        assert not list(left.glob(pattern)), pattern
    assert not list((workspace / "receipts").glob("*controller*"))
    assert not list((workspace / "receipts").glob(".*controller*"))
    assert not list(workspace.rglob("*.partial"))
