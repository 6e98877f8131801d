"""Controllers as processes of their own, of the fake verb and of the real ones: start, disturb, finish, compare."""

import contextlib
import hashlib
import importlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

FAKES = Path(__file__).parent.parent / "run"
sys.path.insert(0, str(FAKES))

import in_threads  # noqa: E402
import run_fake  # noqa: E402

RUN_FAKE = FAKES / "run_fake.py"
CLUSTER = Path(__file__).parent / "cluster.yaml"
#: Tiles of the fake verb in these tests.
N_TILES = 8
#: A study of the real verbs, and what they write up to `decode`.
STUDY = {
    "name": "small",
    "subjects": ["S1"],
    "rois": ["V1", "VC"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 32, "n_training": 64, "n_natural": 4, "n_voxels": 200, "training_repeats": 1},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv3_1"]}},
    "fit": {"n_voxels": 20},
}
STORES = ("stimuli.zarr", "brain.zarr", "features.zarr", "norms.zarr", "decoders.zarr", "decoded.zarr")


def need(reason):
    """Skip a test that cannot be made here; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def write_fake(workspace, *, alpha=100.0, name=None, **orders):
    """Write a study beside its workspace whose description tells the fake verb what to do."""
    content = {
        "name": "tiny",
        "workspace": str(workspace),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
        "fit": {"alpha": alpha},
        "report": {"description": json.dumps({"n": N_TILES, **orders})},
    }
    path = workspace.parent / f"{name or workspace.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def write_real(workspace, **changes):
    """Write a real study beside its workspace."""
    path = workspace.parent / f"{workspace.name}.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "workspace": str(workspace), **changes}))
    return path


def start_fake(study, *, jobs=1, flags=(), prefix=(), script=RUN_FAKE, **environment):
    """Start a controller of the fake verb in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        _command(study, jobs=jobs, flags=flags, prefix=prefix, script=script),
        env=_with_fakes(environment),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def start_fake_on(terminal, study, prefix):
    """Start a controller of the fake verb that speaks to a terminal (a descriptor)."""
    return subprocess.Popen(
        _command(study, prefix=prefix),
        cwd=study.parent,  # where `nohup` writes
        env=_with_fakes({"TERM": "xterm"}),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )


def _command(study, *, jobs=1, flags=(), prefix=(), script=RUN_FAKE):
    return [*prefix, sys.executable, str(script), str(study), "local", str(CLUSTER), str(jobs), *flags]


def _with_fakes(environment):
    path = os.pathsep.join([str(FAKES), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **environment}


def finish(process, seconds=400):
    """Wait for a controller; return its exit code and what it printed."""
    try:
        _, printed = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"not done after {seconds} s:\n{process.communicate()[1]}") from None
    return process.returncode, printed


def go(workspace):
    """Let the tiles go on that were told to hold."""
    (workspace / "go").touch()


def attempt(study, *flags):
    """Run the fake verb in this process, its tiles in a thread; return the exit code and what was printed."""
    with in_threads.used(), contextlib.redirect_stderr(io.StringIO()) as printed:
        code = run_fake.main(str(study), "local", "", "1", *flags)
    return code, printed.getvalue()


def complete(study, *flags):
    """Run the fake verb in this process to its end; it must end well."""
    code, printed = attempt(study, *flags)
    assert code == 0, printed
    return printed


def run_verb(verb, study, *options, processes=False):
    """Run a command of the package in this process, its tiles in a thread or in a process; return the exit code."""
    main = importlib.import_module(f"hpc_recon.{verb}").main
    with contextlib.nullcontext() if processes else in_threads.used():
        return main(["--study", str(study), *map(str, options)])


def wait_until(ready, process=None, seconds=300):
    """Wait for something; not longer than its controller lives."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not after {seconds} s"
        assert process is None or process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def outputs(workspace):
    """Return the bytes that each tile of the fake verb wrote, by name."""
    return {path.name: path.read_bytes() for path in (workspace / "out").glob("*.bin")}


def times(workspace):
    """Return when each tile of the fake verb was written, by name."""
    return {path.name: path.stat().st_mtime_ns for path in (workspace / "out").glob("*.bin")}


def n_done(workspace):
    return len(list((workspace / "out").glob("*.bin")))


def starts(workspace, number):
    """Return the process ids that started a tile of the fake verb, in order."""
    path = workspace / f"starts-fit-{number * 10:08d}-{number * 10 + 10:08d}"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def assert_nothing_is_left(workspace):
    """No lease, no certificates, no partial files."""
    assert not list((workspace / "receipts").glob("*controller*"))
    assert not list((workspace / "receipts").glob(".controller*"))
    assert not list((workspace / "jobs").glob("tls-*"))
    assert not list(workspace.rglob("*.partial"))


def digests(workspace, *stores):
    """Return the sha256 of every file of some stores of the real verbs, by name."""
    files = (path for store in stores for path in (workspace / store).rglob("*") if path.is_file())
    return {p.relative_to(workspace).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
