"""What the figures of a benchmark depend on: processor, cores, load, versions, commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hpc_recon.run import measure


def machine():
    """Return what the figures depend on, for JSON; `load_before` is the load average of the last minute."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    described = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(described, capture_output=True, text=True, check=False)
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "versions": measure.versions(),
        "commit": commit.stdout.strip() or "unknown",
    }
