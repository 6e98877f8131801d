"""Stopping on Ctrl-C and SIGTERM: once, what runs is finished; twice, now."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop(KeyboardInterrupt):
    """A second Ctrl-C: leave at once."""


@dataclass
class Drain:
    """Whether the user asked to stop: once, finish what runs; twice, now."""

    asked: int = 0

    def ask(self) -> None:
        """Count a Ctrl-C or SIGTERM.

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
    """Put the handlers of Ctrl-C and SIGTERM back that were there before the block; for imports that set their own."""
    old = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def draining(say: Callable[[str], None]) -> Iterator[Drain]:
    """Turn Ctrl-C and SIGTERM into draining while the block runs; only in the main thread."""
    drain = Drain()

    def handle(*_: object) -> None:
        if not drain.asked:
            say("stopping when the tiles that run now are done; press Ctrl-C again to stop at once")
        drain.ask()

    with handlers_kept():
        for number in _SIGNALS:
            signal.signal(number, handle)
        yield drain
