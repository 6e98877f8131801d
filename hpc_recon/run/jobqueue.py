"""dask-jobqueue, told what it needs: our cluster file merged with the user's, our worker, our logs and TLS.

`render` makes a job script without opening a port or touching a file; the submitted ones differ from it
only in the scheduler's address, the worker's name, the nonce of the certificates, and the nodes to avoid.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dask
from distributed.security import Security

from hpc_recon.core import threads
from hpc_recon.core.cluster_file import KEYS, WALLTIME_MARGIN, ClusterFile, Jobqueue, walltime_seconds
from hpc_recon.core.errors import StudyError
from hpc_recon.run.job_classes import JOBS, JobQueueCluster, is_reserved
from hpc_recon.run.schedulers import SCHEDULERS

#: Keys whose lists in the user's `jobqueue.yaml` and in our cluster file are both kept, the user's first.
LISTS = (
    *("worker_extra_args", "job_script_prologue", "job_extra_directives", "job_directives_skip"),
    *("submit_command_extra", "cancel_command_extra"),
)
#: The user's own settings, as messages call them.
USERS = "~/.config/dask/jobqueue.yaml"
#: Old names in the user's settings; dask-jobqueue takes them where the new name is not set.
OLD_NAMES = {
    "extra": "worker_extra_args",
    "job_extra": "job_extra_directives",
    "env_extra": "job_script_prologue",
    "header_skip": "job_directives_skip",
}
#: The first that a job says: whatever fails after it, the log names the node (`nodes.node_in_log`).
NODE_LINE = "echo hpc_recon: node ${SLURMD_NODENAME:-$(hostname)}"
#: What starts a worker; it checks the node, then becomes dask's own worker.
WORKER = "hpc_recon.run.worker"


@dataclass(frozen=True)
class JobPlan:
    """What all jobs of a run have in common.

    Attributes
    ----------
    kind
        The scheduler.
    settings
        Keyword arguments of dask-jobqueue's job class.
    skip
        Options to leave out of the header, whole (`--mem` leaves `--mem-per-gpu` alone).
    folder
        Where scripts and logs go: `<worker>.sh`, `<worker>.log`.
    threads
        Threads of a worker process.
    exclusions
        Names of nodes that jobs submitted from now on must avoid; whoever holds the set may add to it.
    """

    kind: str
    settings: Mapping[str, Any]
    skip: tuple[str, ...]
    scheduler_options: Mapping[str, Any]
    folder: Path
    threads: int
    exclusions: set[str] = field(default_factory=set)


def user_settings(kind: str) -> dict[str, Any]:
    """Return the user's own `jobqueue.<kind>` settings (dask's configuration), with `_` in keys and today's names.

    `name`, `log-directory` and whatever else every run sets itself may be there; `merged` leaves it out.
    """
    found: dict[str, Any] = {}
    for key, value in dask.config.get(f"jobqueue.{kind}", {}).items():
        if value is not None or key.replace("-", "_") not in found:
            found[key.replace("-", "_")] = value
    renames = OLD_NAMES | ({"project": "account"} if "account" in KEYS.get(kind, ()) else {})
    for old, new in renames.items():
        value = found.pop(old, None)
        if value is not None and not found.get(new):
            found[new] = value
    return found


def _both(key: str, users: Any, mine: Any) -> list[str] | dict[str, Any]:
    """Return two lists one after the other without repeats, or two tables, of which ours wins.

    Raises
    ------
    ValueError
        If one is a list, the other a table, or either is a text.
    """
    given = [value for value in (users, mine) if value]
    if given and all(isinstance(value, dict) for value in given):
        return {**(users or {}), **(mine or {})}
    if all(isinstance(value, list | tuple) for value in given):
        return list(dict.fromkeys(str(entry) for value in given for entry in value))
    shown = key.replace("_", "-")
    raise ValueError(
        f"{shown} must be a list in {USERS} (htcondor's directives: a table, in both files); got {users!r}"
    )


def merged(ours: Jobqueue, users: Mapping[str, Any]) -> dict[str, Any]:
    """Return our settings over the user's; lists of `LISTS` are concatenated, without repeats.

    `processes` is always 1; settings that a run makes itself (`log-directory`, `worker-command`, ...) are left out.

    Raises
    ------
    StudyError
        If neither says how much memory or how many cores a job has, or the user's walltime is not text.
    """
    mine = {key: getattr(ours, key) for key in ours.model_fields_set}
    result = {**{key: users.get(key) for key in Jobqueue.model_fields}, **mine, "processes": 1}
    problems = []
    for key in LISTS:
        try:
            result[key] = _both(key, users.get(key), mine.get(key))
        except ValueError as error:
            problems.append(str(error))
    problems += [
        f"jobqueue: {key} of a job is not set, neither in the cluster file nor in {USERS}"
        for key in ("cores", "memory")
        if result[key] is None
    ]
    if result["walltime"] is not None and not isinstance(result["walltime"], str):
        problems.append(f"walltime in {USERS} must be text in quotes, got {result['walltime']!r}")
    if problems:
        raise StudyError("cluster", problems)
    return result


def job_settings(cluster: ClusterFile) -> dict[str, Any]:
    """Return the settings of a cluster's jobs, merged and checked for its scheduler; keys that it lacks are left out.

    Raises
    ------
    StudyError
        With everything that is missing or wrong.
    """
    kind, scheduler = cluster.kind, SCHEDULERS[cluster.kind]
    users = user_settings(kind)
    directives = users.get("job_extra_directives") or ()
    # The user's own log files and job names are theirs for other programs; in ours they are a mistake.
    if isinstance(directives, dict):
        users["job_extra_directives"] = {k: v for k, v in directives.items() if not is_reserved(k, scheduler)}
    elif isinstance(directives, list | tuple):
        users["job_extra_directives"] = [entry for entry in directives if not is_reserved(str(entry), scheduler)]
    settings = {key: value for key, value in merged(cluster.job, users).items() if key in KEYS[kind]}
    problems = [
        f"job-extra-directives: {entry!r} cannot be set: every run sets the job's name and output itself"
        for entry in cluster.job.job_extra_directives
        if is_reserved(entry, scheduler)
    ]
    if kind == "htcondor" and settings["disk"] is None:
        problems.append(f"disk of a job is not set, neither in the cluster file nor in {USERS}: for example disk: 4GB")
    if kind == "oar" and settings["memory_per_core_property_name"] is None:
        problems.append(
            "memory-per-core-property-name is not set, so OAR would not be asked for memory: give the property that "
            "`oarnodes` lists for the memory of a core in MiB (memcore, mem_core), or not_applicable"
        )
    if settings.get("walltime"):
        try:
            walltime_seconds(settings["walltime"], kind)
        except ValueError as error:
            problems.append(str(error))
    if cluster.cluster.gpus > int(settings["cores"]):
        n_gpus, cores = cluster.cluster.gpus, settings["cores"]
        problems.append(f"cluster.gpus is {n_gpus}, but a job has {cores} cores; each GPU's process needs one")
    if problems:
        raise StudyError("cluster", problems)
    return settings


def _require_plain(folder: Path, kind: str) -> None:
    """Refuse a folder whose name the scheduler or a shell would read as something else."""
    # Colons and commas separate hosts and paths in the -o of PBS and Grid Engine.
    wrong = r"[^\w./+@=~-]" if kind in ("pbs", "sge", "moab") else r"[^\w./+@=~,:-]"
    found = sorted(set(re.findall(wrong, str(folder))))
    if found:
        shown = " ".join("white space" if character.isspace() else character for character in found)
        problem = f"{folder} has {shown}, which job scripts of {kind} do not survive; --set workspace=..."
        raise StudyError("workspace", [problem])


def plan_jobs(
    cluster: ClusterFile,
    *,
    folder: Path,
    job_name: str,
    xp: str,
    nonce: str = "NONCE",
    exclusions: set[str] | None = None,
) -> JobPlan:
    """Work out the settings of a run's jobs; touches nothing.

    Parameters
    ----------
    folder
        Where scripts and logs go, and where `environment-<nonce>.json` tells workers what a node must have.
    xp
        Array library of the workers: auto, numpy or cupy.
    nonce
        The run's; the placeholder is for scripts that are only shown.
    exclusions
        Nodes to avoid; kept, not copied.

    Raises
    ------
    StudyError
        If something needed is missing, or `folder` has characters that no job script survives.
    """
    _require_plain(folder, cluster.kind)
    settings = job_settings(cluster)
    python = settings["python"] or sys.executable
    if re.search(r"\s", python):
        problem = f"python: {python!r} has white space, which job scripts do not survive; name one without, of an "
        raise StudyError("cluster", [f"{problem}environment elsewhere"])
    n_gpus = cluster.cluster.gpus
    n_threads = cluster.cluster.threads or int(settings["cores"]) // max(1, n_gpus)
    # HTCondor gets all lines as one: a comment would swallow those after it.
    lines = [line for entry in settings["job_script_prologue"] for line in entry.splitlines() if line.strip()]
    prologue = [
        NODE_LINE,
        *(line for line in lines if cluster.kind != "htcondor" or not line.lstrip().startswith("#")),
        *(f"export {name}={value}" for name, value in threads.worker_environment(n_threads).items()),
        f"export HPC_RECON_XP={xp}",
        "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
    ]
    if settings.get("walltime"):
        seconds = walltime_seconds(settings["walltime"], cluster.kind) - WALLTIME_MARGIN
        prologue.append(f"export HPC_RECON_DEADLINE=$(( $(date +%s) + {max(seconds, 0)} ))")
    skip = tuple(settings.pop("job_directives_skip"))
    scheduler_options = dict(settings.pop("scheduler_options") or {})
    settings.pop("name")
    settings.update(
        shebang=settings["shebang"] or "#!/usr/bin/env bash",
        # In place of the shell, so that the scheduler's signals reach the worker.
        python=f"exec {python}",
        job_script_prologue=prologue,
        job_name=job_name,
        worker_command=WORKER,
        # The last of a repeated option counts: one tile at a time, no second memory limit beside the scheduler's,
        # a nanny that starts a worker anew, and the worker's own web page on this machine only.
        worker_extra_args=[
            *settings["worker_extra_args"],
            *("--nthreads", "1", "--nworkers", "1", "--memory-limit", "0", "--nanny"),
            *("--dashboard-address", "127.0.0.1:0", "--gpus", str(n_gpus)),
            *("--expect", f"{folder}/environment-{nonce}.json"),
        ],
    )
    kept = {key: value for key, value in settings.items() if value is not None}
    users_set = set() if exclusions is None else exclusions
    return JobPlan(cluster.kind, kept, skip, scheduler_options, folder, n_threads, users_set)


def render(plan: JobPlan, security: Security) -> str:
    """Return the job script; the scheduler's address and the worker's name are placeholders. Touches nothing."""
    job = JOBS[plan.kind](
        "tls://SCHEDULER:PORT",
        name="WORKER",
        script_folder=plan.folder,
        skip=plan.skip,
        exclusions=plan.exclusions,
        security=security,
        protocol="tls://",
        **plan.settings,
    )
    return job.job_script()


class OurCluster(JobQueueCluster):
    """A cluster that never gives two jobs one name: a script or a log is not written over by a later job's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._numbers = itertools.count()
        super().__init__(*args, **kwargs)

    def _new_worker_name(self, worker_number: int) -> str:
        return f"{self._name}-{next(self._numbers)}"


def open_jobs(plan: JobPlan, *, security: Security, name: str, dashboard: bool) -> JobQueueCluster:
    """Start the dask scheduler of a cluster of any batch scheduler, without jobs yet.

    Parameters
    ----------
    name
        Prefix of the workers' names: `<name>-0`, `<name>-1`, ...
    dashboard
        Serve dask's web page, on this machine only.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    scheduler_options = {
        **plan.scheduler_options,
        "dashboard": dashboard,
        "dashboard_address": "127.0.0.1:0",
        "protocol": "tls://",
        "security": security,
    }
    return OurCluster(
        job_cls=cast(Any, JOBS[plan.kind]),
        config_name=plan.kind,
        script_folder=plan.folder,
        skip=plan.skip,
        exclusions=plan.exclusions,
        security=security,
        protocol="tls://",
        scheduler_options=scheduler_options,
        shared_temp_directory=str(plan.folder),
        name=name,
        **plan.settings,
    )
