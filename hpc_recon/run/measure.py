"""What one tile took: seconds, peak memory, warnings, and the versions that may matter to its last bits."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import threadpoolctl

from hpc_recon.core import threads
from hpc_recon.core.redaction import redacted
from hpc_recon.run.schedulers import job_id

#: Distributions whose versions a receipt records.
RECORDED = ("hpc_recon", "numpy", "scipy", "numba", "zarr", "torch", "cupy-cuda12x", "cupy-cuda13x")


def reset_peak_memory() -> bool:
    """Make the kernel forget this process's peak resident size; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """Return the peak resident bytes of this process since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM; the peak memory of a tile needs Linux")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the recorded distributions that are installed."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def blas_kernels() -> list[str]:
    """Return the BLAS libraries loaded in this process with their kernel family, for example `openblas SkylakeX`."""
    pools = threadpoolctl.threadpool_info()
    names = {f"{p['internal_api']} {p.get('architecture', '')}".strip() for p in pools if p["user_api"] == "blas"}
    return sorted(names)


def one_line(message: warnings.WarningMessage) -> str:
    """Return a warning as `Category: text`; our own (plain `UserWarning`) as the text alone."""
    text = redacted(" ".join(str(message.message).split()))
    return text if message.category is UserWarning else f"{message.category.__name__}: {text}"


@contextmanager
def recorded() -> Iterator[dict[str, Any]]:
    """Measure the block: yields a mapping that is filled when the block ends without an error.

    One BLAS thread (results are promised byte-identical only then); warnings are captured, each once.
    """
    figures: dict[str, Any] = {}
    is_reset = reset_peak_memory()
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, threadpoolctl.threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("default")
        yield figures
    figures.update(
        seconds=round(time.perf_counter() - start, 4),
        peak_bytes=peak_memory() if is_reset else None,
        host=socket.gethostname(),
        job=job_id(),
        threads=threads.available(),
        xp=os.environ.get("HPC_RECON_XP", "auto"),
        blas=blas_kernels(),
        versions=versions(),
        warnings=list(dict.fromkeys(one_line(w) for w in caught)),
    )
