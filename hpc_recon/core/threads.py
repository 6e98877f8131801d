"""How many threads a tile may use."""

from __future__ import annotations

import os

from hpc_recon.core.errors import StudyError

VARIABLE = "HPC_RECON_THREADS"


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
