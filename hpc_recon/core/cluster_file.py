"""The cluster file: where to run. YAML: our own section `cluster:` beside dask-jobqueue's own `jobqueue:`.

A cluster is found by name: a file `<name>.yaml` in one of the folders of `folders()`, else, if the name is
that of a scheduler, an empty file for it (the user's `~/.config/dask/jobqueue.yaml` fills the rest).
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import read_yaml
from hpc_recon.core.section import Section
from hpc_recon.core.text import closest, parse_bytes
from hpc_recon.core.validation import validate

#: Where workers can run: this machine's cores, its GPUs, or the jobs of a scheduler that dask-jobqueue knows.
ON_THIS_MACHINE = ("local", "cuda")
SCHEDULERS = ("slurm", "pbs", "sge", "lsf", "htcondor", "oar", "moab")
SUPPORTED = (*ON_THIS_MACHINE, *SCHEDULERS)

#: Seconds that a job needs before its worker takes tiles, and that it keeps before its walltime ends.
WALLTIME_MARGIN = 60

_RENAMED = {
    "extra": "worker-extra-args",
    "job_extra": "job-extra-directives",
    "env_extra": "job-script-prologue",
    "header_skip": "job-directives-skip",
}
_OURS = {
    "log_directory": "scripts and logs are kept in <workspace>/jobs",
    "shared_temp_directory": "certificates are kept in <workspace>/jobs",
    "security": "TLS is always on, with certificates of its own",
    "job_name": "every run names its jobs itself",
    "worker_command": "workers are started by hpc_recon.run.worker, which checks the node first",
}

#: Keys that every scheduler has, and those of each one, as in dask-jobqueue's own `jobqueue.yaml`.
_COMMON = frozenset(
    (
        *("name", "cores", "memory", "processes", "python", "interface", "death_timeout", "local_directory", "shebang"),
        *("worker_extra_args", "job_script_prologue", "job_extra_directives", "job_directives_skip"),
        "scheduler_options",
    )
)
KEYS: Mapping[str, frozenset[str]] = {
    "slurm": _COMMON | {"queue", "account", "walltime", "job_cpu", "job_mem"},
    "pbs": _COMMON | {"queue", "account", "walltime", "resource_spec"},
    "sge": _COMMON | {"queue", "project", "walltime", "resource_spec"},
    "lsf": _COMMON | {"queue", "project", "walltime", "ncpus", "mem", "lsf_units", "use_stdin"},
    "htcondor": _COMMON | {"disk", "submit_command_extra", "cancel_command_extra"},
    "oar": _COMMON | {"queue", "project", "walltime", "resource_spec", "memory_per_core_property_name"},
    "moab": _COMMON | {"queue", "account", "walltime", "resource_spec"},
}


def job_range(text: str) -> tuple[int, int] | None:
    """Return the least and the most jobs of `N` or `N:M` with 1 <= N <= M; None if it is neither.

    >>> job_range("2"), job_range("1:8"), job_range("8:1"), job_range("0")
    ((2, 2), (1, 8), None, None)
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        return None
    least, most = int(match[1]), int(match[2] or match[1])
    return (least, most) if 1 <= least <= most else None


def _slurm_seconds(text: str) -> int | None:
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        return None
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def _from_the_right(text: str, units: tuple[int, ...]) -> int | None:
    """Read `a:b:c` as the last of `units` for c, the one before for b, and so on."""
    if re.fullmatch(r"\d+(:\d+)*", text) is None or text.count(":") >= len(units):
        return None
    parts = [int(part) for part in text.split(":")]
    return sum(part * unit for part, unit in zip(reversed(parts), reversed(units), strict=False))


def _from_the_left(text: str) -> int | None:
    """Read `hours`, `hours:minutes` or `hours:minutes:seconds`."""
    if re.fullmatch(r"\d+(:\d+){0,2}", text) is None:
        return None
    return sum(int(part) * unit for part, unit in zip(text.split(":"), (3600, 60, 1), strict=False))


def _sge_seconds(text: str) -> int | None:
    """Read seconds, or three numbers with colons, of which a zero may be left out."""
    if text.isdigit():
        return int(text)
    match = re.fullmatch(r"(\d*):(\d*):(\d*)", text)
    return match and sum(int(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))


