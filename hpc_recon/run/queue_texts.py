"""What Slurm, PBS and LSF print about their jobs, as pure functions from text; `queue_records` has the others.

Slurm's is met by a real one in the tests. PBS, Torque and LSF are written from their manuals; the parsing is tested on
sample output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

#: Where a job of any scheduler stands. `held` waits until somebody releases it; `ending` no longer works.
Word = Literal["waiting", "running", "held", "ending"]


@dataclass(frozen=True)
class JobState:
    """A job in the queue, in words that are the same for every scheduler.

    Attributes
    ----------
    state
        `waiting`, `running`, `held` or `ending`. A suspended job waits: it goes on by itself.
    reason
        The scheduler's own words about it; empty if it gives none.
    """

    state: Word
    reason: str = ""


def joined(parts: Iterable[tuple[str, str | None]]) -> str:
    """Return `name value, name value`, leaving out what is absent.

    >>> joined((("exit code", "1"), ("signal", None)))
    'exit code 1'
    """
    return ", ".join(f"{name} {value}".strip() for name, value in parts if value)


# Slurm ---------------------------------------------------------------------------------------------------------------

_SLURM: Mapping[str, Word] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "SUSPENDED", "STOPPED"), "waiting"),
    **dict.fromkeys(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), "held"),
    "COMPLETING": "ending",
}
#: Reasons of `squeue` that waiting does not resolve; `squeue` prints some with blanks, some with underscores.
SLURM_HOPELESS = frozenset(
    (
        "AccountNotAllowed",
        "AssocMaxCpuPerJobLimit",
        "AssocMaxGRESPerJob",
        "AssocMaxMemPerJob",
        "AssocMaxNodePerJobLimit",
        "AssocMaxWallDurationPerJobLimit",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "JobHeldAdmin",
        "JobHeldUser",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSMaxCpuPerJobLimit",
        "QOSMaxGRESPerJob",
        "QOSMaxMemoryPerJob",
        "QOSMaxNodePerJobLimit",
        "QOSMaxWallDurationPerJobLimit",
        "QOSNotAllowed",
        "Reservation_deleted",
        "job_requeued_in_held_state",
        "launch_failed_requeued_held",
        "ReservationDeleted",
    )
)


def slurm_jobs(text: str) -> dict[str, JobState]:
    """Read `squeue --noheader --format=%i|%T|%r`.

    >>> slurm_jobs("7|PENDING|Priority")
    {'7': JobState(state='waiting', reason='Priority')}
    """
    rows = [line.strip().split("|", 2) for line in text.splitlines() if line.count("|") >= 2]
    return {job: _slurm_state(state, reason) for job, state, reason in rows}


def _slurm_state(state: str, reason: str) -> JobState:
    said = "" if reason in ("None", "") else reason
    word = _SLURM.get(state, "running")
    if word == "waiting" and ("Held" in said or "held" in said):
        return JobState("held", said)
    return JobState(word, said or ("" if state in ("PENDING", "RUNNING") else state))


def slurm_hopeless(reason: str) -> bool:
    """Return whether a job with this reason never starts by waiting.

    >>> slurm_hopeless("launch failed requeued held"), slurm_hopeless("Resources")
    (True, False)
    """
    return re.sub(r"[ _]+", "_", reason.strip("()")) in SLURM_HOPELESS


def slurm_end(text: str) -> dict[str, str]:
    """Read `scontrol show job`: its `Key=value` words, the first of each key."""
    found: dict[str, str] = {}
    for key, value in re.findall(r"(?:^|\s)([A-Z]\w+)=(\S*)", text):
        found.setdefault(key, value)
    return found


# PBS and Torque ------------------------------------------------------------------------------------------------------

_PBS: Mapping[str, Word] = {
    **dict.fromkeys("QWTSUM", "waiting"),
    **dict.fromkeys("RB", "running"),
    "H": "held",
    "E": "ending",
}
#: Exit codes of OpenPBS for a job that it ended for its memory (virtual, resident, huge pages).
_PBS_MEMORY = ("-26", "-27", "-31")


def pbs_records(text: str) -> list[dict[str, str]]:
    """Read `qstat -f`: one dict a job, the id under `Job Id`. Long values go on in the next line, after a tab.

    Slurm's own qstat has a tab before each name instead, and long lines.
    """
    if re.search(r"^Job Id:.*\n ", text, re.MULTILINE):
        text = text.replace("\n\t", "")
    records: list[dict[str, str]] = []
    for line in text.splitlines():
        if match := re.match(r"Job Id:\s*(\S+)", line):
            records.append({"Job Id": match.group(1)})
        elif records and (match := re.match(r"\s+([\w.-]+) = ?(.*)", line)):
            records[-1][match.group(1)] = match.group(2).strip()
    return records


def pbs_id(text: str) -> str:
    """Return a job's number: `123.server` is 123, as dask-jobqueue reads it.

    >>> pbs_id("123.head.example.org"), pbs_id("45[].head")
    ('123', '45')
    """
    match = re.match(r"\d+", text)
    return match.group() if match else text


def pbs_jobs(text: str, job_name: str) -> dict[str, JobState]:
    """Read `qstat -f`; jobs that ended and are still listed (C, F, X) are left out."""
    found = {}
    for record in pbs_records(text):
        word = _PBS.get(record.get("job_state", "")[:1])
        if record.get("Job_Name") == job_name and word is not None:
            found[pbs_id(record["Job Id"])] = JobState(word, record.get("comment", ""))
    return found


def pbs_end(text: str) -> str:
    """Return state, comment and exit code of `qstat -x -f`, empty if it knows nothing."""
    for record in pbs_records(text):
        code = record.get("Exit_status", record.get("exit_status"))
        return joined((("state", record.get("job_state")), ("exit code", code), ("comment:", record.get("comment"))))
    return ""


def pbs_out_of_memory(text: str) -> bool:
    """Return whether `qstat -x -f` says that memory was the end of a job."""
    for record in pbs_records(text):
        said = record.get("comment", "").lower()
        if "mem" in said and "exceed" in said:
            return True
        return record.get("Exit_status", record.get("exit_status")) in _PBS_MEMORY
    return False


# LSF -----------------------------------------------------------------------------------------------------------------

_LSF: Mapping[str, Word] = {
    **dict.fromkeys(("PEND", "PROV", "WAIT", "USUSP", "SSUSP"), "waiting"),
    **dict.fromkeys(("RUN", "UNKWN"), "running"),
    "PSUSP": "held",
    "ZOMBI": "ending",
}


def lsf_jobs(text: str) -> dict[str, JobState]:
    """Read `bjobs -noheader -o "jobid stat pend_reason delimiter='|'"`; DONE and EXIT are left out.

    >>> lsf_jobs("12|PEND|New job is waiting for scheduling;")
    {'12': JobState(state='waiting', reason='New job is waiting for scheduling')}
    """
    found = {}
    for line in text.splitlines():
        job, stat, reason = (*line.strip().split("|", 2), "", "")[:3]
        word = _LSF.get(stat)
        if job.isdigit() and word is not None:
            said = "" if reason == "-" else reason.rstrip("; ")
            found[job] = JobState(word, said or ("" if stat in ("PEND", "RUN") else stat))
    return found


def lsf_end(text: str) -> str:
    """Read `bjobs -noheader -o "stat exit_code exit_reason pend_reason delimiter='|'"` of one job."""
    stat, code, reason, pending = (*text.strip().split("|", 3), "", "", "", "")[:4]
    known = {name: "" if value == "-" else value for name, value in (("exit code", code), ("reason", reason))}
    return joined((("state", stat), *known.items(), ("waits:", "" if pending == "-" else pending.rstrip("; "))))
