"""Daemons of a scheduler for tests on one machine: free ports, start, wait, end by process id."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now, and that the kernel gives to nobody who takes any port."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = range(10_000, max(first, 20_000))
    found: list[int] = []
    for port in random.SystemRandom().sample(candidates, k=len(candidates)):
        with contextlib.suppress(OSError), socket.socket() as each:  # in use
            each.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} ports of {candidates} are free")


def start(command: list[str], log: Path, **options: object) -> subprocess.Popen:
    """Start a daemon in a session of its own, all its output appended to `log`."""
    with open(log, "ab") as stream:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, **options
        )


def wait(ready, seconds: float, what: str, log: Path) -> None:
    """Wait until `ready()`; raise RuntimeError with `what` and the end of `log` after some seconds."""
    limit = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > limit:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else f"there is no {log}"
            raise RuntimeError(f"{what} after {seconds:.0f} s:\n{tail}")
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Return whether a process runs and has not merely not been collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end(pids: list[int], patience: float = 30.0) -> None:
    """End processes by id, last started first; killed if they do not go within `patience` seconds."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        left = [pid for pid in reversed(pids) if alive(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        limit = time.monotonic() + seconds
        while any(alive(pid) for pid in left) and time.monotonic() < limit:
            time.sleep(0.1)
