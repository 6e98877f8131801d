"""dask-jobqueue, told what it needs: our cluster file merged with the user's, one worker a job, our logs and TLS.

`render` makes a job script without opening a port or touching a file; the submitted ones differ from it
only in the scheduler's address, the worker's name and the nonce of the certificates.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dask
from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed.core import Status
from distributed.security import Security

from hpc_recon.core import threads
from hpc_recon.core.cluster_file import WALLTIME_MARGIN, ClusterFile, Jobqueue, walltime_seconds
from hpc_recon.core.errors import StudyError

#: Keys whose lists in the user's `jobqueue.yaml` and in our cluster file are both kept, the user's first.
LISTS = ("worker_extra_args", "job_script_prologue", "job_extra_directives", "job_directives_skip")


@dataclass(frozen=True)
class JobPlan:
    """What all jobs of a run have in common.

    Attributes
    ----------
    settings
        Keyword arguments of dask-jobqueue's job class.
    skip
        Options to leave out of the header, whole (`--mem` leaves `--mem-per-gpu` alone).
    folder
        Where scripts and logs go.
    """

    settings: Mapping[str, Any]
    skip: tuple[str, ...]
    scheduler_options: Mapping[str, Any]
    folder: Path
    threads: int


def user_settings(kind: str) -> dict[str, Any]:
    """Return the user's own `jobqueue.<kind>` settings (dask's configuration), with `_` in keys."""
    found = dask.config.get(f"jobqueue.{kind}", {})
    return {key.replace("-", "_"): value for key, value in found.items()}


def merged(ours: Jobqueue, users: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings over the user's; lists of `LISTS` are concatenated, without repeats.

    Raises
    ------
    StudyError
        If neither says how much memory or how many cores a job has, or the user's walltime is not text.
    """
    mine = {key: getattr(ours, key) for key in ours.model_fields_set}
    result = {**{key: users.get(key) for key in Jobqueue.model_fields}, **mine}
    for key in LISTS:
        result[key] = list(dict.fromkeys([*(users.get(key) or ()), *(mine.get(key) or ())]))
    problems = [
        f"jobqueue: {key} of a job is not set, neither in the cluster file nor in ~/.config/dask/jobqueue.yaml"
        for key in ("cores", "memory")
        if result[key] is None
    ]
    if result["walltime"] is not None and not isinstance(result["walltime"], str):
        problems.append(f"walltime in ~/.config/dask/jobqueue.yaml must be text in quotes, got {result['walltime']!r}")
    if problems:
        raise StudyError("cluster", problems)
    return result


def plan_jobs(cluster: ClusterFile, *, folder: Path, job_name: str, xp: str) -> JobPlan:
    """Work out the settings of a run's jobs; touches nothing.

    Raises
    ------
    StudyError
        If something needed is missing, or `folder` has white space, which no job script survives.
    """
    if re.search(r"\s", str(folder)):
        raise StudyError(
            "workspace", [f"{folder} has white space, which job scripts do not survive; --set workspace=..."]
        )
    settings = merged(cluster.job, user_settings(cluster.kind))
    n_threads = cluster.cluster.threads or int(settings["cores"])
    prologue = [
        *settings["job_script_prologue"],
        *(f"export {name}={value}" for name, value in threads.worker_environment(n_threads).items()),
        f"export HPC_RECON_XP={xp}",
        "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
    ]
    if settings["walltime"]:
        seconds = walltime_seconds(settings["walltime"]) - WALLTIME_MARGIN
        prologue.append(f"export HPC_RECON_DEADLINE=$(( $(date +%s) + {max(seconds, 0)} ))")
    skip = tuple(settings.pop("job_directives_skip"))
    scheduler_options = dict(settings.pop("scheduler_options") or {})
    settings.pop("name")
    settings.update(
        processes=1,
        job_script_prologue=prologue,
        job_name=job_name,
        # The last of a repeated option counts: one tile at a time, no second memory limit beside the scheduler's,
        # and the worker's own web page on this machine only.
        worker_extra_args=[
            *settings["worker_extra_args"],
            *("--nthreads", "1", "--memory-limit", "0", "--dashboard-address", "127.0.0.1:0"),
        ],
        job_extra_directives=[*settings["job_extra_directives"], f"--output={folder}/%x-%j.log"],
    )
    kept = {key: value for key, value in settings.items() if value is not None}
    return JobPlan(kept, skip, scheduler_options, folder, n_threads)


def is_skipped(line: str, skip: tuple[str, ...]) -> bool:
    """Return whether a directive's option is one of `skip`, compared whole.

    >>> is_skipped("#SBATCH --mem=4G", ("--mem",)), is_skipped("#SBATCH --mem-per-gpu=4G", ("--mem",))
    (True, False)
    """
    words = re.split(r"[=\s]", line)
    return len(words) > 1 and any(re.split(r"[=\s]", entry.strip())[0] == words[1] for entry in skip)


class OurSlurmJob(SLURMJob):
    """A Slurm job that keeps its script, skips whole options only, and remembers why it was refused."""

    def __init__(
        self, *args: Any, skip: tuple[str, ...] = (), script_folder: Path | None = None, **kwargs: Any
    ) -> None:
        with _without_log_folder():
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.script_folder = script_folder
        self.problem: str | None = None
        extra = len(self.job_extra_directives)
        lines = str(self.job_header).splitlines()
        own, added = lines[: len(lines) - extra], lines[len(lines) - extra :]
        self.job_header = "\n".join([line for line in own if not is_skipped(line, skip)] + added)

    @contextlib.contextmanager
    def job_file(self) -> Iterator[str]:
        """Write the script where it stays: `<workspace>/jobs/<worker>.sh`."""
        assert self.script_folder is not None
        path = self.script_folder / f"{self.name}.sh"
        path.write_text(self.job_script())  # type: ignore[no-untyped-call]
        yield str(path)

    async def start(self) -> None:
        """Submit; a refusal is remembered for the watcher instead of being lost in dask's log."""
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except Exception as error:
            # Whatever sbatch or its output did: the watcher reports it.
            self.problem = str(error)
            self.status = Status.failed


@contextlib.contextmanager
def _without_log_folder() -> Iterator[None]:
    """Keep dask-jobqueue from creating a log folder of the user's configuration: a dry run touches nothing."""
    with dask.config.set({"jobqueue.slurm.log-directory": None, "jobqueue.slurm.job-directives-skip": []}):
        yield


def render(plan: JobPlan, security: Security) -> str:
    """Return the job script; the scheduler's address and the worker's name are placeholders."""
    job = OurSlurmJob(
        "tls://SCHEDULER:PORT", name="WORKER", skip=plan.skip, security=security, protocol="tls://", **plan.settings
    )
    return str(job.job_script())  # type: ignore[no-untyped-call]


def open_slurm(plan: JobPlan, *, security: Security, name: str, dashboard: bool) -> SLURMCluster:
    """Start the scheduler of a Slurm cluster, without jobs yet."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    scheduler_options = {
        **plan.scheduler_options,
        "dashboard": dashboard,
        "dashboard_address": "127.0.0.1:0",
    }
    with _without_log_folder():
        return SLURMCluster(
            job_cls=cast(Any, OurSlurmJob),
            skip=plan.skip,
            script_folder=plan.folder,
            security=security,
            protocol="tls://",
            scheduler_options=scheduler_options,
            shared_temp_directory=str(plan.folder),
            name=name,
            **plan.settings,
        )
