"""When the job that this process runs in will end, where the job says it."""

from __future__ import annotations

import os
import time

#: Unix time at which the worker's job ends; exported by the job script, which asks the clock of its own node.
VARIABLE = "HPC_RECON_DEADLINE"


def seconds_left() -> float | None:
    """Return the seconds until the job ends, by the clock of this node; None where nothing says when that is."""
    text = os.environ.get(VARIABLE)
    return None if text is None else float(text) - time.time()
