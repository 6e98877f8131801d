"""Which device networks run on, and how to get the same numbers from it every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hpc_recon.core import threads

#: Set from `--xp`; `numpy` keeps networks on the CPU too.
VARIABLE = "HPC_RECON_XP"
#: Activations of one pass that keep one thread busy; measured with a quarter VGG-11 on two cores.
UNITS_PER_THREAD = 2**20


def choose() -> str:
    """Return `cuda` if torch sees a device and `--xp numpy` was not asked, else `cpu`."""
    return "cuda" if os.environ.get(VARIABLE) != "numpy" and torch.cuda.is_available() else "cpu"


def n_threads(n_units: int) -> int:
    """Return how many of the worker's threads a pass that computes `n_units` activations deserves.

    Below a million units a thread the threads wait for each other longer than they compute.
    """
    return max(1, min(threads.available(), n_units // UNITS_PER_THREAD))


@contextmanager
def settings(n_units: int) -> Iterator[None]:
    """Within the block torch uses `n_threads(n_units)` threads, full float32 precision and deterministic convolutions.

    Parameters
    ----------
    n_units
        Activations computed in one pass: those of all layers that run, times the images of the batch.

    Notes
    -----
    Everything is put back afterwards. On a busy machine threads that wait actively slow each other down: start
    workers with `OMP_WAIT_POLICY=PASSIVE`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads(n_units))
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)
