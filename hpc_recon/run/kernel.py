"""What the kernel allows this process, and whom it killed for want of memory: without a word, but it keeps count."""

from __future__ import annotations

from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
#: Version one says "no limit" by a number near the largest of 64 bits.
_UNLIMITED = 1 << 60


def memory_kills(groups: Path = _GROUPS, proc: Path = Path("/proc")) -> int | None:
    """Return how many processes the kernel has killed for want of memory, where it could have been one of ours.

    That is in the control group of this process, in which the workers that it starts are too; where its count cannot
    be seen, on the whole machine. Only differences between two calls say anything. None where the kernel does not count
    (before Linux 4.13, as in CentOS 7).

    Parameters
    ----------
    groups, proc
        Where control groups and processes are mounted.
    """
    for path in _counts(groups, proc):
        if path.is_file() and (found := _field(path.read_text())) is not None:
            return found
    return None


def memory_limit(groups: Path = _GROUPS, proc: Path = Path("/proc")) -> int | None:
    """Return the bytes that this process's control group may use, by its own limit or one above it; None without any.

    A batch job has such a limit, and in it only a part of the machine's memory is there.

    Parameters
    ----------
    groups, proc
        As for `memory_kills`.
    """
    found = []
    for folder, is_new in _folders(groups, proc):
        name = "memory.max" if is_new else "memory.limit_in_bytes"
        for above in (folder, *folder.parents):
            if above.is_relative_to(groups) and (above / name).is_file():
                text = (above / name).read_text().strip()
                found += [int(text)] if text.isdigit() and int(text) < _UNLIMITED else []
    return min(found, default=None)


def _folders(groups: Path, proc: Path) -> list[tuple[Path, bool]]:
    """Return this process's folders that may speak of memory, and whether they are those of version two."""
    found, own = [], proc / "self" / "cgroup"
    for line in own.read_text().splitlines() if own.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append((groups / path.lstrip("/"), True))
        elif "memory" in controllers.split(","):
            found.append((groups / "memory" / path.lstrip("/"), False))
    return found


def _counts(groups: Path, proc: Path) -> list[Path]:
    """Return the files that may hold the count, the closest to this process first."""
    names = ("memory.oom_control", "memory.events")
    return [*(folder / names[is_new] for folder, is_new in _folders(groups, proc)), proc / "vmstat"]


def _field(text: str) -> int | None:
    """Return the number in the line `oom_kill N`, None if there is none."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), None)
