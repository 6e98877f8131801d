"""Runs to look into from outside: a controller on this machine, and one whose jobs a pretended Slurm starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

HERE = Path(__file__).parent
#: The fake verb, and the program that runs it.
FAKES = HERE.parent / "run"


@dataclass
class Run:
    """A controller in a process of its own, with its workspace and the folder of the pretended Slurm's jobs."""

    process: subprocess.Popen[str]
    workspace: Path
    spool: Path

    def tree(self) -> list[psutil.Process]:
        """Return the controller, its children, and the jobs of the pretended Slurm with theirs."""
        roots = [psutil.Process(self.process.pid)]
        for path in self.spool.glob("*.pid") if self.spool.is_dir() else ():
            with contextlib.suppress(psutil.NoSuchProcess, ValueError):
                roots.append(psutil.Process(int(path.read_text())))
        return [process for root in roots for process in (root, *root.children(recursive=True))]

    def receipts(self) -> list[Path]:
        """Return the receipts that there are."""
        return list((self.workspace / "receipts").rglob("fit-*.json"))

    def wait_for(self, ready: Callable[[], object], seconds: float = 300) -> None:
        """Wait until something is true; show what was printed if the controller ends before."""
        end = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                pytest.fail(f"the controller ended with {self.process.returncode}: {self.process.communicate()[1]}")
            assert time.monotonic() < end, f"not after {seconds} s"
            time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that starts the fake verb; everything that it started is gone when the test ends.

    `start("slurm", umask=0o000, environment={...}, dashboard=True, program=..., **orders)`: web pages take a second to
    start, of the controller and of each worker; orders are those of the fake verb, which `program` runs.
    """
    started: list[Run] = []

    def run(
        cluster: str = "local",
        *,
        umask: int = 0o022,
        environment: dict[str, str] | None = None,
        dashboard: bool = False,
        program: Path = FAKES / "run_fake.py",
        **orders: Any,
    ) -> Run:
        spool, tools = tmp_path / "spool", tmp_path / "tools"
        study = {
            "name": "tiny",
            "workspace": str(tmp_path / "ws"),
            "subjects": ["S1"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
            "simulate": {"preset": "easy"},
            "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
            "report": {"description": json.dumps(orders)},
        }
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        job = {"cores": 1, "memory": "1GiB", "worker-extra-args": [] if dashboard else ["--no-dashboard"]}
        file = tmp_path / "cluster.yaml"
        file.write_text(
            yaml.safe_dump(
                {"cluster": {"poll_seconds": 0.5, "dashboard": dashboard}, "jobqueue": {"slurm": job}}
                if cluster == "slurm"
                else {"cluster": {"kind": "local", "threads": 1, "dashboard": dashboard}}
            )
        )
        tools.mkdir(exist_ok=True)
        spool.mkdir(exist_ok=True)
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct"):
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "fake_slurm.py"} {spool} {name} "$@"\n')
            tool.chmod(0o755)
        full = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": f"{FAKES}:{HERE}"}
        full.update(environment or {})
        process = subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "study.yaml"), cluster, str(file)],
            env=full,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            umask=umask,
        )
        started.append(Run(process, tmp_path / "ws", spool))
        return started[-1]

    yield run
    for one in started:
        alive = []
        with contextlib.suppress(psutil.NoSuchProcess):
            alive = one.tree()
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        one.process.wait()
        assert one.process.stderr is not None
        one.process.stderr.close()
        psutil.wait_procs(alive, timeout=60)
