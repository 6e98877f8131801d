"""Ctrl-C and SIGTERM: once, what runs is finished; twice, now."""

import os
import signal

import pytest

from hpc_recon.run.draining import Drain, Stop, draining


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