#: What a walltime looks like, by scheduler: the same text means other things to others ("04:00" is 4 minutes to Slurm
#: and PBS, 4 hours to LSF and OAR).
_WALLTIMES: Mapping[str, tuple[Callable[[str], int | None], str]] = {
    "slurm": (_slurm_seconds, "'04:00:00', '1-12:00:00' (days-hours) or minutes ('240')"),
    "pbs": (lambda text: _from_the_right(text, (3600, 60, 1)), "'04:00:00', or seconds ('14400')"),
    "moab": (lambda text: _from_the_right(text, (86400, 3600, 60, 1)), "'04:00:00', '1:12:00:00' (days) or seconds"),
    "sge": (_sge_seconds, "'04:00:00', or seconds ('14400')"),
    "lsf": (lambda text: _from_the_right(text, (3600, 60)), "'04:00' (hours:minutes), or minutes ('240')"),
    "oar": (_from_the_left, "'04:00:00', '4:00' (hours:minutes) or hours ('4')"),
}


def walltime_seconds(text: str, kind: str) -> int:
    """Read a walltime as a scheduler reads it; HH:MM:SS for kinds that have none of their own.

    >>> walltime_seconds("04:00:00", "slurm"), walltime_seconds("90", "slurm"), walltime_seconds("1-12", "slurm")
    (14400, 5400, 129600)
    >>> [walltime_seconds("04:00", kind) for kind in ("slurm", "pbs", "lsf", "oar")]
    [240, 240, 14400, 14400]
    >>> [walltime_seconds("90", kind) for kind in ("slurm", "pbs", "lsf", "oar")]
    [5400, 90, 5400, 324000]

    Raises
    ------
    ValueError
        If the text is no walltime of this scheduler, or 0.
    """
    read, forms = _WALLTIMES.get(kind, (_sge_seconds, "'04:00:00', or seconds"))
    seconds = read(text.strip())
    if not seconds:
        raise ValueError(f"a walltime of {kind} is text such as {forms}; got {text!r}")
    return seconds


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
    worker_extra_args: tuple[str, ...] = Field((), description="more options of dask worker")
    shebang: str | None = Field(None, description="first line of the job script")
    queue: str | None = Field(None, description="partition or queue")
    account: str | None = Field(None, description="account to charge (slurm, pbs, moab)")
    project: str | None = Field(None, description="project to charge (sge, lsf, oar)")
    walltime: str | None = Field(None, description="text in the scheduler's own form, for example '04:00:00'")
    job_script_prologue: tuple[str, ...] = Field((), description="shell lines before the worker: module load ...")
    job_extra_directives: tuple[str, ...] | dict[str, str | bool | int | float] = Field(
        (), description="more directives, for example --gres=gpu:1; htcondor: a table, for example request_gpus: 1"
    )
    job_directives_skip: tuple[str, ...] = Field((), description="options to leave out, for example --mem")
    job_cpu: int | None = Field(None, ge=1, description="slurm: cores to ask for, if not `cores`")
    job_mem: str | None = Field(None, description="slurm: memory to ask for, if not `memory`")
    resource_spec: str | None = Field(
        None, description="pbs, sge, oar, moab: what -l asks for, if not cores and memory"
    )
    ncpus: int | None = Field(None, ge=1, description="lsf: cores to ask for, if not `cores`")
    mem: int | None = Field(None, ge=1, description="lsf: memory to ask for in bytes, if not `memory`")
    lsf_units: Literal["kb", "mb", "gb", "tb", "pb", "eb"] | None = Field(
        None, description="lsf: the site's unit of memory; default: that of its lsf.conf"
    )
    use_stdin: bool | None = Field(None, description="lsf: bsub < script (default) or bsub script")
    disk: Size | None = Field(None, description="htcondor: disk of a job, for example 1GB; needed")
    submit_command_extra: tuple[str, ...] = Field((), description="htcondor: more options of condor_submit")
    cancel_command_extra: tuple[str, ...] = Field((), description="htcondor: more options of condor_rm")
    memory_per_core_property_name: str | None = Field(
        None, description="oar: the site's property for the memory of a core (MiB), or not_applicable; needed"
    )
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
                "which the scheduler takes for minutes or seconds"
            )
        return value


