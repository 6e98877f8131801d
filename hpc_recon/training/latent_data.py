"""Batches of brain samples and the latents of what they show, with a bounded buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.core.sampling import seed_of
from hpc_recon.numerics import activity
from hpc_recon.stores import brain, layout
from hpc_recon.stores.items import true_features
from hpc_recon.training import data
from hpc_recon.training.buffers import Held, held
from hpc_recon.training.data import Samples, Scaled, Scaling
from hpc_recon.training.order import Order


def options_of(study: Study, name: str) -> LatentLayerTraining:
    """Return the options of an entry of method `latent_layer`."""
    options = study.train[name]
    assert isinstance(options, LatentLayerTraining), options.method
    return options


def layers_of(study: Study, options: LatentLayerTraining) -> tuple[str, ...]:
    """Return the layers that make up the latent."""
    return options.layers or study.networks[options.network].layers


def in_buffer(options: LatentLayerTraining, *, n_samples: int, n_voxels: int, n_numbers: int) -> int:
    """Return how many samples are in memory at once: all if they fit with their latents, else what fits twice."""
    return held(n_samples, n_samples, sample_bytes=4 * n_voxels, shown_bytes=4 * n_numbers, room=options.buffer_bytes)


def scaling_of(study: Study, options: LatentLayerTraining, samples: Samples) -> Scaling:
    """Return what voxels are taken as: z-scored or as they are; constant ones, and those not among the most active, 0.

    Raises
    ------
    DataError
        If all voxels are constant.
    """
    known = data.scaling_of(study, samples)
    used = known.scale > 0
    if options.most_active is not None:
        active = options.most_active
        used = np.isin(np.arange(len(used)), activity.largest(known.mean, known.scale, active.voxels, by=active.by))
    if options.inputs == "stored":
        return Scaling(np.zeros_like(known.mean), used.astype(np.float64), known.n_averaged)
    return Scaling(known.mean, np.where(used, known.scale, 0.0), known.n_averaged)


@dataclass
class LatentStream(Scaled):
    """Batches by number of the step; from several threads at once, if need be. At most two buffers are in memory."""

    size: int
    order: Order
    scaling: Scaling
    #: (n,) rows of the stimulus table, by place of the sample.
    stimuli: Array
    #: Read samples by ascending place (n, n_voxels), and latents by row of the stimulus table (n, d).
    read_samples: Callable[[Array], Array]
    read_latents: Callable[[Array], Array]
    _held: Held[tuple[Array, Array]] = field(default_factory=Held)

    def batch(self, step: int) -> dict[str, Array]:
        """Return `voxels` (n, n_voxels) and `latents` (n, d) of a step, float32."""
        voxels, latents = [], []
        for part in self.order.batch(step, self.size):
            samples, numbers, members = self._buffer(part.buffer)
            own = members[part.places]
            voxels.append(samples[own])
            latents.append(numbers[own])
        return {"voxels": self.scaling.apply(np.concatenate(voxels)), "latents": np.concatenate(latents)}

    def examples(self, n: int) -> dict[str, Array]:
        """Return the first samples of the first pass: the same whatever the step."""
        places = np.sort(self.order.buffers(0)[0][: min(n, self.order.n)])
        latents = self.read_latents(self.stimuli[places])
        return {"voxels": self.scaling.apply(self.read_samples(places)), "latents": latents}

    def _buffer(self, number: tuple[int, int]) -> tuple[Array, Array, Array]:
        """Return samples and latents of a buffer by place, and the rows of these in the order of that pass."""
        members = self.order.buffers(number[0])[number[1]]
        key = (0, 0) if self.order.in_buffer >= self.order.n else number  # all are held once for all passes
        places = np.sort(members)
        samples, latents = self._held.get(
            key, lambda: (self.read_samples(places), self.read_latents(self.stimuli[places]))
        )
        return samples, latents, np.searchsorted(places, members)


def stream(study: Study, name: str, split: str, roi: str, *, scaling: Scaling | None = None) -> LatentStream:
    """Return the batches of an entry of `train` for one split and ROI.

    Parameters
    ----------
    scaling
        As a checkpoint holds it; None: from all samples, which are read once for it.
    """
    options, workspace = options_of(study, name), layout.workspace_of(study)
    labels = brain.read_labels(workspace, split, study.training_dataset)
    samples = data.samples_of(study, split, roi, np.arange(len(labels)), labels)
    known = scaling_of(study, options, samples) if scaling is None else scaling
    layers = layers_of(study, options)

    def latents(rows: Array) -> Array:
        return np.concatenate([true_features(study, options.network, layer, rows) for layer in layers], axis=1)

    n_numbers = latents(samples.stimuli[:1]).shape[1]
    room = in_buffer(options, n_samples=len(labels), n_voxels=len(known.mean), n_numbers=n_numbers)
    seed = seed_of(study.seed, "training", options.seed, split, roi)
    order = Order(len(labels), room, seed, every_pass=True)
    return LatentStream(
        options.batch, order, known, samples.stimuli, lambda places: samples.read(study, places), latents
    )
