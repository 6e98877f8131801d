"""dask-jobqueue's job classes, one a scheduler, made to keep scripts and logs, skip whole options, and say why not.

Every job writes its script to `<folder>/<worker>.sh`, and all its output goes to `<folder>/<worker>.log`. What is done
for PBS, LSF, HTCondor, OAR and Moab is written from their manuals; tests check the scripts and the commands.
"""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
from distributed.core import Status

from hpc_recon.core.errors import ClusterError
from hpc_recon.run.draining import handlers_kept
from hpc_recon.run.schedulers import SCHEDULERS, Scheduler

# Its import makes Ctrl-C end the process without a word and with exit code 0, as if everything were done.
with handlers_kept():
    from dask_jobqueue.core import Job, JobQueueCluster
    from dask_jobqueue.htcondor import HTCondorJob, quote_arguments
    from dask_jobqueue.lsf import LSFJob
    from dask_jobqueue.moab import MoabJob
    from dask_jobqueue.oar import OARJob
    from dask_jobqueue.pbs import PBSJob
    from dask_jobqueue.sge import SGEJob
    from dask_jobqueue.slurm import SLURMJob

__all__ = ["JOBS", "JobQueueCluster", "is_reserved", "is_skipped"]


def is_skipped(line: str, skip: tuple[str, ...]) -> bool:
    """Return whether a directive's option is one of `skip`, compared whole; an entry may name a value's name too.

    >>> is_skipped("#SBATCH --mem=4G", ("--mem",)), is_skipped("#SBATCH --mem-per-gpu=4G", ("--mem",))
    (True, False)
    >>> is_skipped("#$ -l h_rt=04:00:00", ("-l h_rt",)), is_skipped("#$ -l h_vmem=4G", ("-l h_rt",))
    (True, False)
    """
    words = re.split(r"[=\s]+", line)[1:]
    entries = (re.split(r"[=\s]+", entry.strip()) for entry in skip)
    return any(words[: len(entry)] == entry for entry in entries if entry != [""])


def is_reserved(directive: str, scheduler: Scheduler) -> bool:
    """Return whether a directive sets what every run sets itself: the job's name, and where its output goes.

    >>> is_reserved("-o logs/%j.out", SCHEDULERS["slurm"]), is_reserved("--gres=gpu:1", SCHEDULERS["slurm"])
    (True, False)
    """
    option = re.split(r"[=\s]", directive.strip())[0]
    return (option if scheduler.prefix else option.lower()) in scheduler.ours


@contextlib.contextmanager
def _blank_configuration(kind: str) -> Iterator[None]:
    """Hide the user's dask-jobqueue configuration, which `plan_jobs` has read already.

    dask-jobqueue would look there for everything that is not set, warn of old names, and create a log folder.
    """
    section = f"jobqueue.{kind}"
    blank = {**dict.fromkeys(dask.config.get(section, {})), "use-stdin": True}
    with dask.config.set({section: blank}):
        yield


