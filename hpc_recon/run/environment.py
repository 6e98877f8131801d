"""Whether workers run in the same environment as the controller: versions, and the kernels of their BLAS.

Equal bytes are promised for equal versions and kernels only, so a node that differs is named, once.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distributed import Client

from hpc_recon.run import measure


def describe() -> dict[str, str]:
    """Return host, versions, and BLAS kernels of this process."""
    import numpy  # noqa: F401 - its BLAS is what is described

    return {
        "host": platform.node(),
        **{f"version of {name}": version for name, version in measure.versions().items()},
        # The family alone: which libraries are loaded depends on what the process has done so far.
        "BLAS kernels": ", ".join(sorted({name.partition(" ")[2] or name for name in measure.blas_kernels()})),
    }


def differences(worker: dict[str, str], controller: dict[str, str]) -> list[str]:
    """Return `what: theirs (controller: ours)` for everything but the host in which two descriptions differ.

    >>> differences({"host": "n1", "version of numpy": "2.3.0"}, {"host": "n0", "version of numpy": "2.4.1"})
    ['version of numpy: 2.3.0 (controller: 2.4.1)']
    """
    names = [name for name in dict.fromkeys((*controller, *worker)) if name != "host"]
    return [
        f"{name}: {worker.get(name, 'none')} (controller: {controller.get(name, 'none')})"
        for name in names
        if worker.get(name) != controller.get(name)
    ]


@dataclass
class Inspector:
    """Asks each worker once, when it has joined; says what differs, once for each host."""

    client: Client
    say: Callable[[str], None]
    seen: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=describe)

    def look(self) -> None:
        """Ask workers that joined since the last look."""
        joined = [
            address for address in self.client.scheduler_info(n_workers=-1)["workers"] if address not in self.seen
        ]
        if not joined:
            return
        self.seen.update(joined)
        # A worker that leaves while it is asked counts as not asked: its successor will be.
        answers: dict[str, Any] = self.client.run(describe, workers=joined, on_error="ignore")
        for answer in answers.values():
            found = differences(answer, self.own)
            if found and answer["host"] not in self.named:
                self.named.add(answer["host"])
                self.say(
                    f"the node {answer['host']} has another environment than this controller; results may differ in "
                    f"their last digits: {'; '.join(found)}. Give both the same Python environment (`python:` in the "
                    "cluster file)"
                )
