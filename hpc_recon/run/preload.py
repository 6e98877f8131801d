"""Loaded by dask into each local worker process when it starts."""

from __future__ import annotations

import logging
import signal
from typing import Any

from distributed.core import Status

#: A worker in one of these states is on its way out.
LEAVING = frozenset({Status.closing, Status.closing_gracefully, Status.closed})


def dask_setup(worker: Any) -> None:
    """Prepare a worker that shares the controller's terminal.

    Ctrl-C and SIGHUP are ignored: a terminal sends them to the controller's workers too, but the controller alone
    drains them. A worker on its way out says nothing: a heartbeat that its closing cuts off would print a traceback.
    Nor does one whose tile failed: the controller tries it again, or reports it once, with a file that holds the
    traceback.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def is_news(record: logging.LogRecord) -> bool:
        return worker.status not in LEAVING and not str(record.msg).startswith("Compute Failed")

    logging.getLogger("distributed.worker").addFilter(is_news)
