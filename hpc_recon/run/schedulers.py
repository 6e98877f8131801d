"""Batch schedulers by name, one table: their commands, the syntax of their directives, and how to ask their queues.

Slurm runs in `tests/slurm`, Grid Engine in `tests/sge`. What the others take (PBS, LSF, HTCondor, OAR, Moab) is
written from their manuals; the parsing of what they print is tested on sample output.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hpc_recon.run import queues

#: Longest study name within a job name, for schedulers without a tight limit of their own.
STUDY_IN_NAME = 40


@dataclass(frozen=True)
class Scheduler:
    """What differs between schedulers.

    Attributes
    ----------
    kind
        The name of its section in dask-jobqueue's format.
    commands
        Programs that must be on PATH where jobs are submitted.
    prefix
        What a directive's line begins with; empty for HTCondor, whose script is `key = value` lines.
    bash
        Directives that make the job run in bash, where a shebang does not.
    log
        Directives that send all output of the job to one file, `{}` being its path.
    ours
        Options that every run sets itself (job name, output), and that nobody else may.
    name_limit
        Longest job name, None without a tight limit.
    queue
        Makes an object that asks its queue.
    exclude
        Directives that keep a job off some hosts (for HTCondor and OAR terms of the one expression that a job may
        have); None where the scheduler has no such thing. Then the script itself leaves at once on these hosts.
    """

    kind: str
    commands: tuple[str, ...]
    prefix: str
    log: tuple[str, ...]
    ours: tuple[str, ...]
    queue: Callable[[], queues.Queue]
    bash: tuple[str, ...] = ()
    name_limit: int | None = None
    exclude: Callable[[Iterable[str]], tuple[str, ...]] | None = None

    def job_name(self, study_name: str, nonce: str) -> str:
        """Return the name of all jobs of a run, within the scheduler's limit.

        >>> SCHEDULERS["slurm"].job_name("tiny", "0123456789ab"), SCHEDULERS["pbs"].job_name("tiny", "0123456789ab")
        ('hpc_recon-tiny-0123456789ab', 'r-0123456789ab')
        """
        return _long_name(study_name, nonce) if self.name_limit is None else f"r-{nonce}"[: self.name_limit]


def _long_name(study_name: str, nonce: str) -> str:
    return f"hpc_recon-{study_name[:STUDY_IN_NAME]}-{nonce}"


def _slurm_exclude(hosts: Iterable[str]) -> tuple[str, ...]:
    return (f"--exclude={','.join(hosts)}",)


def _sge_exclude(hosts: Iterable[str]) -> tuple[str, ...]:
    # A host's name in Grid Engine may be its short or its full one. A job that no host is left for would wait for ever
    # without a word: `-w e` has it refused.
    names = "|".join(f"{host}|{host}.*" for host in hosts)
    return (f"-l h=!({names})", "-w e")


def _lsf_exclude(hosts: Iterable[str]) -> tuple[str, ...]:
    terms = " && ".join(f"hname!='{host}'" for host in hosts)
    return (f'-R "select[{terms}]"',)


def _htcondor_exclude(hosts: Iterable[str]) -> tuple[str, ...]:
    # The script merges this expression with the user's own requirements. A machine's name is its full one; the dot
    # at the end lets a short name match it and no longer one.
    names = "|".join(host.replace(".", "[.]") for host in hosts)
    return (f'!regexp("^({names})[.]", strcat(TARGET.Machine, "."), "i")',)


def _oar_exclude(hosts: Iterable[str]) -> tuple[str, ...]:
    # A term of the one SQL expression that the script has.
    return tuple(f"network_address != '{host}' AND network_address NOT LIKE '{host}.%'" for host in hosts)


SCHEDULERS: Mapping[str, Scheduler] = {
    found.kind: found
    for found in (
        Scheduler(
            "slurm",
            ("sbatch", "squeue", "scancel", "scontrol"),
            prefix="#SBATCH",
            log=("--output={}",),
            ours=("-J", "--job-name", "-o", "--output", "-e", "--error"),
            queue=queues.SlurmQueue,
            exclude=_slurm_exclude,
        ),
        Scheduler(
            "pbs",
            ("qsub", "qstat", "qdel"),
            prefix="#PBS",
            log=("-j oe", "-o {}"),
            ours=("-N", "-o", "-e", "-j"),
            queue=queues.PBSQueue,
            bash=("-S /bin/bash",),
            name_limit=15,
        ),
        Scheduler(
            "sge",
            ("qsub", "qstat", "qdel"),
            prefix="#$",
            log=("-o {}",),
            ours=("-N", "-o", "-e", "-j"),
            queue=queues.SGEQueue,
            bash=("-S /bin/bash",),
            exclude=_sge_exclude,
        ),
        Scheduler(
            "lsf",
            ("bsub", "bjobs", "bkill"),
            prefix="#BSUB",
            log=("-o {}",),
            ours=("-J", "-o", "-oo", "-e", "-eo"),
            queue=queues.LSFQueue,
            exclude=_lsf_exclude,
        ),
        Scheduler(
            "htcondor",
            ("condor_submit", "condor_q", "condor_rm", "condor_history"),
            prefix="",
            log=(),
            ours=("batch_name", "output", "error", "log", "stream_output", "stream_error"),
            queue=queues.HTCondorQueue,
            exclude=_htcondor_exclude,
        ),
        Scheduler(
            "oar",
            ("oarsub", "oarstat", "oardel"),
            prefix="#OAR",
            log=("-O {}", "-E {}"),
            ours=("-n", "--name", "-O", "--stdout", "-E", "--stderr"),
            queue=queues.OARQueue,
            exclude=_oar_exclude,
        ),
        Scheduler(
            "moab",
            ("msub", "showq", "checkjob", "canceljob"),
            prefix="#PBS",
            log=("-j oe", "-o {}"),
            ours=("-N", "-o", "-e", "-j"),
            queue=queues.MoabQueue,
            bash=("-S /bin/bash",),
            name_limit=15,
        ),
    )
}


def job_name(kind: str, study_name: str, nonce: str) -> str:
    """Return the name of a run on any cluster: that of all its jobs, where it has jobs."""
    return SCHEDULERS[kind].job_name(study_name, nonce) if kind in SCHEDULERS else _long_name(study_name, nonce)


#: Where schedulers tell a job its id; the first that is set counts. Ours is set by the HTCondor script, because
#: HTCondor has none.
JOB_ID_VARIABLES = ("HPC_RECON_JOB_ID", "SLURM_JOB_ID", "MOAB_JOBID", "LSB_JOBID", "OAR_JOB_ID", "OAR_JOBID")


def job_id() -> str | None:
    """Return the id of the batch job that this process runs in, None outside of jobs.

    It is the id that `Queue.by_name` lists: the number alone for PBS (`123`, not `123.server`).
    """
    for name in JOB_ID_VARIABLES:
        if found := os.environ.get(name):
            return found
    if found := os.environ.get("PBS_JOBID"):
        return re.split(r"[.\[]", found)[0]
    # So general a name means a job of Grid Engine only beside Grid Engine's own variable.
    return os.environ.get("JOB_ID") if "SGE_ROOT" in os.environ else None


def node_name() -> str:
    """Return this machine's name as the scheduler knows it: what belongs into the exclusions of later jobs."""
    return os.environ.get("SLURMD_NODENAME") or platform.node()
