"""Ctrl-C, SIGTERM and a lost terminal: once, what runs is finished; twice, now."""

import os
import signal
import subprocess
import sys

import pytest

from hpc_recon.run.draining import Drain, Stop, draining, handlers_kept


def test_twice_is_now():
    drain = Drain()
    drain.ask()
    with pytest.raises(Stop):
        drain.ask()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_counted_and_said_once(number):
    said = []
    before = signal.getsignal(number)
    with draining(said.append) as drain:
        os.kill(os.getpid(), number)
        assert drain.asked == 1
        with pytest.raises(Stop):
            os.kill(os.getpid(), number)
    assert len(said) == 1
    assert "press Ctrl-C again" in said[0]
    assert signal.getsignal(number) is before


@pytest.fixture
def hangups_are_not_ignored():
    """Let SIGHUP be what it is in a terminal, where these tests run under `nohup` too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups_are_not_ignored")
def test_a_lost_terminal_is_counted_once_however_often_it_is_told():
    said = []
    with draining(said.append) as drain:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert drain.asked == 1
        with pytest.raises(Stop):
            os.kill(os.getpid(), signal.SIGTERM)
    assert len(said) == 1
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with draining(pytest.fail) as drain:
            os.kill(os.getpid(), signal.SIGHUP)
        assert drain.asked == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with handlers_kept():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_a_run_is_planned_is_no_success():
    """dask-jobqueue's import makes it one: the process ends at once, with exit code 0."""
    script = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import hpc_recon.run.session
from hpc_recon.run.cli import guarded
raise SystemExit(guarded(lambda: os.kill(os.getpid(), signal.SIGINT) or 0))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "stopped\n")
