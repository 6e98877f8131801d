"""Loaded by dask into each local worker process when it starts."""

from __future__ import annotations

import signal


def dask_setup(worker: object) -> None:
    """Ignore Ctrl-C: a terminal sends it to the controller's workers too, but the controller alone drains them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
