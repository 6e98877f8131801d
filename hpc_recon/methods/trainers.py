"""What can be trained: the contract of a trainer, the table that says which module has which, and checkpoints.

A trainer is networks, losses and one step. The loop (`hpc_recon.training.loop`) knows nothing else of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import replacing
from hpc_recon.nets.weights import plain_content

#: Module of each trainer; it has a function `trainer(options, *, n_voxels, seed, device) -> Trainer`.
TRAINERS = {
    "end_to_end": "hpc_recon.methods.end_to_end",
    "shape_semantic": "hpc_recon.methods.shape_semantic",
    "latent_layer": "hpc_recon.methods.latent_layer",
}
#: Version of the content of checkpoints.
FORMAT = 1


class Trainer(Protocol):
    """Networks that are trained together."""

    #: Names of the numbers that a step returns, in the order of the table of losses.
    columns: tuple[str, ...]

    def step(self, batch: Mapping[str, Array]) -> dict[str, float]:
        """Learn from one batch; return losses by name (those that were not computed are absent)."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, the random state included."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        ...

    def pictures(self, batch: Mapping[str, Array]) -> Array:
        """Return what a batch shows and what is made of it, (n, 2, H, W, 3) uint8 RGB; changes nothing."""
        ...


def make(options: Any, *, n_voxels: int, seed: int, device: str) -> Trainer:
    """Return a new trainer of the method that the options name."""
    module = importlib.import_module(TRAINERS[options.method])
    return cast("Trainer", module.trainer(options, n_voxels=n_voxels, seed=seed, device=device))


@contextmanager
def own_randomness(device: str) -> Iterator[None]:
    """Within the block torch's random state is free to change; afterwards it is what it was."""
    devices = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        yield


def random_state(device: str) -> dict[str, Any]:
    """Return torch's random state on the CPU and on the device."""
    found = {"cpu": torch.get_rng_state()}
    if device.startswith("cuda"):
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def set_random_state(state: Mapping[str, Any], device: str) -> None:
    """Set what `random_state` returned; a GPU that goes on from a CPU's checkpoint is seeded by the CPU's state."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.startswith("cuda"):
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"].cpu())
        else:
            torch.cuda.manual_seed(int(state["cpu"].long().sum()))


@dataclass(frozen=True)
class Checkpoint:
    """A training after some step.

    Attributes
    ----------
    step
        Steps done since it began.
    made_by
        Digest of the settings and inputs of the training; those of another training are not taken.
    trainer
        State of the trainer.
    arrays
        What else goes with it: numbers by name.
    """

    step: int
    made_by: str
    trainer: Mapping[str, Any]
    arrays: Mapping[str, Array]


def save(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint: a reader sees the old file, the new one, or none."""
    content = {
        "format": FORMAT,
        "step": checkpoint.step,
        "made_by": checkpoint.made_by,
        "trainer": dict(checkpoint.trainer),
        "arrays": {name: torch.from_numpy(np.array(values)) for name, values in checkpoint.arrays.items()},
    }
    with replacing(path) as stream:
        torch.save(content, stream)
    return path


def read(path: Path, *, remedy: str) -> Checkpoint:
    """Read a checkpoint, its tensors onto the CPU; nothing but plain tensors, numbers and text is accepted.

    Raises
    ------
    DamagedStore
        If it is absent or cannot be read; `remedy` says what to do.
    """
    try:
        found: Any = plain_content(path)
    except FileNotFoundError as error:
        raise DamagedStore(f"the checkpoint {path} is absent; {remedy}") from error
    except ValueError as error:
        raise DamagedStore(f"the checkpoint {path} cannot be read ({error}); {remedy}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DamagedStore(f"{path} is not a checkpoint of format {FORMAT}; {remedy}")
    arrays = {name: values.numpy() for name, values in found["arrays"].items()}
    return Checkpoint(int(found["step"]), str(found["made_by"]), found["trainer"], arrays)
