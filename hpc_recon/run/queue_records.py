"""What Grid Engine, HTCondor, OAR and Moab tell of their jobs as records (XML, JSON, named fields), as pure functions.

Grid Engine's is met by a real one in the tests. HTCondor, OAR and Moab are written from their manuals and sources; the
parsing is tested on sample output.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

from hpc_recon.run.queue_texts import JobState, Word, joined


def _elements(text: str, tag: str) -> list[ElementTree.Element]:
    """Return the elements of a tag; nothing where the scheduler printed nothing.

    Raises
    ------
    ValueError
        If the text is not XML.
    """
    if not text.strip():
        return []
    try:
        return list(ElementTree.fromstring(text).iter(tag))  # noqa: S314 - the scheduler's own output
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML ({error}): {text[:200]!r}") from error


# Grid Engine ---------------------------------------------------------------------------------------------------------


def sge_jobs(text: str, job_name: str) -> dict[str, JobState]:
    """Read `qstat -xml -r`."""
    found = {}
    for job in _elements(text, "job_list"):
        names = (job.findtext("full_job_name"), job.findtext("JB_name"))
        number = job.findtext("JB_job_number")
        if number is not None and job_name in names:
            found[number.strip()] = _sge_state((job.findtext("state") or "").strip())
    return found


def _sge_state(state: str) -> JobState:
    if "d" in state:
        return JobState("ending", state)
    if "E" in state:
        return JobState("held", f"error state {state}")
    if "h" in state:
        return JobState("held", state)
    if set(state) & set("qwsSTN"):
        return JobState("waiting", "" if state == "qw" else state)
    return JobState("running")


def sge_errors(text: str) -> str:
    """Return why a job does not run by `qstat -j`: its errors, else the scheduler's last word; empty if there is none.

    What the scheduler says begins with queues that no job can use now; what holds for this very job comes last.
    """
    errors = re.findall(r"^error reason\s+\d+:\s+(.*?)\s*$", text, re.MULTILINE)
    said = re.search(r"^scheduling info:(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE)
    return "; ".join(errors or (said.group(1).strip().splitlines()[-1:] if said else [])).strip()


def sge_accounts(text: str) -> dict[str, str]:
    """Read `qacct -j`, of the last of several runs of a job: `name   value` lines."""
    last = re.split(r"^=+$", text, flags=re.MULTILINE)[-1]
    return {m.group(1): m.group(2).strip() for m in re.finditer(r"^(\w+)[ \t]+(.*)$", last, re.MULTILINE)}


def sge_end(accounts: Mapping[str, str]) -> str:
    """Return how a job ended by its accounts; empty without any."""
    failed = accounts.get("failed", "")
    parts = (
        ("failed", "" if failed in ("", "0") else re.sub(r"\s+", " ", failed)),
        ("exit code", accounts.get("exit_status")),
        ("peak memory", accounts.get("maxvmem")),
        ("host", accounts.get("hostname")),
    )
    return joined(parts)


def _sge_bytes(text: str) -> float | None:
    """Read `1.5G`: k m g are powers of 1000, K M G of 1024."""
    match = re.fullmatch(r"([\d.]+)([kKmMgGtT]?)B?", text.strip())
    if match is None:
        return None
    number, unit = match.groups()
    power = "kmgt".find(unit.lower()) + 1 if unit else 0
    return float(number) * float((1000 if unit.islower() else 1024) ** power)


def sge_out_of_memory(accounts: Mapping[str, str]) -> bool:
    """Return whether a job that Grid Engine or the kernel ended had reached the memory that it had asked for."""
    if accounts.get("failed", "0").split(" ")[0] not in ("37", "100") and accounts.get("exit_status") != "137":
        return False
    asked = re.search(r"(?:h_vmem|h_rss|m_mem_free)=([\w.]+)", accounts.get("category", ""))
    limit = _sge_bytes(asked.group(1)) if asked else None
    peak = _sge_bytes(accounts.get("maxrss" if asked and "rss" in asked.group() else "maxvmem", ""))
    # What is asked for is of a slot, what is used of the whole job.
    slots = int(accounts.get("slots", "1"))
    return limit is not None and peak is not None and peak >= 0.95 * limit * slots


# HTCondor ------------------------------------------------------------------------------------------------------------

_CONDOR: Mapping[str, Word] = {
    "1": "waiting",
    "2": "running",
    "3": "ending",
    "4": "ending",
    "5": "held",
    "6": "ending",
    "7": "waiting",
}
#: Hold code of HTCondor for a job above its memory.
_CONDOR_MEMORY = "34"


def condor_jobs(text: str) -> dict[str, JobState]:
    """Read `condor_q -af:j JobStatus HoldReason`.

    >>> condor_jobs("12.0 5 Error from slot1@n1: memory usage exceeded request_memory")
    {'12.0': JobState(state='held', reason='Error from slot1@n1: memory usage exceeded request_memory')}
    """
    found = {}
    for line in text.splitlines():
        job, status, reason = (*line.strip().split(None, 2), "", "")[:3]
        if (word := _CONDOR.get(status)) is not None:
            found[job] = JobState(word, "" if reason == "undefined" else reason)
    return found


#: What `condor_q` and `condor_history` are asked about one job, in this order.
CONDOR_FIELDS = (
    "ExitCode",
    "ExitSignal",
    "HoldReasonCode",
    "LastHoldReasonCode",
    "HoldReason",
    "LastHoldReason",
    "RemoveReason",
)


def condor_record(text: str) -> dict[str, str]:
    """Read the first job of `-af:lt CONDOR_FIELDS`: `Name = value` between tabs; what is undefined is left out."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    pairs = (field.split(" = ", 1) for field in line.strip().split("\t") if " = " in field)
    return {name.strip(): value.strip() for name, value in pairs if value.strip() != "undefined"}


