"""The GPUs of this machine, for the cluster `cuda`: one worker process each, which sees that GPU alone."""

from __future__ import annotations

import os

from hpc_recon.core.errors import ClusterError
from hpc_recon.run.worker import VISIBLE, nvidia_smi, visible_gpus


def gpus() -> list[str]:
    """Return this machine's GPUs, by the names that `CUDA_VISIBLE_DEVICES` takes: its own, else all that there are.

    Raises
    ------
    ClusterError
        If there is none.
    """
    named = visible_gpus(os.environ)
    if named:
        return named
    if named is not None:
        raise ClusterError(
            f"{VISIBLE} is {os.environ[VISIBLE]!r}: it hides every GPU; name some, or use --cluster local"
        )
    found = nvidia_smi("index")
    if not found:
        why = "nvidia-smi names none" if found is not None else "nvidia-smi is not there, or does not answer"
        raise ClusterError(
            f"the cluster 'cuda' needs an NVIDIA GPU on this machine: {why}. Name GPUs with {VISIBLE}, submit jobs to "
            "a cluster that has them, or compute on the CPU with --cluster local"
        )
    return found
