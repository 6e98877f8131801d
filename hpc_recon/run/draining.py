"""Stopping on Ctrl-C, SIGTERM and a lost terminal: once, what runs is finished; Ctrl-C or SIGTERM twice, now."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpc_recon.run import terminal

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(KeyboardInterrupt):
    """A second Ctrl-C: leave at once."""


@dataclass
class Drain:
    """Whether the user asked to stop: once, finish what runs; twice, now."""

    asked: int = 0

    def ask(self) -> None:
        """Count a Ctrl-C, SIGTERM or SIGHUP.

        Raises
        ------
        Stop
            The second time.
        """
        self.asked += 1
        if self.asked > 1:
            raise Stop


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of these signals back that were there before the block; for imports that set their own."""
    old = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def draining(say: Callable[[str], None]) -> Iterator[Drain]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into draining while the block runs; only in the main thread.

    SIGHUP says that the terminal is gone, or its shell goes: it may come several times, so a second one is not "now".
    Where it is ignored (`nohup`), it stays so.
    """
    drain = Drain()

    def handle(*_: object) -> None:
        if not drain.asked:
            say("stopping when the tiles that run now are done; press Ctrl-C again to stop at once")
        drain.ask()

    def handle_hangup(*_: object) -> None:
        terminal.leave_lost()
        if not drain.asked:
            handle()

    with handlers_kept():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, handle_hangup)
        yield drain
