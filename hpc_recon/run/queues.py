"""Asking schedulers about the jobs of a run: which are in the queue, why one ended, and cancelling them.

One class a scheduler, all with the methods of `Queue`; none keeps anything between calls. Slurm and Grid Engine run for
real in the tests. PBS, Torque, LSF, HTCondor, OAR and Moab are written from their manuals; the parsing of what they
print (`queue_texts`, `queue_records`) is tested on sample output.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from hpc_recon.core.errors import ClusterError
from hpc_recon.run import queue_records as records
from hpc_recon.run import queue_texts as texts
from hpc_recon.run.queue_texts import JobState as JobState

#: Seconds that a scheduler's command gets to answer.
ANSWER_WITHIN = 60
#: Said of a job that has left the scheduler's memory.
FORGOTTEN = "the scheduler no longer knows this job"


class Queue(Protocol):
    """A scheduler's queue. Job ids are those that dask-jobqueue reads from the output of the submission."""

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that very name that are still in the queue, by id.

        Raises
        ------
        ClusterError
            If the scheduler does not answer.
        """

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job that ended or does not start: state, reason, exit code."""

    def out_of_memory(self, job: str) -> bool:
        """Return whether the scheduler says that it ended the job for the memory it used."""

    def hopeless(self, state: JobState) -> bool:
        """Return whether a job in this state never starts by waiting: held, or asking for what there is not."""

    def cancel(self, job_name: str, jobs: Iterable[str] = ()) -> None:
        """Cancel all jobs of that name; of `jobs`, ids that somebody wrote down, only those that have it too.

        Raises
        ------
        ClusterError
            If the scheduler does not answer.
        """


