"""What the kernel did for want of memory: it kills processes without a word, but it counts them."""

from __future__ import annotations

from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def memory_kills(groups: Path = _GROUPS, proc: Path = Path("/proc")) -> int:
    """Return how many processes the kernel has killed for want of memory, where it could have been one of ours.

    That is in the control group of this process, in which the workers that it starts are too; where its count cannot
    be seen, on the whole machine. Only differences between two calls say anything.

    Parameters
    ----------
    groups, proc
        Where control groups and processes are mounted.

    Raises
    ------
    OSError
        If neither count is there; the kernel has the second one since Linux 4.13.
    """
    for path in _counts(groups, proc):
        if path.is_file() and (found := _field(path.read_text())) is not None:
            return found
    raise OSError(f"neither {groups} nor {proc / 'vmstat'} counts the processes killed for want of memory")


def _counts(groups: Path, proc: Path) -> list[Path]:
    """Return the files that may hold the count, the closest to this process first."""
    found = []
    for line in (proc / "self" / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = path.lstrip("/")
        if not controllers:
            found.append(groups / name / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(groups / "memory" / name / "memory.oom_control")
    return [*found, proc / "vmstat"]


def _field(text: str) -> int | None:
    """Return the number in the line `oom_kill N`, None if there is none."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), None)
