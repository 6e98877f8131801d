"""The cluster file: where to run. YAML: our own section `cluster:` beside dask-jobqueue's own `jobqueue:`.

A cluster is found by name: a file `<name>.yaml` in one of the folders of `folders()`, else, if the name is
that of a scheduler, an empty file for it (the user's `~/.config/dask/jobqueue.yaml` fills the rest).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpc_recon.core.config import Section
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import read_yaml, validate
from hpc_recon.core.text import closest, parse_bytes

#: Kinds that run today; the others are named so that the message can say what is missing.
SUPPORTED = ("local", "slurm")
PLANNED = ("cuda", "pbs", "sge", "lsf", "htcondor", "oar", "moab")

#: Seconds that a job needs before its worker takes tiles, and that it keeps before its walltime ends.
WALLTIME_MARGIN = 60

_RENAMED = {
    "extra": "worker-extra-args",
    "job_extra": "job-extra-directives",
    "env_extra": "job-script-prologue",
    "header_skip": "job-directives-skip",
    "project": "account",
}
_OURS = {
    "log_directory": "scripts and logs are kept in <workspace>/jobs",
    "shared_temp_directory": "certificates are kept in <workspace>/jobs",
    "security": "TLS is always on, with certificates of its own",
    "job_name": "every run names its jobs itself",
}


def walltime_seconds(text: str) -> int:
    """Read a Slurm walltime: `minutes`, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM` or `D-HH:MM:SS`.

    >>> walltime_seconds("04:00:00"), walltime_seconds("90"), walltime_seconds("1-12")
    (14400, 5400, 129600)

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if match is None:
        raise ValueError(f"a walltime is text such as '04:00:00' or '1-12:00:00'; got {text!r}")
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def _no_white_space(value: Any) -> Any:
    if isinstance(value, str) and re.search(r"\s", value):
        raise ValueError("a path with white space does not survive the job script; choose another one")
    return value


def _size(value: Any) -> Any:
    if value is not None:
        parse_bytes(str(value))
        return str(value)
    return value


Word = Annotated[str, BeforeValidator(_no_white_space)]
Size = Annotated[str, BeforeValidator(_size)]


class Jobqueue(Section):
    """One scheduler's section of dask-jobqueue's own format; `-` and `_` in keys are the same."""

    name: Word | None = Field(None, description="prefix of the job names; default: hpc_recon")
    cores: int | None = Field(None, ge=1, description="cores of a job: the threads that a tile uses")
    memory: Size | None = Field(None, description="memory of a job, for example 32GiB")
    processes: Literal[1] = Field(1, description="workers of a job; always 1: a tile uses all cores")
    python: Word | None = Field(None, description="Python of the workers; default: the one that submits")
    interface: Word | None = Field(None, description="network interface of scheduler and workers, for example ib0")
    death_timeout: int | None = Field(None, ge=1, description="seconds until a worker without scheduler ends")
    local_directory: Word | None = Field(None, description="fast local folder of a node, for example /scratch")
    worker_command: str | None = Field(None, description="module that starts a worker")
    worker_extra_args: tuple[str, ...] = Field((), description="more options of dask worker")
    shebang: str | None = Field(None, description="first line of the job script")
    queue: str | None = Field(None, description="partition or queue")
    account: str | None = Field(None, description="account to charge")
    walltime: str | None = Field(None, description="text, for example '04:00:00'")
    job_script_prologue: tuple[str, ...] = Field((), description="shell lines before the worker: module load ...")
    job_extra_directives: tuple[str, ...] = Field((), description="more directives, for example --gres=gpu:1")
    job_directives_skip: tuple[str, ...] = Field((), description="options to leave out, for example --mem")
    job_cpu: int | None = Field(None, ge=1, description="cores to ask for, if not `cores`")
    job_mem: str | None = Field(None, description="memory to ask for, if not `memory`")
    scheduler_options: dict[str, Any] = Field(default_factory=dict, description="options of the dask scheduler")

    @model_validator(mode="before")
    @classmethod
    def _names(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        renamed = {str(key).replace("-", "_"): value for key, value in content.items()}
        problems = [f"{key!r} is now called {_RENAMED[key]!r}" for key in renamed if key in _RENAMED]
        problems += [f"{key!r} cannot be set: {_OURS[key]}" for key in renamed if key in _OURS]
        if problems:
            raise ValueError("; ".join(problems))
        return {key: value for key, value in renamed.items() if value is not None}

    @field_validator("walltime", mode="before")
    @classmethod
    def _walltime_is_text(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"must be text in quotes ('04:00:00'): YAML reads an unquoted one as the number {value}, "
                "which the scheduler takes for minutes"
            )
        if value is not None:
            walltime_seconds(value)
        return value


class Where(Section):
    """Our own section of a cluster file."""

    kind: str | None = Field(None, description="scheduler; default: the one under `jobqueue:`, else local")
    jobs: str | None = Field(None, pattern=r"^\d+(:\d+)?$", description="N or N:M jobs (workers); --jobs overrides")
    threads: int | None = Field(None, ge=1, description="threads of a tile; default: cores of the job or machine")
    memory: Size | None = Field(None, description="memory of a worker; default: the job's, or what is free")
    device_memory: Size | None = Field(None, description="memory of a worker's GPU; checked if given")
    poll_seconds: float = Field(15.0, gt=0, description="seconds between two looks at the queue")
    dashboard: bool = Field(True, description="dask's dashboard, on this machine only (127.0.0.1)")


class ClusterFile(Section):
    """Where to run."""

    cluster: Where = Where()
    jobqueue: dict[str, Jobqueue] = Field(default_factory=dict, description="one entry, named after the scheduler")

    @property
    def kind(self) -> str:
        """The scheduler: `cluster.kind`, else the only key of `jobqueue`, else `local`."""
        return self.cluster.kind or next(iter(self.jobqueue), "local")

    @property
    def job(self) -> Jobqueue:
        """The section of the scheduler; all defaults if the file has none."""
        return self.jobqueue.get(self.kind, Jobqueue())


def folders() -> list[Path]:
    """Return where cluster files are looked for: `$HPC_RECON_CLUSTERS`, `./configs/clusters`, this checkout's."""
    named = os.environ.get("HPC_RECON_CLUSTERS")
    checkout = Path(__file__).resolve().parents[2] / "configs" / "clusters"
    return [*([Path(named)] if named else []), Path("configs/clusters").absolute(), checkout]


def load_cluster(name: str, file: Path | None = None) -> ClusterFile:
    """Read a cluster by name or from a file, and check that its scheduler is one that runs today.

    Raises
    ------
    StudyError
        With every mistake of the file; for an unknown name, with the known ones.
    """
    path = file or next((p for f in folders() if (p := f / f"{name}.yaml").is_file()), None)
    if path is not None:
        found = validate(ClusterFile, read_yaml(path), where=str(path))
        where = str(path)
    elif name in SUPPORTED or name in PLANNED:
        found, where = ClusterFile(cluster=Where(kind=name)), "--cluster"
    else:
        known = {*SUPPORTED, *PLANNED, *(p.stem for f in folders() if f.is_dir() for p in f.glob("*.yaml"))}
        listed = ", ".join(sorted(known))
        raise StudyError("--cluster", [f"unknown cluster {name!r}{closest(name, known)} (known: {listed})"])
    problems = _check(found)
    if problems:
        raise StudyError(where, problems)
    return found


def _check(found: ClusterFile) -> list[str]:
    """Return what is wrong with a whole cluster file: several schedulers, or one that does not run yet."""
    if len(found.jobqueue) > 1:
        return [f"jobqueue: give one scheduler a file, not {len(found.jobqueue)} ({', '.join(found.jobqueue)})"]
    if found.kind in PLANNED:
        return [f"the cluster {found.kind!r} is known but not supported yet; supported: {', '.join(SUPPORTED)}"]
    if found.kind not in SUPPORTED:
        return [f"unknown scheduler {found.kind!r}{closest(found.kind, [*SUPPORTED, *PLANNED])}"]
    if found.jobqueue and found.kind not in found.jobqueue:
        return [f"cluster.kind is {found.kind!r} but jobqueue: has {', '.join(found.jobqueue)}"]
    return []
