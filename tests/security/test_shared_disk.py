"""On a disk and on nodes that strangers use too: what they could read, write, or put in Python's way."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import psutil
import pytest

from hpc_recon.core.cluster_file import load_cluster
from hpc_recon.core.errors import ReconError
from hpc_recon.core.paths import private_folder
from hpc_recon.run import jobqueue


def writable_by_everybody(folder: Path) -> list[str]:
    return [
        f"{path}: {stat.S_IMODE(path.lstat().st_mode):04o}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH
    ]


@pytest.mark.parametrize("kind", ["local", "slurm"])
def test_nothing_in_a_workspace_is_writable_by_everybody(start, kind: str) -> None:
    """Somebody who may change a job script or a resolved study runs his own code in the user's jobs."""
    run = start(kind, umask=0o000, n=4, fail=[0])
    assert run.process.wait(400) == 1
    assert not writable_by_everybody(run.workspace)
    assert len(run.receipts()) == 3
    for made in ("logs/*.txt", "jobs/study-*.yaml", "out/*", *(["jobs/*.sh"] if kind == "slurm" else [])):
        assert list(run.workspace.glob(made)), f"the test saw no {made}"


@pytest.mark.parametrize("kind", ["local", "slurm"])
def test_python_imports_from_no_folder_that_strangers_can_change(start, tmp_path: Path, kind: str) -> None:
    """Every process of dask's makes a folder and puts it first into `sys.path`; it stood in a common one below /tmp.

    Here somebody else made that common folder before us.
    """
    scratch = tmp_path / "tmp"
    common = scratch / "dask-scratch-space"
    common.mkdir(parents=True)
    common.chmod(0o777)
    run = start(kind, environment={"TMPDIR": str(scratch)}, n=200, seconds=0.3)
    run.wait_for(run.receipts)
    assert not list(common.iterdir()), "a process of dask's keeps its folder where others can exchange it"
    private = scratch / f"hpc_recon-{os.getuid()}"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    names = {path.name.partition("-")[0] for path in (private / "dask-scratch-space").iterdir() if path.is_dir()}
    assert {"scheduler", "worker"} <= names


def test_a_local_directory_of_the_cluster_file_is_made_private_too(tmp_path: Path) -> None:
    common = tmp_path / "scratch"
    common.mkdir()
    common.chmod(0o777)
    assert stat.S_IMODE(private_folder(common).stat().st_mode) == 0o700


def test_no_command_line_shows_a_key(start) -> None:
    """Everybody on a node may read the command lines of all processes."""
    run = start("slurm", n=200, seconds=0.3)
    run.wait_for(run.receipts)
    (folder,) = (run.workspace / "jobs").glob("tls-*")
    key = "".join((folder / "key.pem").read_text().splitlines()[1:-1])
    words = [word for process in run.tree() for word in command_line(process)]
    assert any("hpc_recon" in word for word in words)
    assert not [word for word in words if key[:40] in word or "PRIVATE KEY" in word]


def command_line(process: psutil.Process) -> list[str]:
    """Return the words of a command line; none of a process that has ended since it was listed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return []


HOSTILE_FOLDERS = [
    f"/data/{name}/jobs"
    for name in (
        "$(id)",
        "`id`",
        "a;touch${IFS}x",
        "a&b",
        "a|b",
        "a b",
        "a\nb",
        "a>b",
        "a'b",
        'a"b',
        "a\\b",
        "a*b",
        "a%j",
        "a#b",
    )
]


@pytest.mark.parametrize("kind", ["slurm", "pbs", "sge", "lsf", "htcondor", "oar", "moab"])
def test_a_workspace_never_becomes_part_of_a_shell_command(kind: str) -> None:
    """The key `workspace` of a study stands in every job script."""
    cluster = load_cluster(kind)
    jobqueue.plan_jobs(cluster, folder=Path("/data/lab-1/runs/jobs"), job_name="r-ab12", xp="auto")
    for folder in HOSTILE_FOLDERS:
        with pytest.raises(ReconError, match="job scripts"):
            jobqueue.plan_jobs(cluster, folder=Path(folder), job_name="r-ab12", xp="auto")


def test_processes_end_with_their_controller(start) -> None:
    """What listens, listens only as long as the run lasts."""
    run = start(n=3, seconds=0.1)
    run.wait_for(run.receipts)
    tree = run.tree()
    assert run.process.wait(400) == 0
    assert not [process for process in psutil.wait_procs(tree, timeout=120)[1] if process.is_running()]


def test_the_resolved_study_holds_nothing_of_the_environment(start) -> None:
    run = start(n=2, environment={"LAB_PASSWORD": "correct-horse-battery"})
    assert run.process.wait(400) == 0
    (resolved,) = (run.workspace / "jobs").glob("study-*.yaml")
    assert re.search(r"^name: tiny$", resolved.read_text(), re.MULTILINE)
    assert "correct-horse" not in resolved.read_text()
    assert json.loads(run.receipts()[0].read_text())["run"]
