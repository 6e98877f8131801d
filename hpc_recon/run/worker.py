"""What a job runs: `python -m hpc_recon.run.worker tls://... --name W --gpus N --expect FILE <options of dask worker>`.

It says where it runs, compares this node's environment with the controller's (`FILE`), and becomes one dask
worker, or starts one for each of its N GPUs. On a node that cannot compute what the controller would (another Python,
a package that is missing, does not import or has another version) it leaves a file that says why, and no worker.

Nothing but the standard library, and modules of ours that need nothing else, is imported until the first line is
printed: that line must appear on any node.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hpc_recon.run.schedulers import job_id, node_name

#: Distributions whose versions must equal the controller's: its pickles must be read, its bytes be made again.
SAME_VERSION = ("hpc_recon", "numpy", "scipy", "numba", "zarr", "dask", "distributed")
#: Modules that are too slow to import for a look; they must be there if the controller has them.
PRESENT = ("torch",)
#: What the families of a node's BLAS kernels are called in messages.
BLAS = "BLAS kernels"
#: Exit code on a node that must not be used.
BROKEN = 3
#: Seconds that nvidia-smi gets to answer.
ANSWER_WITHIN = 30
VISIBLE = "CUDA_VISIBLE_DEVICES"


def job_of(worker: object) -> str:
    """Return the name of the job that a worker belongs to.

    >>> job_of("worker-3f2a-7.1"), job_of("worker-3f2a-7")
    ('worker-3f2a-7', 'worker-3f2a-7')
    """
    return re.sub(r"\.\d+$", "", str(worker))


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions that are installed, by `version of <name>`, and Python's."""
    found = {"version of python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[f"version of {name}"] = importlib.metadata.version(name)
    return found


def visible_gpus(environment: Mapping[str, str]) -> list[str] | None:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` names, None where it is not set.

    >>> visible_gpus({"CUDA_VISIBLE_DEVICES": "2,GPU-8a1f"}), visible_gpus({"CUDA_VISIBLE_DEVICES": ""})
    (['2', 'GPU-8a1f'], [])
    """
    text = environment.get(VISIBLE)
    if text is None:
        return None
    # CUDA itself stops at the first name that is no GPU; -1 and NoDevFiles (Slurm) are customary for none.
    return [] if text.strip() in ("", "-1", "NoDevFiles") else [name.strip() for name in text.split(",")]


def nvidia_smi(field: str) -> list[str] | None:
    """Return one field (`index`, `name`) of every GPU of this machine, None where the NVIDIA driver does not answer."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        answer = subprocess.run(
            [command, f"--query-gpu={field}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else None


def version_problems(own: Mapping[str, str], controller: Mapping[str, str]) -> list[str]:
    """Return the differences that keep a node from being used.

    >>> version_problems({"version of python": "3.12.1"}, {"version of python": "3.11.9"})
    ['version of python: 3.12.1 (controller: 3.11.9)']
    >>> version_problems({"version of python": "3.11.2"}, {"version of python": "3.11.9"})
    []
    """
    found = []
    for key in ("version of python", *(f"version of {name}" for name in SAME_VERSION)):
        mine, theirs = own.get(key, "none"), controller.get(key, "none")
        # Python's last number changes neither pickles nor bytes.
        n_parts = 2 if key == "version of python" else None
        if mine.split(".")[:n_parts] != theirs.split(".")[:n_parts]:
            found.append(f"{key}: {mine} (controller: {theirs})")
    return found


def import_problems(controller: Mapping[str, str]) -> list[str]:
    """Return what cannot be imported here, each with the error."""
    found = []
    for name in SAME_VERSION:
        try:
            importlib.import_module(name)
        except Exception as error:
            # Whatever an import on a strange node raises is the finding.
            text = " ".join(str(error).split())
            found.append(f"{name} cannot be imported: {type(error).__name__}: {text[:300]}")
    for name in PRESENT:
        if f"version of {name}" in controller and importlib.util.find_spec(name) is None:
            found.append(f"{name} is not installed")
    return found


def same_kernels(own: str, other: str) -> bool:
    """Return whether two processes have the same BLAS kernels, as far as both name them.

    Which libraries are loaded depends on what a process has done, and each may have been built with others.

    >>> same_kernels("SkylakeX", "Cooperlake, SkylakeX"), same_kernels("Haswell", "Cooperlake, SkylakeX")
    (True, False)
    """
    first, second = (set(text.split(", ")) for text in (own, other))
    return first <= second or second <= first


def agree(folder: Path, nonce: str, own: Mapping[str, str]) -> list[str]:
    """Return how this node differs from the one that came first; the first to come sets what the others must have.

    Parameters
    ----------
    folder
        Where `devices-<nonce>-<key>.txt` lie, each absent until somebody sets it.
    own
        What this node has.
    """
    for key, text in own.items():
        path = folder / f"devices-{nonce}-{key.replace(' ', '_')}.txt"
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        partial.write_text(text)
        try:
            os.link(partial, path)
        except FileExistsError:
            required = path.read_text()
        except OSError:
            required = _set_in_place(path, text)
        else:
            required = text
        finally:
            partial.unlink()
        if required != text and not (key == BLAS and same_kernels(text, required)):
            return [f"{key}: {text} (the results so far: {required})"]
    return []


def _set_in_place(path: Path, text: str) -> str:
    """Create a file where there are no hard links, and return what it holds: the text of whichever node was faster."""
    try:
        with open(path, "x") as stream:
            stream.write(text)
    except FileExistsError:
        for _ in range(10):  # it may be between creating and filling it
            if found := path.read_text():
                return found
            time.sleep(0.1)
    return text


def gpu_problems(n_gpus: int, environment: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the GPUs of this job, one for each worker process, and what is wrong with them.

    Where the scheduler names none, the first N of the machine are taken.
    """
    named = visible_gpus(environment)
    if named is None:
        counted = nvidia_smi("index")
        named = [str(i) for i in range(n_gpus)] if counted is None else counted
    if len(named) < n_gpus:
        shown = environment.get(VISIBLE, "not set")
        return [], [
            f"the job has {len(named)} GPUs ({VISIBLE}: {shown}), the cluster file says {n_gpus} (cluster: gpus); "
            "does the job ask the scheduler for them?"
        ]
    return named[:n_gpus], []


def examine(expected: Mapping[str, Any], folder: Path, nonce: str) -> list[str]:
    """Return why this node must not be used; empty if it may be.

    Parameters
    ----------
    expected
        What `environment.expectations` wrote: `controller` (its `describe()`) and `strict`.
    folder, nonce
        As for `agree`, which is asked only if `strict`.
    """
    controller = expected["controller"]
    found = version_problems(versions(SAME_VERSION), controller) or import_problems(controller)
    if found or not expected["strict"]:
        return found
    from hpc_recon.run.environment import devices

    return [f"{text}; --strict-device was given" for text in agree(folder, nonce, devices())]


def _report(folder: Path, nonce: str, content: dict[str, Any]) -> None:
    """Leave what the controller reads: `<folder>/broken-<nonce>-<worker>.json`, whole or not at all."""
    path = folder / f"broken-{nonce}-{content['worker']}.json"
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)


def run_one_for_each_gpu(command: Sequence[str], name: str, gpus: Sequence[str]) -> int:
    """Start a worker process for each GPU, hand signals on to them, and return when all have ended.

    Parameters
    ----------
    command
        The dask worker's command line without its name.
    name
        Name of the job; its workers are called `<name>.0`, `<name>.1`, ...
    gpus
        What each process sees as its only GPU.

    Returns
    -------
    int
        0 if all ended well, else the exit code (or signal number) of the last that did not.
    """
    children: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def hand_on(number: int, _: object) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    for handled in (signal.SIGTERM, signal.SIGINT):
        signal.signal(handled, hand_on)
    for index, gpu in enumerate(gpus):
        if received:
            break
        environment = {**os.environ, VISIBLE: gpu}
        children.append(subprocess.Popen([*command, "--name", f"{name}.{index}"], env=environment))
    # A signal that came between the start of a process and its place in the list has not reached it.
    for number in received:
        for child in children:
            child.send_signal(number)
    code = 0
    for index, child in enumerate(children):
        ended = child.wait()
        if ended != 0:
            code = abs(ended)
            _say(f"the worker {name}.{index} ended with exit code {ended}")
    return code


def _become(command: list[str]) -> NoReturn:
    """Replace this process by the dask worker: signals of the scheduler then reach it, not a parent of it."""
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def _say(text: str) -> None:
    """Print a line into the job's log at once."""
    sys.stdout.write(f"hpc_recon: {text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpc_recon.run.worker", allow_abbrev=False)
    parser.add_argument("scheduler")
    parser.add_argument("--name", required=True)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--expect", type=Path, required=True)
    parser.add_argument("--local-directory", type=Path, default=None)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker here, or say why not; returns only if it does not become one.

    Parameters
    ----------
    argv
        Address of the scheduler, `--name`, `--gpus` (0: one process that sees what the job sees), `--expect`
        (`<folder>/environment-<nonce>.json`); everything else goes to dask's worker.

    Returns
    -------
    int
        `BROKEN` on a node that must not be used.
    """
    host = node_name()
    options, rest = _parser().parse_known_args(argv)
    job = job_id() or "unknown"
    _say(f"node {host}, job {job}")
    from hpc_recon.core.paths import forbid_world_writing, private_folder

    forbid_world_writing()  # not every scheduler hands the controller's umask on
    folder = options.expect.parent
    nonce = options.expect.stem.removeprefix("environment-")
    if not options.expect.is_file():
        _say(f"{options.expect} is not there: the controller has gone, or this node does not see its disk")
        return BROKEN
    found = examine(json.loads(options.expect.read_text()), folder, nonce)
    gpus: list[str] = []
    if options.gpus:
        gpus, wrong = gpu_problems(options.gpus, os.environ)
        found += wrong
    if found:
        _say(f"this node cannot be used: {'; '.join(found)}")
        _report(folder, nonce, {"host": host, "job": job, "worker": options.name, "problems": found})
        return BROKEN
    # Nobody else may write where dask keeps its temporary folders: Python imports from them.
    scratch = str(private_folder(options.local_directory))
    command = [sys.executable, "-m", "distributed.cli.dask_worker", options.scheduler, *rest]
    command += ["--local-directory", scratch]
    if len(gpus) > 1:
        return run_one_for_each_gpu(command, options.name, gpus)
    if gpus:
        os.environ[VISIBLE] = gpus[0]
    _become([*command, "--name", options.name])


if __name__ == "__main__":
    raise SystemExit(main())
