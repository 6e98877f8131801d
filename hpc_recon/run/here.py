"""Workers on this machine: a scheduler in this process, and a worker process for each environment that is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Nanny, Scheduler, SpecCluster
from distributed.security import Security


def open_cluster(environments: Sequence[Mapping[str, str]], *, security: Security, dashboard: bool) -> SpecCluster:
    """Start a scheduler and its workers, reachable on this machine only.

    Parameters
    ----------
    environments
        Variables of each worker.
    dashboard
        Whether the scheduler and the workers have web pages: a second of CPU at the start, and 20 MB a process.
    """
    # Without pages both listen for HTTP all the same: where, is said, else it would be one and the same port for all.
    web = {"dashboard": dashboard, "dashboard_address": "127.0.0.1:0"}
    common: dict[str, Any] = {"host": "127.0.0.1", "protocol": "tls://", "security": security, **web}
    worker = {
        **common,
        "nthreads": 1,
        "memory_limit": None,
        "silence_logs": logging.ERROR,
        "preload": ["hpc_recon.run.preload"],
    }
    workers = {
        index: {"cls": Nanny, "options": {**worker, "env": dict(environment)}}
        for index, environment in enumerate(environments)
    }
    scheduler = {"cls": Scheduler, "options": {**common, "port": 0}}
    return SpecCluster(scheduler=scheduler, workers=workers, security=security, silence_logs=logging.ERROR)
