"""How many threads a tile may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from hpc_recon.core.errors import StudyError

VARIABLE = "HPC_RECON_THREADS"


def worker_environment(n_threads: int) -> dict[str, str]:
    """Return the environment variables of a worker that may use `n_threads` threads.

    OpenMP threads that have nothing to do must sleep: spinning ones take the cores that the next step needs (an
    image cost 4.2 s with two spinning torch threads on a busy machine, 0.3 to 0.7 s with two sleeping ones).
    """
    return {VARIABLE: str(n_threads), "OMP_WAIT_POLICY": "PASSIVE"}


def available() -> int:
    """Return the threads a worker may use: `$HPC_RECON_THREADS` (set by the job), else its CPU affinity.

    Raises
    ------
    StudyError
        If the variable is not a positive whole number.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return len(os.sched_getaffinity(0))
    if not text.isdigit() or int(text) < 1:
        raise StudyError(VARIABLE, [f"must be a positive whole number, got {text!r}"])
    return int(text)


@contextlib.contextmanager
def planned_for(n_threads: int) -> Iterator[None]:
    """Within the block plans are made for workers of so many threads, whatever this process may use."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(n_threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
