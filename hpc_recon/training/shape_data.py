"""Batches of shape-semantic training: joined shape, semantic vector and image of a row, by number of the step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.methods import shape_semantic
from hpc_recon.training import Place, pictures, shape_inputs, shape_sources
from hpc_recon.training.order import Order
from hpc_recon.training.shape_inputs import Inputs


@dataclass(frozen=True)
class ShapeStream:
    """Batches of one entry for one split and ROI: the same for a step, whoever asks and how often."""

    options: ShapeSemanticTraining
    inputs: Inputs
    #: (n, size, size, 3) uint8, in the order of the rows of the inputs.
    images: Array
    order: Order

    @property
    def n_inputs(self) -> int:
        """Numbers of the semantic vector."""
        return self.inputs.n_semantic

    @property
    def arrays(self) -> dict[str, Array]:
        """What goes into a checkpoint beside the trainer: nothing; the inputs have a file of their own."""
        return {}

    def batch(self, step: int) -> dict[str, Array]:
        """Return `shape`, `semantic`, `images` and `weight` of a step; image and shape are moved together."""
        members = np.concatenate(
            [self.order.buffers(part.buffer[0])[0][part.places] for part in self.order.batch(step, self.options.batch)]
        )
        found = self._of(members)
        if self.options.shift:
            rng = np.random.default_rng(seed_of(self.order.seed, "shifts", step))
            moves = rng.integers(-self.options.shift, self.options.shift + 1, size=(len(members), 2))
            for name in ("shape", "images"):
                found[name] = np.stack([moved(one, *by) for one, by in zip(found[name], moves.tolist(), strict=True)])
        return found

    def examples(self, n: int) -> dict[str, Array]:
        """Return the first images of the order that have brain data: the same whatever the step."""
        first = self.order.buffers(0)[0]
        return self._of(np.sort(first[self.inputs.has_brain[first]][:n]))

    def _of(self, members: Array) -> dict[str, Array]:
        augments = self.options.augments
        weight = np.ones(len(members), np.float32)
        if augments is not None:
            weight[~self.inputs.has_brain[members]] = augments.weight
        return {
            "shape": shape_semantic.as_input(self.inputs.shape[members], size=self.options.image_size),
            "semantic": self.inputs.semantic[members],
            "images": np.ascontiguousarray(self.images[members].transpose(0, 3, 1, 2)),
            "weight": weight,
        }


def moved(image: Array, down: int, right: int) -> Array:
    """Return an image (C, H, W) moved by whole pixels; what comes in repeats its edge.

    >>> moved(np.arange(3)[None, None], 0, 1).tolist()
    [[[0, 0, 1]]]
    """
    height, width = image.shape[1:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return np.ascontiguousarray(image[:, rows[:, None], columns])


def stream(study: Study, place: Place) -> ShapeStream:
    """Return the batches of an entry, whose inputs were made."""
    options, inputs = shape_sources.options_of(study, place), shape_inputs.read(study, place)
    ascending = np.sort(inputs.rows)
    shown = pictures.read(study, ascending, size=options.image_size)[np.searchsorted(ascending, inputs.rows)]
    seed = seed_of(study.seed, "training", options.seed, place.split, place.roi)
    n = len(inputs.rows)
    return ShapeStream(options, inputs, shown, Order(n, n, seed, every_pass=True))
