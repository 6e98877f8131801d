"""The cluster `cuda`: this machine's GPUs, one worker process each, which sees that GPU alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Nanny, Scheduler, SpecCluster
from distributed.security import Security

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


def open_cluster(
    names: Sequence[str], *, security: Security, environment: Mapping[str, str], dashboard: bool
) -> SpecCluster:
    """Start a scheduler and a worker for each GPU, reachable on this machine only.

    Parameters
    ----------
    names
        GPUs, as `gpus` returns them.
    environment
        Variables of every worker.
    """
    common: dict[str, Any] = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    worker = {
        **common,
        "nthreads": 1,
        "memory_limit": None,
        "dashboard": True,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.ERROR,
        "preload": ["hpc_recon.run.preload"],
    }
    workers = {
        index: {"cls": Nanny, "options": {**worker, "env": {**environment, VISIBLE: name}}}
        for index, name in enumerate(names)
    }
    page = {"dashboard": dashboard, "dashboard_address": "127.0.0.1:0" if dashboard else None}
    scheduler = {"cls": Scheduler, "options": {**common, **page, "port": 0}}
    return SpecCluster(scheduler=scheduler, workers=workers, security=security, silence_logs=logging.ERROR)
