"""One controller a study: `receipts/controller.json`, its heartbeat, and what happens when it died.

A lease is alive if its process is (same host) or if its heartbeat *changes* while we watch (another
host): clocks are never compared. A dead one is taken over by renaming its file, which only one process
can do; its jobs are then cancelled and waited for, its certificates and partial files removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpc_recon.core.errors import ClusterError
from hpc_recon.core.files import read_json, sync_folder, write_json

#: Seconds between two heartbeats, and how long a stranger watches for one before it calls the owner dead.
HEARTBEAT = 5.0
PATIENCE = 4 * HEARTBEAT
#: Times that a garbled lease is read again, 0.1 s apart, before it is called damaged.
READ_ATTEMPTS = 10


@dataclass(frozen=True)
class Owner:
    """Who holds a study: enough to find its process, its jobs and its certificates."""

    host: str
    pid: int
    #: Clock ticks since boot at which the process started: tells a process from a later one with its pid.
    started: int
    nonce: str
    cluster: str
    #: The scheduler's name of all jobs of this run; known before the first one is submitted.
    job_name: str
    jobs: tuple[str, ...] = ()
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def lease_path(workspace: Path) -> Path:
    """Return the path of the lease."""
    return workspace / "receipts" / "controller.json"


def certificate_folder(workspace: Path, nonce: str) -> Path:
    """Return the folder of the TLS certificates of one run."""
    return workspace / "jobs" / f"tls-{nonce}"


def _process_start(pid: int) -> int | None:
    """Return when a process of this host started (clock ticks since boot), None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def _new_owner(cluster: str, study_name: str) -> Owner:
    nonce = uuid.uuid4().hex[:12]
    start = _process_start(os.getpid())
    assert start is not None
    return Owner(socket.gethostname(), os.getpid(), start, nonce, cluster, f"hpc_recon-{study_name[:40]}-{nonce}")


def _content(owner: Owner) -> dict[str, Any]:
    return {**owner.__dict__, "jobs": list(owner.jobs)}


def read(workspace: Path) -> Owner | None:
    """Return the owner of a study, None if it has none.

    Raises
    ------
    ClusterError
        If the lease is garbled.
    """
    path = lease_path(workspace)
    for attempt in range(READ_ATTEMPTS):
        try:
            content = read_json(path)
            return Owner(**{**content, "jobs": tuple(content["jobs"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            # Its owner may be between creating and filling it.
            if attempt == READ_ATTEMPTS - 1:
                raise ClusterError(
                    f"the lease {path} is damaged ({error}); make sure that no other controller runs, then remove it"
                ) from error
            time.sleep(0.1)
    raise AssertionError("the last attempt returns or raises")


def is_alive(workspace: Path, owner: Owner, *, patience: float = PATIENCE) -> bool:
    """Return whether the owner still runs: at once on its own host, else by watching its heartbeat."""
    if owner.host == socket.gethostname():
        return _process_start(owner.pid) == owner.started
    end = time.monotonic() + patience
    while time.monotonic() < end:
        time.sleep(min(0.5, patience / 4))
        now = read(workspace)
        if now is None or now.nonce != owner.nonce:
            return now is not None
        if now.beat != owner.beat:
            return True
    return False


@dataclass
class Lease:
    """A held lease: beats in a thread of its own; `lost` becomes true if somebody took it away."""

    workspace: Path
    owner: Owner
    lost: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def record_jobs(self, jobs: tuple[str, ...]) -> None:
        """Remember the ids of the submitted jobs, so that whoever takes over can cancel them."""
        if set(jobs) - set(self.owner.jobs):
            self._write(jobs=tuple(dict.fromkeys((*self.owner.jobs, *jobs))))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            self._write(beat=self.owner.beat + 1)

    def _write(self, **changes: Any) -> None:
        with self._lock:
            if self.lost or self._stop.is_set():
                return
            now = read(self.workspace)
            if now is None or now.nonce != self.owner.nonce:
                self.lost = True
                return
            self.owner = replace(self.owner, **changes)
            write_json(lease_path(self.workspace), _content(self.owner))

    def release(self) -> None:
        """Stop the heartbeat and remove the lease, if it is still ours."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            now = read(self.workspace)
            if now is not None and now.nonce == self.owner.nonce:
                lease_path(self.workspace).unlink()


def _create(workspace: Path, owner: Owner) -> bool:
    """Create the lease; false if there is one already."""
    path = lease_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x") as stream:
            stream.write(json.dumps(_content(owner), indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        return False
    sync_folder(path.parent)
    return True


def _claim_dead(workspace: Path, dead: Owner) -> bool:
    """Rename a dead owner's lease away; false if another process was faster."""
    path = lease_path(workspace)
    grave = path.with_name(f".{path.name}.dead-{dead.nonce}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        if json.loads(grave.read_text())["nonce"] == dead.nonce:
            return True
        # Somebody took over between our look and our rename: give the living one its lease back.
        grave.rename(path)
    return False


def unfinished_burials(workspace: Path) -> list[Owner]:
    """Return dead owners that a controller began to clear away after, and itself died."""
    graves = lease_path(workspace).parent.glob(f".{lease_path(workspace).name}.dead-*")
    found = [json.loads(grave.read_text()) for grave in sorted(graves)]
    return [Owner(**{**content, "jobs": tuple(content["jobs"])}) for content in found]


def _bury(workspace: Path, dead: Owner, cancel: Callable[[Owner], None]) -> None:
    """Clear away after a dead owner: jobs first (they may still write), then certificates and partial files."""
    cancel(dead)
    shutil.rmtree(certificate_folder(workspace, dead.nonce), ignore_errors=True)
    for partial in workspace.rglob("*.partial"):
        partial.unlink(missing_ok=True)
    grave = lease_path(workspace).with_name(f".{lease_path(workspace).name}.dead-{dead.nonce}")
    grave.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(
    workspace: Path,
    *,
    cluster: str,
    study_name: str,
    cancel: Callable[[Owner], None],
    say: Callable[[str], None],
    patience: float = PATIENCE,
) -> Iterator[Lease]:
    """Hold the study's lease; taken over from a dead controller if need be.

    Parameters
    ----------
    cancel
        Called with each dead owner: cancels its jobs and returns when they have left the queue.
    say
        Prints a line for the user.

    Raises
    ------
    ClusterError
        If another controller is alive; names it.
    """
    mine = _new_owner(cluster, study_name)
    while not _create(workspace, mine):
        other = read(workspace)
        if other is None:
            continue
        if is_alive(workspace, other, patience=patience):
            raise ClusterError(
                f"the study in {workspace} is being computed by another controller ({other}, cluster {other.cluster}). "
                "Wait until it ends, stop it with Ctrl-C, or compute into another folder with --set workspace=..."
            )
        if _claim_dead(workspace, other):
            say(f"the last controller ({other}) died; taking over")
    lease = Lease(workspace, mine)
    lease.start()
    try:
        for dead in unfinished_burials(workspace):
            _bury(workspace, dead, cancel)
        yield lease
    finally:
        lease.release()
