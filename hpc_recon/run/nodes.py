"""The nodes that jobs ran on: which are broken, which must be avoided, and what the jobs' logs say.

A node on which `run.worker` finds another environment leaves `broken-<nonce>-<worker>.json` in the jobs' folder. A job
that dies before that (no Python there, say) leaves only its log, whose first line names the node.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hpc_recon.core.files import read_json

#: Jobs that may die on one node, before their workers register, until the node is avoided.
DEATHS_HERE = 2
#: Lines of a dead job's log that are shown, and bytes of it that are read.
TAIL = 15
READ = 1 << 16


def log_tail(log: Path) -> list[str]:
    """Return the last lines of a log; one that says so if there is none."""
    try:
        with open(log, "rb") as stream:
            stream.seek(max(0, log.stat().st_size - READ))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ["(there is no log)"]
    return text.splitlines()[-TAIL:] or ["(the log is empty)"]


def node_in_log(log: Path) -> str | None:
    """Return the node that a log names: `hpc_recon: node <name>, job <id>`; the last one, if a job was requeued."""
    try:
        with open(log, "rb") as stream:
            text = stream.read(READ).decode(errors="replace")
    except FileNotFoundError:
        return None
    found = re.findall(r"^hpc_recon: node ([^\s,]+)", text, flags=re.MULTILINE)
    return found[-1] if found else None


@dataclass
class Nodes:
    """What is known of the nodes of one run.

    Attributes
    ----------
    folder
        Where scripts, logs and the reports of broken nodes lie.
    say
        Prints a line for the user.
    exclusions
        Names of nodes that later jobs must avoid; shared with whoever writes their scripts.
    broken
        Problems of each broken node, by name.
    refused
        Names of the jobs that ended because their node is broken.
    """

    folder: Path
    nonce: str
    say: Callable[[str], None]
    exclusions: set[str]
    broken: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    _deaths: Counter[str] = field(default_factory=Counter)

    def look(self) -> None:
        """Read the reports of broken nodes that came since the last look; each node is named once."""
        for path in sorted(self.folder.glob(f"broken-{self.nonce}-*.json")):
            job = path.stem.removeprefix(f"broken-{self.nonce}-")
            if job in self.refused:
                continue
            content = read_json(path)
            host = str(content["host"])
            self.refused.add(job)
            self.exclusions.add(host)
            if host not in self.broken:
                self.broken[host] = [str(problem) for problem in content["problems"]]
                self.say(
                    f"the node {host} cannot be used, and is avoided from now on: {'; '.join(self.broken[host])}. Give "
                    "all nodes the same Python environment (`python:` in the cluster file)"
                )

    def log(self, job: str) -> Path:
        """Return the path of a job's log, by the name of the job's worker."""
        return self.folder / f"{job}.log"

    def host(self, job: str) -> str | None:
        """Return the name of the node that a job ran on, None if its log does not say."""
        return node_in_log(self.log(job))

    def blame(self, job: str, *, why: str, others_work: bool) -> None:
        """Count a job that died before its worker registered against its node; avoid the node if it seems to blame.

        Parameters
        ----------
        why
            What the queue says; a job that was cancelled or pre-empted says nothing about its node.
        others_work
            Whether workers live on other nodes now: then a node need not kill twice.
        """
        host = self.host(job)
        if host is None or host in self.exclusions or re.search(r"cancel|preempt|requeue", why, re.IGNORECASE):
            return
        self._deaths[host] += 1
        if others_work or self._deaths[host] >= DEATHS_HERE:
            self.exclusions.add(host)
            last = next((line for line in reversed(log_tail(self.log(job))) if line.strip()), "")
            self.say(
                f"the node {host} is avoided from now on: {self._deaths[host]} of this run's jobs ended there before "
                f"their workers started ({why}; {self.log(job)} ends with: {last.strip()[:200]})"
            )

    def summary(self) -> str:
        """Return the broken and the avoided nodes in a line each; empty if there are none."""
        lines = [f"  node {host}: {'; '.join(problems)}" for host, problems in sorted(self.broken.items())]
        others = sorted(self.exclusions - set(self.broken))
        if others:
            lines.append(f"  avoided, because jobs died there: {', '.join(others)}")
        return "\n".join(lines)