class Where(Section):
    """Our own section of a cluster file."""

    kind: str | None = Field(None, description="scheduler; default: the one under `jobqueue:`, else local")
    jobs: str | None = Field(None, description="N or N:M jobs (workers); --jobs overrides")
    threads: int | None = Field(None, ge=1, description="threads of a tile; default: cores of the job or machine")
    memory: Size | None = Field(None, description="memory of a worker; default: the job's, or what is free")
    device_memory: Size | None = Field(None, description="memory of a worker's GPU; checked if given")
    gpus: int = Field(
        0, ge=0, description="GPUs of a job, one worker process each; 0: one process, with the GPU that the job sees"
    )
    max_jobs: int | None = Field(None, ge=1, description="jobs that a run may submit altogether; --max-jobs overrides")
    start_within: str | None = Field(
        None, description="longest wait while no job runs, written as a walltime; default: as long as it takes"
    )
    poll_seconds: float = Field(15.0, gt=0, description="seconds between two looks at the queue")
    dashboard: bool = Field(True, description="dask's dashboard, on this machine only (127.0.0.1)")

    @field_validator("jobs", mode="before")
    @classmethod
    def _jobs_are_a_range(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(
                f"must be text in quotes ('8' or '2:16'): YAML reads an unquoted 2:16 as the number 136; got {value}"
            )
        if job_range(value) is None:
            raise ValueError(f"is N or N:M with 1 <= N <= M, for example '4' or '1:16'; got {value!r}")
        return value


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
    """Return where cluster files are looked for.

    `$HPC_RECON_CLUSTERS`, `./configs/clusters`, this checkout's, or what an installed package brought.
    """
    named = os.environ.get("HPC_RECON_CLUSTERS")
    checkout = Path(__file__).resolve().parents[2] / "configs" / "clusters"
    installed = Path(sysconfig.get_path("data")) / "share" / "hpc_recon" / "clusters"
    ours = checkout if checkout.is_dir() else installed
    return [*([Path(named)] if named else []), Path("configs/clusters").absolute(), ours]


def load_cluster(name: str, file: Path | None = None) -> ClusterFile:
    """Read a cluster by name or from a file, and check it against the scheduler that it is for.

    Raises
    ------
    StudyError
        With every mistake of the file; for an unknown name, with the known ones.
    """
    path = file or next((p for f in folders() if (p := f / f"{name}.yaml").is_file()), None)
    if path is not None:
        found = validate(ClusterFile, read_yaml(path, option="--cluster-file"), where=str(path))
        where = str(path)
    elif name in SUPPORTED:
        found, where = ClusterFile(cluster=Where(kind=name)), "--cluster"
    else:
        known = {*SUPPORTED, *(p.stem for f in folders() if f.is_dir() for p in f.glob("*.yaml"))}
        listed = ", ".join(sorted(known))
        raise StudyError("--cluster", [f"unknown cluster {name!r}{closest(name, known)} (known: {listed})"])
    problems = _check(found)
    if problems:
        raise StudyError(where, problems)
    return found


def _check(found: ClusterFile) -> list[str]:
    """Return what is wrong with a whole cluster file: several schedulers, or keys that this one does not have."""
    kind = found.kind
    if len(found.jobqueue) > 1:
        return [f"jobqueue: give one scheduler a file, not {len(found.jobqueue)} ({', '.join(found.jobqueue)})"]
    if kind not in SUPPORTED:
        return [f"unknown scheduler {kind!r}{closest(kind, SUPPORTED)}"]
    if found.jobqueue and kind in ON_THIS_MACHINE:
        there = ", ".join(found.jobqueue)
        return [f"the cluster {kind!r} is this machine and has no jobs; leave `jobqueue:` out (it has {there})"]
    if found.jobqueue and kind not in found.jobqueue:
        return [f"cluster.kind is {kind!r} but jobqueue: has {', '.join(found.jobqueue)}"]
    of_jobs = sorted({"gpus", "max_jobs", "start_within"} & found.cluster.model_fields_set)
    if of_jobs and kind in ON_THIS_MACHINE:
        listed = ", ".join(f"cluster.{name}" for name in of_jobs)
        return [f"the cluster {kind!r} is this machine and has no jobs, of which {listed} would be; leave it out"]
    problems = _check_keys(found.job, kind) if found.jobqueue else []
    for name, text in (("cluster.start_within", found.cluster.start_within), ("walltime", found.job.walltime)):
        if text is not None:
            try:
                walltime_seconds(text, kind)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return problems


def _check_keys(job: Jobqueue, kind: str) -> list[str]:
    """Return the keys that a scheduler does not have, and directives in a form that it does not take."""
    known = sorted(key.replace("_", "-") for key in KEYS[kind])
    problems = []
    for key in sorted(job.model_fields_set - KEYS[kind]):
        if key == "project" and "account" in KEYS[kind]:
            problems.append(f"jobqueue.{kind}: 'project' is now called 'account'")
        else:
            shown = key.replace("_", "-")
            problems.append(f"jobqueue.{kind}: has no key {shown!r} (it has {', '.join(known)})")
    is_table = isinstance(job.job_extra_directives, dict)
    if "job_extra_directives" in job.model_fields_set and is_table != (kind == "htcondor"):
        wanted = "a table of `key: value`" if kind == "htcondor" else "a list of texts"
        problems.append(f"jobqueue.{kind}: job-extra-directives is {wanted}")
    return problems
