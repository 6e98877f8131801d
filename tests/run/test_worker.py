"""What a job runs: its first line, the comparison of environments, one process for each GPU, signals."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hpc_recon.run import environment, worker


def command(expect, *options):
    module = [sys.executable, "-m", "hpc_recon.run.worker", "tls://127.0.0.1:1", "--name", "w-1"]
    return [*module, "--expect", str(expect), *options]


@pytest.fixture
def expect(tmp_path):
    """What a controller with this very environment expects."""

    def write(*, strict=False, **changes):
        path = tmp_path / "environment-abc.json"
        own = {**environment.describe(), **changes}
        path.write_text(json.dumps({"controller": own, "strict": strict}))
        return path

    return write


@pytest.fixture
def stand_in(tmp_path):
    """A folder with a `distributed` whose dask worker writes what it was given, and waits to be told to stop."""

    def write(body):
        folder = tmp_path / "stand-in"
        (folder / "distributed" / "cli").mkdir(parents=True)
        (folder / "distributed" / "__init__.py").write_text("Client = None\n")
        (folder / "distributed" / "cli" / "__init__.py").write_text("")
        (folder / "distributed" / "cli" / "dask_worker.py").write_text(textwrap.dedent(body))
        return {**os.environ, "PYTHONPATH": str(folder)}

    return write


ECHO = """
    import json, os, pathlib, sys
    name = sys.argv[sys.argv.index("--name") + 1]
    seen = {"arguments": sys.argv[1:], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
    pathlib.Path(os.environ["SEEN"], name + ".json").write_text(json.dumps(seen))
"""


def seen_by(folder):
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("w-1*.json"))}


def run(arguments, env, **more):
    return subprocess.run(arguments, env={**env, **more}, capture_output=True, text=True, timeout=200)


def test_a_node_like_the_controllers_becomes_one_dask_worker_with_all_its_options(expect, stand_in, tmp_path):
    options = ("--nthreads", "1", "--interface", "lo", "--tls-ca-file", "/c.pem", "--gpus", "0", "--memory-limit", "0")
    answer = run(
        command(expect(), *options), stand_in(ECHO), SEEN=str(tmp_path), SLURMD_NODENAME="n7", SLURM_JOB_ID="12"
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0] == "hpc_recon: node n7, job 12"
    (found,) = seen_by(tmp_path).values()
    expected = [
        "tls://127.0.0.1:1",
        "--nthreads",
        "1",
        "--interface",
        "lo",
        "--tls-ca-file",
        "/c.pem",
        "--memory-limit",
        "0",
    ]
    assert found["arguments"][: len(expected)] == expected
    assert found["arguments"][-2:] == ["--name", "w-1"]
    assert not list(tmp_path.glob("broken-*"))


def test_one_process_for_each_gpu_of_the_job(expect, stand_in, tmp_path):
    answer = run(command(expect(), "--gpus", "2"), stand_in(ECHO), SEEN=str(tmp_path), CUDA_VISIBLE_DEVICES="5,3,9")
    assert answer.returncode == 0, answer.stderr
    assert {name: found["gpu"] for name, found in seen_by(tmp_path).items()} == {"w-1.0": "5", "w-1.1": "3"}
    assert {worker.job_of(name) for name in seen_by(tmp_path)} == {"w-1"}


def test_one_gpu_is_one_process_that_sees_it_alone(expect, stand_in, tmp_path):
    run(command(expect(), "--gpus", "1"), stand_in(ECHO), SEEN=str(tmp_path), CUDA_VISIBLE_DEVICES="5,3")
    assert {name: found["gpu"] for name, found in seen_by(tmp_path).items()} == {"w-1": "5"}


def test_fewer_gpus_than_the_cluster_file_says(expect, stand_in, tmp_path):
    answer = run(command(expect(), "--gpus", "4"), stand_in(ECHO), SEEN=str(tmp_path), CUDA_VISIBLE_DEVICES="0,1")
    assert answer.returncode == worker.BROKEN
    assert "the job has 2 GPUs (CUDA_VISIBLE_DEVICES: 0,1), the cluster file says 4" in answer.stdout
    assert not seen_by(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGINT, 7)])
def test_signals_are_handed_on_and_the_job_ends_with_its_workers(expect, stand_in, tmp_path, number, code):
    env = stand_in(
        ECHO
        + """
    import signal, time
    def leave(number, frame):
        sys.exit(7 if name.endswith("1") else 0)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    pathlib.Path(os.environ["SEEN"], name + ".ready").touch()
    time.sleep(600)
    """
    )
    env |= {"SEEN": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0,1"}
    job = subprocess.Popen(command(expect(), "--gpus", "2"), env=env, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    while len(list(tmp_path.glob("*.ready"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    job.send_signal(number)
    printed, _ = job.communicate(timeout=200)
    assert job.returncode == code
    assert "the worker w-1.1 ended with exit code 7" in printed


def test_a_package_that_does_not_import_is_said_by_name_after_the_first_line(expect, tmp_path):
    broken = tmp_path / "path" / "numba"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libllvm.so: cannot open shared object file')\n")
    answer = run(command(expect()), os.environ, PYTHONPATH=str(broken.parent), SLURMD_NODENAME="n1", SLURM_JOB_ID="5")
    assert answer.returncode == worker.BROKEN
    assert answer.stdout.startswith("hpc_recon: node n1, job 5\n")
    content = json.loads((tmp_path / "broken-abc-w-1.json").read_text())
    assert content["host"] == "n1"
    assert "numba cannot be imported: OSError: libllvm.so: cannot open shared object file" in content["problems"]


def test_another_version_is_refused_before_anything_is_imported(expect, tmp_path):
    older = tmp_path / "path" / "zarr-2.18.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: zarr\nVersion: 2.18.0\n")
    answer = run(command(expect()), os.environ, PYTHONPATH=str(older.parent))
    assert answer.returncode == worker.BROKEN
    ours = importlib.metadata.version("zarr")
    assert f"version of zarr: 2.18.0 (controller: {ours})" in answer.stdout


def test_a_controller_that_has_gone(tmp_path):
    answer = run(command(tmp_path / "environment-abc.json"), os.environ)
    assert answer.returncode == worker.BROKEN
    assert "the controller has gone, or this node does not see its disk" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_nothing_but_the_standard_library_is_needed_for_the_first_line():
    """On a node without any package the log must still name the node."""
    check = (
        "import sys; import hpc_recon.run.worker; print([m for m in ('numpy', 'dask', 'click') if m in sys.modules])"
    )
    assert run([sys.executable, "-c", check], os.environ).stdout.strip() == "[]"
    # -S: no site-packages at all.
    root = Path(worker.__file__).parents[2]
    arguments = [
        sys.executable,
        "-S",
        "-m",
        "hpc_recon.run.worker",
        "tls://x:1",
        "--name",
        "w",
        "--expect",
        "/nowhere/e.json",
    ]
    assert run(arguments, os.environ, PYTHONPATH=str(root)).stdout.startswith("hpc_recon: node ")


def test_versions_that_matter():
    own = {"version of python": "3.11.2", "version of numpy": "2.4.1"}
    assert worker.version_problems(own, own) == []
    assert worker.version_problems(own, {**own, "version of torch": "2.7"}) == []
    assert worker.version_problems(own, {**own, "version of numpy": "2.4.2"}) == [
        "version of numpy: 2.4.1 (controller: 2.4.2)"
    ]


def test_a_module_that_the_controller_has_must_be_there(monkeypatch):
    monkeypatch.setattr(worker, "SAME_VERSION", ())
    monkeypatch.setattr(worker, "PRESENT", ("no_such_module",))
    assert worker.import_problems({}) == []
    assert worker.import_problems({"version of no_such_module": "1"}) == ["no_such_module is not installed"]


@pytest.mark.parametrize("has_links", [True, False])
def test_the_first_node_sets_what_strict_nodes_must_have(tmp_path, monkeypatch, has_links):
    def link(source, target):
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(worker.os, "link", link)
    first = {"BLAS kernels": "SkylakeX", "GPU": "none"}
    assert worker.agree(tmp_path, "abc", first) == []
    assert worker.agree(tmp_path, "abc", first) == []
    (found,) = worker.agree(tmp_path, "abc", {"BLAS kernels": "Haswell", "GPU": "none"})
    assert found == "BLAS kernels: Haswell (the results so far: SkylakeX)"
    assert not list(tmp_path.glob("*.partial"))


def test_kernels_of_more_libraries_agree(tmp_path):
    assert worker.agree(tmp_path, "abc", {"BLAS kernels": "Cooperlake, SkylakeX"}) == []
    assert worker.agree(tmp_path, "abc", {"BLAS kernels": "SkylakeX"}) == []
    found = worker.agree(tmp_path, "abc", {"BLAS kernels": "Haswell"})
    assert found == ["BLAS kernels: Haswell (the results so far: Cooperlake, SkylakeX)"]


def test_strict_refuses_other_kernels(expect, tmp_path):
    expected = json.loads(expect(strict=True).read_text())
    worker.agree(tmp_path, "abc", {"BLAS kernels": "VAX"})
    (found,) = worker.examine(expected, tmp_path, "abc")
    assert re.fullmatch(r"BLAS kernels: .+ \(the results so far: VAX\); --strict-device was given", found)
    assert worker.examine({**expected, "strict": False}, tmp_path, "abc") == []


def test_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert worker.nvidia_smi("index") is None
    fake = tmp_path / "nvidia-smi"
    fake.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n1\\n"\n')
    fake.chmod(0o755)
    assert worker.nvidia_smi("index") == ["0", "1"]
    assert worker.gpu_problems(2, {}) == (["0", "1"], [])
    assert (
        "the job has 2 GPUs (CUDA_VISIBLE_DEVICES: not set), the cluster file says 3"
        in worker.gpu_problems(3, {})[1][0]
    )
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert worker.nvidia_smi("index") is None
    assert worker.gpu_problems(2, {}) == (["0", "1"], []), "a site without the tool is believed"
