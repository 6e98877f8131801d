"""Workers ignore Ctrl-C."""

import signal

from hpc_recon.run import preload


def test_interrupts_are_ignored():
    before = signal.getsignal(signal.SIGINT)
    try:
        preload.dask_setup(None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
