"""Which device networks run on, and how to get the same numbers from it every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hpc_recon.core import threads

#: Set from `--xp`; `numpy` keeps networks on the CPU too.
VARIABLE = "HPC_RECON_XP"


def choose() -> str:
    """Return `cuda` if torch sees a device and `--xp numpy` was not asked, else `cpu`."""
    return "cuda" if os.environ.get(VARIABLE) != "numpy" and torch.cuda.is_available() else "cpu"


@contextmanager
def settings() -> Iterator[None]:
    """Within the block torch uses the worker's threads, full float32 precision and deterministic convolutions.

    Everything is put back afterwards. The number of threads does change the last bits of a convolution.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads.available())
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)
