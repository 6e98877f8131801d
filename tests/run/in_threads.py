"""Workers that are threads of this process, for tests in which the process of a worker is not the point.

The whole run is real (session, lease, ledger, runner, dask's scheduler, receipts); what is left out are processes, TLS
and web pages, which take seconds to start.

    with in_threads.used():
        fit.main([...])
"""

import contextlib
import logging
import sys
import unittest.mock

from distributed import Scheduler, SpecCluster, Worker

from hpc_recon.run import here

#: What the caches of these hold is the same in every workspace, and takes long to make.
KEPT = ("hpc_recon.numerics", "hpc_recon.nets")


def forget():
    """Empty the caches that a new process would begin without."""
    for name, module in list(sys.modules.items()):
        if name.startswith("hpc_recon.") and not name.startswith(KEPT):
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


def open_cluster(environments, **_):
    """Stand in for `hpc_recon.run.here.open_cluster`."""
    forget()
    common = {"host": None, "protocol": "inproc://", "dashboard_address": "127.0.0.1:0", "dashboard": False}
    worker = {"cls": Worker, "options": {**common, "nthreads": 1, "memory_limit": None, "silence_logs": logging.ERROR}}
    workers = dict(enumerate([worker] * len(environments)))
    scheduler = {"cls": Scheduler, "options": {**common, "port": 0}}
    return SpecCluster(scheduler=scheduler, workers=workers, silence_logs=logging.ERROR)


@contextlib.contextmanager
def used():
    """Runs on this machine, begun in this block by this process, have threads as workers."""
    with unittest.mock.patch.object(here, "open_cluster", open_cluster), unittest.mock.patch.dict("os.environ"):
        yield
    forget()
