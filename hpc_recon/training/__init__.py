"""Layer 2: what one tile of `train` reads, learns and writes, and the table that says which module plans what.

What a module of the table does for an entry of its method is `Learner`; the steps themselves are `parts` and `loop` for
all, and how a network learns from a batch is `hpc_recon.methods`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from hpc_recon.core.array import Array
    from hpc_recon.core.config import Study
    from hpc_recon.core.tiles import Group, Need, Shapes, Tile
    from hpc_recon.methods.trainers import Checkpoint

#: Module of each method.
LEARNERS = {
    "end_to_end": "hpc_recon.training.end_to_end",
    "shape_semantic": "hpc_recon.training.shape_semantic",
    "latent_layer": "hpc_recon.training.latent_layer",
}


@dataclass(frozen=True)
class Place:
    """An entry of `train`, a split and an ROI: one network."""

    name: str
    split: str
    roi: str


class Stream(Protocol):
    """Batches of a network by number of the step, the same whoever asks."""

    @property
    def n_inputs(self) -> int:
        """Numbers that are read of each sample: voxels, or those of a semantic vector."""
        ...

    @property
    def arrays(self) -> dict[str, Array]:
        """What goes into a checkpoint beside the trainer."""
        ...

    def batch(self, step: int) -> dict[str, Array]:
        """Return the batch of a step."""
        ...

    def examples(self, n: int) -> dict[str, Array]:
        """Return some samples, the same whatever the step."""
        ...


class Learner(Protocol):
    """The functions of a module of this library that plans a method's networks and gives their batches."""

    def check(self, study: Study, shapes: Shapes, name: str) -> None:
        """Raise unless the networks of an entry have what it reads of them; nothing is computed."""
        ...

    def group(self, study: Study, shapes: Shapes, place: Place) -> Group:
        """Return the group of one network, `train/<name>/<split>/<roi>`: what its weights depend on."""
        ...

    def first_tiles(self, study: Study, shapes: Shapes, place: Place) -> list[Tile]:
        """Return the tiles that must be done before a network's steps."""
        ...

    def need_of(self, study: Study, shapes: Shapes, place: Place, *, n_steps: int) -> Need:
        """Project a part of a network's training."""
        ...

    def prepare(self, study: Study, place: Place) -> None:
        """Look, on the controller, whether there are the samples that an entry asks for."""
        ...

    def stream(self, study: Study, place: Place, begun: Checkpoint | None) -> Stream:
        """Return the batches of a network; voxels are z-scored as a checkpoint that it goes on from says."""
        ...

    def flops(self, options: Any, n_inputs: int) -> int:
        """Return the operations for one sample, or a hundred for each activation."""
        ...


def learner(method: str) -> Learner:
    """Import the module of a method."""
    return cast(Learner, importlib.import_module(LEARNERS[method]))