def run_command(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a scheduler's command; one that is silent for `ANSWER_WITHIN` seconds counts as failed.

    Raises
    ------
    ClusterError
        If there is no such command.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_WITHIN,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(list(command), 1, "", f"no answer within {ANSWER_WITHIN} s")
    except FileNotFoundError as error:
        raise ClusterError(f"`{command[0]}` is not on PATH; run this where jobs are submitted") from error


def ask(command: Sequence[str], *, nothing: str | None = None) -> str:
    """Return what a command prints.

    Parameters
    ----------
    nothing
        Regular expression; a failure whose message matches means that there are no such jobs, which is no failure.

    Raises
    ------
    ClusterError
        If it fails otherwise.
    """
    result = run_command(command)
    said = f"{result.stderr.strip()}\n{result.stdout.strip()}".strip()
    if result.returncode == 0 or (nothing is not None and re.search(nothing, said, re.IGNORECASE)):
        return result.stdout
    raise ClusterError(f"`{' '.join(command)}` failed: {said or f'exit code {result.returncode}'}")


def _parsed(parse: Callable[[str, str], dict[str, JobState]], text: str, job_name: str) -> dict[str, JobState]:
    """Parse an answer; one that cannot be read is no answer."""
    try:
        return parse(text, job_name)
    except ValueError as error:
        raise ClusterError(f"the queue's answer cannot be read: {error}") from error


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


class SlurmQueue:
    """squeue, scontrol, scancel."""

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        return texts.slurm_jobs(ask(["squeue", "--noheader", f"--name={job_name}", "--format=%i|%T|%r"]))

    def _record(self, job: str) -> dict[str, str]:
        return texts.slurm_end(run_command(["scontrol", "show", "job", job]).stdout)

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        found = self._record(job)
        keys = ("JobState", "Reason", "ExitCode")
        return ", ".join(f"{key} {found[key]}" for key in keys if key in found) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return whether a job ended for its memory; see `Queue`."""
        found = self._record(job)
        return "OUT_OF_MEMORY" in (found.get("JobState"), found.get("Reason")) or found.get("Reason") == "OutOfMemory"

    def hopeless(self, state: JobState) -> bool:
        """Return whether a job never starts by waiting; see `Queue`."""
        return state.state == "held" or (state.state == "waiting" and texts.slurm_hopeless(state.reason))

    def cancel(self, job_name: str, jobs: Iterable[str] = ()) -> None:
        """Cancel jobs; see `Queue`. The name finds them all: ids alone might be a stranger's by now."""
        ask(["scancel", f"--name={job_name}"])
        if listed := list(jobs):
            ask(["scancel", f"--name={job_name}", *listed], nothing="invalid job id|already completing")


class _ByNumber:
    """Cancelling for schedulers whose commands know no names: the numbers of the jobs of that name."""

    delete: tuple[str, ...]
    #: What the command says of jobs that have just left.
    gone = "unknown job|invalid job|not found|does not exist|has finished|already|cannot find|denied: job"

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        raise NotImplementedError

    def hopeless(self, state: JobState) -> bool:
        """Return whether a job never starts by waiting; see `Queue`."""
        return state.state == "held"

    def cancel(self, job_name: str, jobs: Iterable[str] = ()) -> None:
        """Cancel jobs; see `Queue`. All of that name are in the answer of the queue, those of `jobs` too."""
        found = [job for job, state in self.by_name(job_name).items() if state.state != "ending"]
        if found:
            ask([*self.delete, *found], nothing=self.gone)


class PBSQueue(_ByNumber):
    """qselect where there is one, qstat, qdel: OpenPBS, PBS Pro and Torque."""

    delete = ("qdel",)

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        numbers: list[str] = []
        if self._has_qselect():
            numbers = ask(["qselect", "-u", _user(), "-N", job_name]).split()
            if not numbers:
                return {}
        # A job that leaves between the two queries makes qstat fail for that one only.
        answer = run_command(["qstat", "-f", *numbers])
        left = r"(?i)unknown job|has finished|invalid job"
        problems = [line for line in answer.stderr.splitlines() if line.strip() and not re.search(left, line)]
        if problems or answer.returncode not in (0, 35, 153):
            said = "; ".join(problems) or f"exit code {answer.returncode}"
            raise ClusterError(f"`qstat -f` failed: {said}")
        return texts.pbs_jobs(answer.stdout, job_name)

    def _has_qselect(self) -> bool:
        """Return whether there is a qselect beside qstat; one elsewhere is another scheduler's."""
        beside, qstat = shutil.which("qselect"), shutil.which("qstat")
        return beside is not None and qstat is not None and Path(beside).parent == Path(qstat).parent

    def _text(self, job: str) -> str:
        # Torque's qstat has no history: there -x means XML, and ended jobs are listed for a while without it.
        text = run_command(["qstat", "-x", "-f", job]).stdout
        return text if "Job Id:" in text else run_command(["qstat", "-f", job]).stdout

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        return texts.pbs_end(self._text(job)) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return whether a job ended for its memory; see `Queue`."""
        return texts.pbs_out_of_memory(self._text(job))

    def hopeless(self, state: JobState) -> bool:
        """Return whether a job never starts by waiting; see `Queue`."""
        return state.state == "held" or (state.state == "waiting" and "can never run" in state.reason.lower())


class SGEQueue(_ByNumber):
    """qstat, qacct, qdel of Grid Engine and its descendants."""

    delete = ("qdel",)

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        return _parsed(records.sge_jobs, ask(["qstat", "-u", _user(), "-xml", "-r"]), job_name)

    def _accounts(self, job: str) -> dict[str, str]:
        # The accounts follow a job's end by seconds; where there are none, qacct fails.
        answer = run_command(["qacct", "-j", job])
        return records.sge_accounts(answer.stdout) if answer.returncode == 0 else {}

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        errors = records.sge_errors(run_command(["qstat", "-j", job]).stdout)
        ended = records.sge_end(self._accounts(job)) if shutil.which("qacct") else ""
        return "; ".join(part for part in (errors, ended) if part) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return whether a job ended for its memory; see `Queue`."""
        return bool(shutil.which("qacct")) and records.sge_out_of_memory(self._accounts(job))


class LSFQueue(_ByNumber):
    """bjobs, bkill."""

    delete = ("bkill",)

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        fields = "jobid stat pend_reason delimiter='|'"
        return texts.lsf_jobs(ask(["bjobs", "-noheader", "-J", job_name, "-o", fields], nothing="not found|no unfin"))

    def _text(self, job: str) -> str:
        fields = "stat exit_code exit_reason pend_reason delimiter='|'"
        return run_command(["bjobs", "-a", "-noheader", "-o", fields, job]).stdout

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        return texts.lsf_end(self._text(job)) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return whether a job ended for its memory; see `Queue`."""
        return "TERM_MEMLIMIT" in self._text(job)


class HTCondorQueue:
    """condor_q, condor_history, condor_rm; jobs are found by their batch name."""

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        return records.condor_jobs(ask(["condor_q", *self._named(job_name), "-af:j", "JobStatus", "HoldReason"]))

    def _named(self, job_name: str) -> tuple[str, str]:
        return "-constraint", f'JobBatchName == "{job_name}"'

    def _record(self, job: str) -> dict[str, str]:
        found = records.condor_record(run_command(["condor_q", job, "-af:lt", *records.CONDOR_FIELDS]).stdout)
        if found:
            return found
        command = ["condor_history", job, "-limit", "1", "-af:lt", *records.CONDOR_FIELDS]
        return records.condor_record(run_command(command).stdout)

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        return records.condor_end(self._record(job)) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return whether a job ended for its memory; see `Queue`."""
        return records.condor_out_of_memory(self._record(job))

    def hopeless(self, state: JobState) -> bool:
        """Return whether a job never starts by waiting; see `Queue`."""
        return state.state == "held"

    def cancel(self, job_name: str, jobs: Iterable[str] = ()) -> None:
        """Cancel jobs; see `Queue`. The constraint finds them all, those of `jobs` too."""
        ask(["condor_rm", *self._named(job_name)], nothing="couldn't find|no jobs")


class OARQueue(_ByNumber):
    """oarstat, oardel."""

    delete = ("oardel",)

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        # Without any job older versions have nothing to encode, and say so.
        text = ask(["oarstat", "-u", "-J"], nothing="hash- or arrayref expected")
        return _parsed(records.oar_jobs, text, job_name)

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        answer = run_command(["oarstat", "-f", "-j", job, "-J"])
        try:
            return records.oar_end(answer.stdout) or FORGOTTEN
        except ValueError as error:
            return f"oarstat's answer cannot be read: {error}"

    def out_of_memory(self, job: str) -> bool:
        """Return False: OAR does not tell; the job's log may."""
        return False


class MoabQueue(_ByNumber):
    """showq, checkjob, canceljob."""

    delete = ("canceljob",)

    def by_name(self, job_name: str) -> dict[str, JobState]:
        """Return the jobs of that name in the queue; see `Queue`."""
        return _parsed(records.moab_jobs, ask(["showq", "-u", _user(), "--xml"]), job_name)

    def why(self, job: str) -> str:
        """Return what the scheduler knows of a job; see `Queue`."""
        return records.moab_end(run_command(["checkjob", job]).stdout) or FORGOTTEN

    def out_of_memory(self, job: str) -> bool:
        """Return False: Moab does not tell; the job's log may."""
        return False
