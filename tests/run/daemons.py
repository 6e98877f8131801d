"""Daemons of a scheduler for tests on one machine: free ports, start, wait, end by process id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


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


def end(pids: list[int], patience: float = 10.0) -> None:
    """End processes by id, last started first; killed if they do not go within `patience` seconds."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        left = [pid for pid in reversed(pids) if alive(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        limit = time.monotonic() + seconds
        while any(alive(pid) for pid in left) and time.monotonic() < limit:
            time.sleep(0.1)
