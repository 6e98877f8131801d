"""One controller a study: `receipts/controller.json`, its heartbeat, and what happens when it died.

A lease is alive if its process is (same host) or if its heartbeat *changes* while we watch (another
host): clocks are never compared. A dead one is taken over by renaming its file, which only one process
can do; its jobs are then cancelled and waited for, its certificates and partial files removed.

A disk that is full stops neither the heartbeat nor the run: where the lease cannot be written anew, its
modification time is changed instead.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
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
from hpc_recon.core.text import is_safe_name
from hpc_recon.run.schedulers import job_name

#: Seconds between two heartbeats, and how long a stranger watches for one before it calls the owner dead.
HEARTBEAT = 5.0
PATIENCE = 4 * HEARTBEAT
#: Times that a garbled lease is read again, 0.1 s apart, before it is called damaged.
READ_ATTEMPTS = 10
#: A run's random name, and what schedulers call jobs: `123`, `123.server`, `123[4].server`, `12_3`.
_NONCE = re.compile(r"[0-9A-Za-z]{1,32}")
_JOB_ID = re.compile(r"[0-9A-Za-z][\w.@:\[\]-]{0,119}")
#: What file systems without hard links answer.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})

log = logging.getLogger(__name__)


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
    #: Which start of the machine, and which of its spaces of process ids (a container has its own), `pid` belongs to.
    machine: str = ""

    def __post_init__(self) -> None:
        # These become a folder that is removed and options of the scheduler's commands; a lease is a file that others
        # may have written.
        if _NONCE.fullmatch(self.nonce) is None or not is_safe_name(self.job_name):
            raise ValueError(f"{self.nonce!r} and {self.job_name!r} are no names of a run and of its jobs")
        odd = [job for job in self.jobs if _JOB_ID.fullmatch(job) is None]
        if odd:
            raise ValueError(f"{odd[0]!r} is no job's id")

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


def _machine() -> str:
    """Return what tells this machine, since its last start, from others of the same name."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def _new_owner(cluster: str, study_name: str) -> Owner:
    nonce = uuid.uuid4().hex[:12]
    start = _process_start(os.getpid())
    assert start is not None
    return Owner(
        socket.gethostname(),
        os.getpid(),
        start,
        nonce,
        cluster,
        job_name(cluster, study_name, nonce),
        machine=_machine(),
    )


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


def runs_here(workspace: Path, owner: Owner) -> bool | None:
    """Return whether the owner's process runs on this machine; None if that cannot be told from here."""
    if owner.host != socket.gethostname() or owner.machine != _machine():
        return None
    started = _process_start(owner.pid)
    if started is None and not _is_own(lease_path(workspace)):
        return None  # systems may hide the processes of others (`hidepid`)
    return started == owner.started


def _is_own(path: Path) -> bool:
    """Return whether a file is of this process's user; of one that has gone it does not matter."""
    try:
        return path.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return True


def is_alive(workspace: Path, owner: Owner, *, patience: float = PATIENCE) -> bool:
    """Return whether the owner still runs: at once on its own machine, else by watching its heartbeat."""
    if (found := runs_here(workspace, owner)) is not None:
        return found
    end = time.monotonic() + patience
    touched = touched_at(workspace)
    while time.monotonic() < end:
        time.sleep(min(0.5, patience / 4))
        now = read(workspace)
        if now is None or now.nonce != owner.nonce:
            return now is not None
        if now.beat != owner.beat or touched_at(workspace) != touched:
            return True
    return False


def touched_at(workspace: Path) -> int | None:
    """Return when the lease was last changed, by the clock of whoever did: good for comparing with itself only."""
    try:
        return lease_path(workspace).stat().st_mtime_ns
    except FileNotFoundError:
        return None


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
            self.owner = replace(self.owner, **changes)  # what cannot be written now is written with the next beat
            try:
                if not self._is_ours():
                    self.lost = True
                    return
                write_json(lease_path(self.workspace), _content(self.owner))
            except OSError:
                self._touch()

    def _is_ours(self) -> bool:
        """Return whether the lease names us; a damaged one counts: another controller would have made a whole one."""
        try:
            return _is_held_by(self.workspace, self.owner)
        except ClusterError:
            return True

    def _touch(self) -> None:
        """Show a sign of life on a disk that takes no more."""
        try:
            os.utime(lease_path(self.workspace))
        except OSError as error:
            # A disk that has become read-only or does not answer. If it does to others only, one of them may take
            # the study over; that is noticed when it answers again.
            log.warning("the lease %s cannot be kept up: %s", lease_path(self.workspace), error)

    def release(self) -> None:
        """Stop the heartbeat and remove the lease, if it is still ours."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._is_ours():
                lease_path(self.workspace).unlink(missing_ok=True)


def _create(workspace: Path, owner: Owner) -> bool:
    """Create the lease, whole or not at all; false if there is one already."""
    path = lease_path(workspace)
    draft = path.with_name(f".{path.name}.{owner.nonce}.partial")
    try:
        os.link(write_json(draft, _content(owner)), path)
    except (FileExistsError, FileNotFoundError):
        # Another was faster: its lease is there, or it has just cleared away all partial files, ours included. Or NFS
        # asked its server a second time, because the first answer was lost.
        return _is_held_by(workspace, owner)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(path, draft.read_bytes())
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def _is_held_by(workspace: Path, owner: Owner) -> bool:
    found = read(workspace)
    return found is not None and found.nonce == owner.nonce


def _create_in_place(path: Path, content: bytes) -> bool:
    """Create the lease where the file system has no hard links: a crash in between leaves it empty."""
    try:
        with open(path, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        return False
    except OSError:
        path.unlink()  # ours, and of no use: the disk is full
        raise
    sync_folder(path.parent)
    return True


def _claim_dead(workspace: Path, dead: Owner) -> bool:
    """Rename a dead owner's lease away; false if another process was faster."""
    path = lease_path(workspace)
    grave = path.with_name(f".{path.name}.dead-{dead.nonce}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        if read_json(grave)["nonce"] == dead.nonce:
            return True
        # Somebody took over between our look and our rename: give the living one its lease back.
        grave.rename(path)
    return False


def unfinished_burials(workspace: Path) -> list[Owner]:
    """Return dead owners that a controller began to clear away after, and itself died.

    Raises
    ------
    ClusterError
        If what one of them left is garbled.
    """
    graves = lease_path(workspace).parent.glob(f".{lease_path(workspace).name}.dead-*")
    return [_read_grave(grave) for grave in sorted(graves)]


def _read_grave(grave: Path) -> Owner:
    try:
        content = read_json(grave)
        return Owner(**{**content, "jobs": tuple(content["jobs"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"the lease {grave} of a dead controller is damaged ({error}); make sure that none of its jobs is in the "
            "queue, then remove it"
        ) from error


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
    while lease_path(workspace).exists() or not _create(workspace, mine):
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
