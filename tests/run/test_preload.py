"""Local workers ignore Ctrl-C and a lost terminal, and leave without a word."""

import logging
import signal
from types import SimpleNamespace

import pytest
from distributed.core import Status

from hpc_recon.run import preload


@pytest.fixture
def worker():
    """Return a stand-in for a worker after its set-up; signals and filters are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    logger = logging.getLogger("distributed.worker")
    filters = list(logger.filters)
    stand_in = SimpleNamespace(status=Status.running)
    preload.dask_setup(stand_in)
    yield stand_in
    for number, handler in before.items():
        signal.signal(number, handler)
    logger.filters[:] = filters


def test_interrupts_are_ignored(worker):
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_worker_on_its_way_out_says_nothing(worker, caplog):
    logger = logging.getLogger("distributed.worker")
    logger.error("Failed to communicate with scheduler during heartbeat")
    assert "heartbeat" in caplog.text
    caplog.clear()
    worker.status = Status.closing
    logger.error("Failed to communicate with scheduler during heartbeat")
    assert caplog.text == ""


def test_a_failed_tile_is_left_to_the_controller_to_report(worker, caplog):
    logging.getLogger("distributed.worker").error("Compute Failed\nKey:       %s", "fit-x")
    assert caplog.text == ""
