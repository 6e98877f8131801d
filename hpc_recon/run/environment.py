"""Whether workers run in the same environment as the controller: versions, processor, the kernels of their BLAS.

A node with other versions of what matters, or that cannot import it, is not used at all (`run.worker` refuses before
it starts). What is left are differences that may change last digits: such a node is named, once.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import queue
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

from hpc_recon.core import receipts, storage
from hpc_recon.core.errors import ClusterError
from hpc_recon.core.files import write_json
from hpc_recon.core.places import RECEIPTS
from hpc_recon.run import measure
from hpc_recon.run.schedulers import node_name
from hpc_recon.run.worker import BLAS, SAME_VERSION, agree, nvidia_smi, same_kernels, versions, visible_gpus

#: Workers say here what they have.
ENVIRONMENT_TOPIC = "hpc_recon-environment"


def families(libraries: Iterable[str]) -> str:
    """Return the kernel families of BLAS libraries; which libraries are loaded depends on what a process has done.

    >>> families(["openblas SkylakeX", "openblas SkylakeX", "mkl"]), families(["mkl"])
    ('SkylakeX', 'mkl')
    """
    names = sorted(libraries)
    found = {name.partition(" ")[2] for name in names if " " in name}
    return ", ".join(sorted(found or set(names)))


def devices() -> dict[str, str]:
    """Return what decides the last digits of a result on this node: the BLAS kernels, the GPU if one may be used."""
    import numpy  # noqa: F401 - its BLAS is what is described

    found = {BLAS: families(measure.blas_kernels())}
    if os.environ.get("HPC_RECON_XP", "auto") != "numpy" and visible_gpus(os.environ) != []:
        found["GPU"] = ", ".join(sorted(set(nvidia_smi("name") or []))) or "none"
    else:
        found["GPU"] = "none"
    return found


def describe() -> dict[str, str]:
    """Return host, versions and BLAS kernels of this process; the controller's is what nodes are compared with."""
    import numpy  # noqa: F401 - its BLAS is what is described

    return {
        "host": node_name(),
        **versions((*SAME_VERSION, *measure.RECORDED)),
        "machine": platform.machine(),
        BLAS: families(measure.blas_kernels()),
    }


def expectation_path(folder: Path, nonce: str) -> Path:
    """Return the file that tells the workers of one run what the controller has."""
    return folder / f"environment-{nonce}.json"


@contextlib.contextmanager
def expectations(workspace: Path, nonce: str, *, strict: bool) -> Iterator[None]:
    """Tell the workers of one run what they must have, in `<workspace>/jobs`; nothing of it is left afterwards.

    Parameters
    ----------
    strict
        Only nodes of the kind (BLAS kernels, GPU) that made the study's results so far; of one kind, if it has none.
    """
    folder = workspace / "jobs"
    # Whoever left some was killed: there is one controller a study, and its jobs have been cancelled.
    _forget_expectations(folder)
    write_json(expectation_path(folder, nonce), {"controller": describe(), "strict": strict})
    try:
        if strict and (blas := _kernels_so_far(workspace)):
            agree(folder, nonce, {BLAS: blas})
        yield
    finally:
        _forget_expectations(folder)


def require_same_kind(workspace: Path) -> None:
    """Raise unless this machine is of the kind that made the study's results so far; for workers on this machine.

    Raises
    ------
    ClusterError
        With both kinds.
    """
    so_far, own = _kernels_so_far(workspace), devices()[BLAS]
    if so_far is not None and not same_kernels(own, so_far):
        raise ClusterError(
            f"this machine's BLAS kernels are {own}, the results so far were made with {so_far}, and --strict-device "
            "was given. Compute on a machine of that kind, or without --strict-device: last digits may then differ"
        )


def _forget_expectations(folder: Path) -> None:
    for pattern in ("environment-*.json", "devices-*.txt", "broken-*.json"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _kernels_so_far(workspace: Path) -> str | None:
    """Return the BLAS kernels that made the first result of the study that recorded them."""
    for verb in storage.of(workspace).listing(RECEIPTS)[1]:  # receipts may lie in an object store
        for _, receipt in receipts.iterate(workspace, verb):
            if blas := receipt.run.get("blas"):
                return families(blas)
    return None


def differences(worker: dict[str, str], controller: dict[str, str]) -> list[str]:
    """Return `what: theirs (controller: ours)` for everything but the host in which two descriptions differ.

    >>> differences({"host": "n1", "version of numpy": "2.3.0"}, {"host": "n0", "version of numpy": "2.4.1"})
    ['version of numpy: 2.3.0 (controller: 2.4.1)']
    """
    names = [name for name in dict.fromkeys((*controller, *worker)) if name != "host"]
    return [
        f"{name}: {worker.get(name, 'none')} (controller: {controller.get(name, 'none')})"
        for name in names
        if not _alike(name, worker.get(name), controller.get(name))
    ]


def _alike(name: str, worker: str | None, controller: str | None) -> bool:
    if worker is None or controller is None:
        return worker == controller
    return same_kernels(worker, controller) if name == BLAS else worker == controller


@functools.lru_cache(maxsize=1)
def introduce(worker: Any) -> None:
    """Tell the controller of this worker's environment, before its first tile; once in a process."""
    worker.log_event(ENVIRONMENT_TOPIC, [describe()])  # into a dict, dask would write its own keys


@dataclass
class Inspector:
    """Hears what workers have, and says what differs, once for each host.

    Workers speak by themselves: one that dies while it is asked would hold the controller up.
    """

    client: Client
    say: Callable[[str], None]
    heard: queue.SimpleQueue[dict[str, str]] = field(default_factory=queue.SimpleQueue)
    named: set[str] = field(default_factory=set)
    own: dict[str, str] = field(default_factory=describe)

    def __post_init__(self) -> None:
        self.client.subscribe_topic(ENVIRONMENT_TOPIC, lambda event: self.heard.put(event[1][0]))

    def look(self) -> None:
        """Say what was heard since the last look."""
        while not self.heard.empty():
            other = self.heard.get()
            found = differences(other, self.own)
            if found and other["host"] not in self.named:
                self.named.add(other["host"])
                self.say(
                    f"the node {other['host']} has another environment than this controller; results may differ in "
                    f"their last digits: {'; '.join(found)}. Give both the same Python environment (`python:` in the "
                    "cluster file), or use nodes of one kind only: --strict-device"
                )