class OurJob(Job):
    """What all our jobs have; mixed with dask-jobqueue's class of each scheduler.

    Attributes
    ----------
    problem
        Why the submission was refused, None if it was not.
    """

    def __init__(
        self,
        *args: Any,
        script_folder: Path,
        skip: tuple[str, ...] = (),
        exclusions: set[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.problem: str | None = None
        self.script_folder = script_folder
        self.exclusions: set[str] = set()
        with _blank_configuration(str(self.config_name)):
            super().__init__(*args, **{**kwargs, "job_directives_skip": ()})  # type: ignore[no-untyped-call]
        self._finish(skip)
        # Only now, because dask-jobqueue's constructors make the script, and a name that is refused shall be the
        # problem of a submission. Not a copy: whoever made the set adds hosts while the run goes on.
        self.exclusions = set() if exclusions is None else exclusions

    @property
    def ours(self) -> Scheduler:
        """The scheduler's row in our table."""
        return SCHEDULERS[str(self.config_name)]

    @property
    def log(self) -> Path:
        """Where all output of the job goes."""
        return self.script_folder / f"{self.name}.log"

    def _finish(self, skip: tuple[str, ...]) -> None:
        """Leave out skipped options of dask-jobqueue's (never the user's own), and add ours."""
        prefix = self.ours.prefix
        users = {f"{prefix} {directive}" for directive in self.job_extra_directives}
        lines = [line for line in str(self.job_header).splitlines() if line in users or not is_skipped(line, skip)]
        ours = [f"{prefix} {directive}" for directive in self.ours.bash]
        has_shell = any(line.startswith(f"{prefix} -S") for line in users)
        lines += [line for line in ours if not has_shell and not is_skipped(line, skip)]
        lines += [f"{prefix} {directive.format(self.log)}" for directive in self.ours.log]
        self.job_header = "\n".join(lines)

    def _excluded(self) -> list[str]:
        """Return the hosts to avoid.

        Raises
        ------
        ClusterError
            If a name has characters that no host's name has: it would become part of the script.
        """
        hosts = sorted(self.exclusions)
        wrong = [host for host in hosts if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", host) is None]
        if wrong:
            raise ClusterError(f"not names of hosts, so that no job can be kept off them: {wrong}")
        return hosts

    def _last_directives(self, hosts: list[str]) -> tuple[str, ...]:
        """Return the directives that keep the job off some hosts, where the scheduler has any."""
        return self.ours.exclude(hosts) if hosts and self.ours.exclude is not None else ()

    def _guard(self, hosts: list[str]) -> tuple[str, ...]:
        """Return the line that leaves such a host at once, where the scheduler cannot avoid it."""
        if not hosts or self.ours.exclude is not None:
            return ()
        names = "|".join(f"{host}|{host}.*" for host in hosts)
        said = 'echo "hpc_recon: node $(hostname) is avoided, as asked by the controller"'
        return (f'case "$(hostname)" in {names}) {said}; exit 0;; esac',)

    def job_script(self) -> str:
        """Return the script as it is submitted."""
        hosts = self._excluded()
        directives = [f"{self.ours.prefix} {directive}" for directive in self._last_directives(hosts)]
        prologue = [*self._guard(hosts), *self._job_script_prologue]
        pieces = {
            "shebang": self.shebang,
            "job_header": "\n".join([str(self.job_header), *directives]),
            "job_script_prologue": "\n".join(prologue),
            "worker_command": self._command_template,
        }
        return str(self._script_template % pieces)

    @contextlib.contextmanager
    def job_file(self) -> Iterator[str]:
        """Write the script where it stays: `<workspace>/jobs/<worker>.sh`."""
        path = self.script_folder / f"{self.name}.sh"
        path.write_text(self.job_script())
        path.chmod(0o700)
        yield str(path)

    async def start(self) -> None:
        """Submit; a refusal is remembered for the watcher instead of being lost in dask's log."""
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except Exception as error:
            # Whatever the submission or its output did: the watcher reports it.
            self.problem = str(error)
            self.status = Status.failed

    async def close(self) -> None:
        """Cancel the job; dask-jobqueue would leave its status, which dask checks of all jobs when a cluster closes."""
        await super().close()  # type: ignore[no-untyped-call]
        self.status = Status.closed


class OurSlurmJob(OurJob, SLURMJob):
    """A Slurm job."""


class OurPBSJob(OurJob, PBSJob):
    """A job of OpenPBS, PBS Pro or Torque."""


class OurSGEJob(OurJob, SGEJob):
    """A job of Grid Engine or its descendants."""


class OurMoabJob(OurJob, MoabJob):
    """A Moab job; Moab's own ids are `Moab.12`, those of a resource manager below it plain numbers."""

    job_id_regexp = r"(?P<job_id>(?:Moab\.)?\d+)"


class OurOARJob(OurJob, OARJob):
    """An OAR job. dask-jobqueue passes the directives as options and the rest of the script as one argument.

    OAR heeds only the last `-p` (SQL): so there is one, made of all the user's, the memory of a core, and the hosts to
    avoid. dask-jobqueue would put quotes into quotes.
    """

    def __init__(self, *args: Any, memory_per_core_property_name: str | None = None, **kwargs: Any) -> None:
        self._memory_property = memory_per_core_property_name
        self._properties: list[str] = []
        super().__init__(*args, memory_per_core_property_name="not_applicable", **kwargs)

    def _finish(self, skip: tuple[str, ...]) -> None:
        super()._finish(skip)
        kept = []
        for line in str(self.job_header).splitlines():
            option, _, value = line.removeprefix("#OAR ").partition(" ")
            if option in ("-p", "--property"):
                self._properties.append(" ".join(shlex.split(value)))
            else:
                kept.append(line)
        self.job_header = "\n".join(kept)
        if self._memory_property not in (None, "not_applicable"):
            mebibytes = math.ceil(self.worker_memory / (self.worker_cores * 2**20))
            self._properties.append(f"{self._memory_property}>={mebibytes}")

    def _last_directives(self, hosts: list[str]) -> tuple[str, ...]:
        assert self.ours.exclude is not None
        terms = [*self._properties, *(self.ours.exclude(hosts) if hosts else ())]
        text = " AND ".join(f"({term})" if len(terms) > 1 else term for term in terms)
        if not terms:
            return ()
        # The double quotes are easier to read; they do not hold everything.
        return (f"-p {shlex.quote(text)}" if re.search(r'["$`\\]', text) else f'-p "{text}"',)


class OurLSFJob(OurJob, LSFJob):
    """An LSF job."""

    async def _submit_job(self, script_filename: str) -> str:
        """Submit through standard input, where LSF reads directives; dask-jobqueue would discard bsub's complaint."""
        if not self.use_stdin:
            return str(await super()._submit_job(script_filename))  # type: ignore[no-untyped-call]
        with open(script_filename, "rb") as script:
            return str(await self._call([self.submit_command], stdin=script))  # type: ignore[no-untyped-call]


class OurHTCondorJob(OurJob, HTCondorJob):
    """An HTCondor job: its script is a submit description, the shell lines are one argument in it.

    The output is redirected by the shell, as HTCondor would bring it back only at the end. What the shell says before
    that goes to `<worker>.err`, HTCondor's own account of the job to `<worker>.events`.
    """

    #: Not /bin/sh: prologues say `source`.
    executable = "/bin/bash"

    def _finish(self, skip: tuple[str, ...]) -> None:
        users = {str(key).lower() for key in self.job_extra_directives}
        skipped = {entry.strip().lower() for entry in skip}
        kept = {k: v for k, v in self.job_header_dict.items() if k.lower() in users or k.lower() not in skipped}
        self.job_header_dict = {
            **kept,
            "batch_name": self.job_name,
            "Error": self.log.with_suffix(".err"),
            "Log": self.log.with_suffix(".events"),
        }
        if "transfer_executable" not in users:
            self.job_header_dict["transfer_executable"] = False

    def _requirements(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Return the header with the hosts to avoid in its requirements, beside the user's own."""
        hosts = self._excluded()
        assert self.ours.exclude is not None
        if not hosts:
            return dict(header)
        key = next((k for k in header if k.lower() == "requirements"), "requirements")
        terms = [*([f"({header[key]})"] if key in header else []), *self.ours.exclude(hosts)]
        return {**header, key: " && ".join(terms)}

    def job_script(self) -> str:
        """Return the submit description.

        HTCondor expands `$(...)` in it before any shell does: `$(DOLLAR)` becomes the shell's own dollar.
        """
        command = self._command_template.replace("$", "$(DOLLAR)")
        first = f"exec >>{self.log} 2>&1 || exit 1; export HPC_RECON_JOB_ID=$(ClusterId).$(ProcId); "
        header = self._requirements(self.job_header_dict)
        pieces = {
            "shebang": self.shebang,
            "job_header": "\n".join(f"{key} = {value}" for key, value in header.items()),
            "quoted_arguments": quote_arguments(["-c", first + command]),
            "executable": self.executable,
        }
        return str(self._script_template % pieces)


JOBS: Mapping[str, type[OurJob]] = {
    "slurm": OurSlurmJob,
    "pbs": OurPBSJob,
    "sge": OurSGEJob,
    "lsf": OurLSFJob,
    "htcondor": OurHTCondorJob,
    "oar": OurOARJob,
    "moab": OurMoabJob,
}
