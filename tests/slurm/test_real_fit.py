"""The main job on a real Slurm: decoders fitted by two jobs on two nodes equal those of this machine, byte for byte."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import in_threads
import pytest
import yaml
from running import change, require_clean, spawn, wrapper

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500)]
STUDY = {
    "name": "small",
    "subjects": ["S1"],
    "rois": ["V1", "V2", "VC"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "shapes": {"role": "test"},
        "letters": {"role": "test"},
    },
    "simulate": {
        "image_size": 32,
        "n_training": 64,
        "n_natural": 4,
        "n_shapes": 4,
        "n_letters": 4,
        "n_voxels": 200,
        "training_repeats": 1,
    },
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1", "conv3_1"]}},
    "fit": {"n_voxels": 20},
}


def write_study(folder, workspace):
    path = folder / f"{workspace.name}.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "workspace": str(workspace)}))
    return path


def command(verb, study, *options):
    return [sys.executable, "-m", f"hpc_recon.{verb}", "--study", str(study), *map(str, options)]


def run(environment, verb, study, *options):
    result = subprocess.run(
        command(verb, study, *options), env=environment, capture_output=True, text=True, timeout=400
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def run_here(verb, study, *options):
    """Run a command in this process, its tiles in a thread."""
    with in_threads.used():
        assert importlib.import_module(f"hpc_recon.{verb}").main(["--study", str(study), *options]) == 0


def contents(workspace, store):
    """Digest of every file of a store, by name."""
    files = (path for path in (workspace / store).rglob("*") if path.is_file())
    return {p.relative_to(workspace).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def receipts_of(workspace):
    folder = workspace / "receipts" / "fit"
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*.json") if p.name != "group.json"}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """A workspace with features, made in this process; OpenBLAS with one thread as on the nodes."""
    folder = tmp_path_factory.mktemp("real")
    workspace = folder / "local"
    run_here("pipeline", write_study(folder, workspace), "--through", "extract")
    return workspace


@pytest.fixture(scope="module")
def expected(extracted, tmp_path_factory):
    """The decoders that this process fits, by file."""
    workspace = tmp_path_factory.mktemp("reference") / "here"
    shutil.copytree(extracted, workspace)
    run_here("fit", write_study(workspace.parent, workspace))
    return contents(workspace, "decoders.zarr")


@pytest.fixture
def copy(extracted, tmp_path):
    def copy(name):
        workspace = tmp_path / name
        shutil.copytree(extracted, workspace)
        return write_study(tmp_path, workspace), workspace

    return copy


def test_two_nodes_write_the_decoders_of_this_machine(slurm, cluster_file, copy, expected, tmp_path):
    there = copy("there")
    # The workers start together, so that neither does everything before the other is there.
    both = f"until [ -e {tmp_path}/up-n1 ] && [ -e {tmp_path}/up-n2 ]; do sleep 0.1; done"
    change(cluster_file, python=str(wrapper(tmp_path, f"touch {tmp_path}/up-$SLURMD_NODENAME", both)))
    run(slurm, "fit", there[0], "--cluster", "slurm", "--cluster-file", cluster_file, "--jobs", 2)
    assert len(expected) > 20
    assert contents(there[1], "decoders.zarr") == expected
    found = [json.loads(path.read_text())["run"] for path in receipts_of(there[1])]
    assert len({each["job"] for each in found}) == 2
    assert not [each["warnings"] for each in found if each["warnings"]]
    printed = run(slurm, "fit", there[0], "--cluster", "slurm", "--cluster-file", cluster_file)
    assert "nothing to do" in printed


def test_killed_half_way_the_fit_is_completed(slurm, cluster_file, copy, expected):
    study, workspace = copy("killed")
    options = ["--cluster", "slurm", "--cluster-file", cluster_file, "--jobs", 1]
    first = spawn(slurm, command("fit", study, *options))
    end = time.monotonic() + 300
    while len(receipts_of(workspace)) < 3:
        assert time.monotonic() < end, "no tile was done"
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = spawn(slurm, command("fit", study, *options))
    # The old jobs may finish tiles until they are cancelled; what is there when the new certificates are, stays.
    while second.poll() is None and not list((workspace / "receipts").glob(".controller*")):
        time.sleep(0.005)
    while second.poll() is None and list((workspace / "receipts").glob(".controller*")):
        time.sleep(0.005)
    before = receipts_of(workspace)
    _, printed = second.communicate(timeout=400)
    assert second.returncode == 0, printed
    assert "taking over" in printed
    after = receipts_of(workspace)
    assert {path: after[path] for path in before} == before, "finished tiles were computed again"
    assert contents(workspace, "decoders.zarr") == expected
    require_clean(slurm, workspace)
