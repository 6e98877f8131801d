"""The errors that a user may meet; each says the rule, the values and the remedy.

Every class is also a built-in exception, so that a caller may catch either. `run.cli` turns any of
them into a message without a traceback and exit code 2.
"""

from __future__ import annotations

from collections.abc import Sequence


class ReconError(Exception):
    """An error whose message is written for the user."""


class StudyError(ReconError, ValueError):
    """A study or cluster file, or an option, is wrong. `problems` lists every mistake found."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        self.where = where
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "mistake" if count == 1 else "mistakes"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{where}: {count} {noun}\n{lines}")

    def __reduce__(self) -> tuple[type[StudyError], tuple[str, tuple[str, ...]]]:
        return (type(self), (self.where, self.problems))


class DataError(ReconError, ValueError):
    """Data at a door are unusable: wrong shape, NaN, labels that do not match."""


class MissingStore(ReconError, FileNotFoundError):
    """A store, or part of one, that a command needs does not exist yet; names the command that makes it."""


class DamagedStore(ReconError, OSError):
    """A stored file is short, empty, or fails its checksum; names the file and the command that makes it anew."""


class StoreUnreachable(ReconError, ConnectionError):
    """An object store does not answer, or refuses; the message holds no secret of its URL."""


class ChangedStudy(ReconError, ValueError):
    """Results exist that were made with other settings; names the keys that changed."""


class WorkspaceError(ReconError, OSError):
    """The workspace takes no more: its disk is full, over a quota, or read-only; says what is free and what to do."""


class ClusterError(ReconError, RuntimeError):
    """The cluster cannot do what was asked: no scheduler, jobs that never start, a busy study."""


class MemoryBudgetError(MemoryError, ReconError):  # in this order: a MemoryError has a __new__ of its own
    """A run is projected to need more memory than it was given; refused before it starts."""


class Unfinished(ReconError, RuntimeError):
    """A tile kept what it did so far and stops before its end, because its job is about to end: no failure."""