def condor_end(record: Mapping[str, str]) -> str:
    """Return why a job ended or is held."""
    return joined(
        (
            ("exit code", record.get("ExitCode")),
            ("signal", record.get("ExitSignal")),
            ("held:", record.get("HoldReason") or record.get("LastHoldReason")),
            ("removed:", record.get("RemoveReason")),
        )
    )


def condor_out_of_memory(record: Mapping[str, str]) -> bool:
    """Return whether a job was held for its memory."""
    if _CONDOR_MEMORY in (record.get("HoldReasonCode"), record.get("LastHoldReasonCode")):
        return True
    said = " ".join(record.get(name, "") for name in ("HoldReason", "LastHoldReason", "RemoveReason")).lower()
    return "memory" in said and "exceed" in said


# OAR -----------------------------------------------------------------------------------------------------------------

_OAR: Mapping[str, Word] = {
    **dict.fromkeys(("Waiting", "toLaunch", "Launching", "toAckReservation", "Suspended", "Resuming"), "waiting"),
    "Running": "running",
    "Hold": "held",
    **dict.fromkeys(("Finishing", "toError"), "ending"),
}


def oar_records(text: str) -> dict[str, dict[str, Any]]:
    """Read `oarstat -J`: jobs by id; nothing where it printed nothing.

    Raises
    ------
    ValueError
        If the text is not a JSON object.
    """
    content = json.loads(text) if text.strip() else {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"not a table of jobs: {text[:200]!r}")
    return {str(job): record for job, record in content.items()}


def oar_jobs(text: str, job_name: str) -> dict[str, JobState]:
    """Read `oarstat -u -J`; jobs that ended (Terminated, Error) are left out."""
    return {
        job: JobState(_OAR[record["state"]], str(record.get("message") or ""))
        for job, record in oar_records(text).items()
        if record.get("name") == job_name and record.get("state") in _OAR
    }


def oar_end(text: str) -> str:
    """Return state, exit code, message and events of `oarstat -fj ID -J`; the code is that of `wait`, halved."""
    for record in oar_records(text).values():
        code = record.get("exit_code")
        status = None if code in (None, "") else int(str(code).split()[0])
        events = "; ".join(f"{event.get('type')}: {event.get('description')}" for event in record.get("events") or ())
        return joined(
            (
                ("state", record.get("state")),
                ("exit code", None if status is None else str(status >> 8)),
                ("signal", None if status is None or not status & 127 else str(status & 127)),
                ("message:", record.get("message")),
                ("events:", events),
            )
        )
    return ""


# Moab ----------------------------------------------------------------------------------------------------------------

_MOAB: Mapping[str, Word] = {
    **dict.fromkeys(("Running", "Starting"), "running"),
    **dict.fromkeys(("Hold", "UserHold", "SystemHold", "BatchHold", "Deferred"), "held"),
}
#: States of jobs that have left the queue.
_MOAB_ENDED = frozenset(("Completed", "Removed", "Vacated"))


def moab_jobs(text: str, job_name: str) -> dict[str, JobState]:
    """Read `showq --xml`: active, eligible and blocked jobs.

    Raises
    ------
    ValueError
        If the text is not XML.
    """
    found = {}
    for job in _elements(text, "job"):
        state = job.get("State", "")
        if job.get("JobName") == job_name and state not in _MOAB_ENDED:
            word = _MOAB.get(state, "waiting")
            found[job.get("JobID", "")] = JobState(word, "" if state in ("Running", "Idle") else state)
    return found


def moab_end(text: str) -> str:
    """Return what `checkjob` says of a job: state, completion code, holds, and what blocks it."""
    lines = re.findall(r"^\s*((?:State|Holds|NOTE|BLOCK MSG|Message\[\d+\]):?\s.*?)\s*$", text, re.MULTILINE)
    return "; ".join(re.sub(r"\s+", " ", line) for line in lines)
