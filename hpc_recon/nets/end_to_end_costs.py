"""What a step of end-to-end training costs, projected from shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from hpc_recon.core import threads
from hpc_recon.core.tiles import Need, store_seconds
from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.core.training_options import TrainingOptions
from hpc_recon.nets import costs, zoo
from hpc_recon.nets.end_to_end import Discriminator, Generator, Sizes, comparator_network

#: Multiplications and additions a second of one thread in these networks, forwards and backwards (measured:
#: benchmarks/LOG.md, training).
FLOPS_PER_SECOND = 4e10
#: Forward passes that a step costs, backward ones counted twice: of the generator (one, and back), of the discriminator
#: (three, all of them back), of the comparator (two, one of them back to the image alone).
_GENERATOR, _DISCRIMINATOR, _COMPARATOR = 3.0, 8.0, 3.0


@dataclass(frozen=True)
class NetworkCost:
    """Parameters of a network; operations and numbers that a forward pass of one sample computes."""

    n_parameters: int
    flops: int
    activations: int


@lru_cache(maxsize=16)
def networks(sizes: Sizes) -> tuple[NetworkCost, NetworkCost]:
    """Return what the generator and the discriminator cost; allocates nothing."""
    with torch.device("meta"):
        generator, discriminator = Generator(sizes), Discriminator(sizes)
        shown = torch.zeros(1, 3, sizes.crop, sizes.crop)
        return count(generator, torch.zeros(1, sizes.n_voxels)), count(discriminator, shown)


def count(module: nn.Module, *given: torch.Tensor) -> NetworkCost:
    """Return what a forward pass of one sample costs; convolutions and fully connected layers count."""
    flops, numbers = [], []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight: Any = layer.weight
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        flops.append(2 * weight.numel() * (places[0, 0].numel() if places.ndim == 4 else 1))
        numbers.append(output.numel())

    handles = [
        layer.register_forward_hook(note)
        for layer in module.modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
    ]
    module(*given)
    for handle in handles:
        handle.remove()
    return NetworkCost(sum(p.numel() for p in module.parameters()), sum(flops), sum(numbers))


@dataclass(frozen=True)
class StepCost:
    """What training needs: a step's seconds, bytes of weights and optimisers, of activations, and of a checkpoint."""

    seconds: float
    weights_bytes: int
    activations_bytes: int
    checkpoint_bytes: int

    def need(self, options: TrainingOptions, *, n_steps: int, data_bytes: int, held_bytes: int) -> Need:
        """Project a part of a network's training, which begins and ends with a checkpoint.

        Parameters
        ----------
        data_bytes
            Of the data that it reads.
        held_bytes
            In memory beside the networks: data and batches.
        """
        networks = self.weights_bytes + self.activations_bytes
        read = data_bytes + self.checkpoint_bytes
        return Need(
            host_bytes=costs.TORCH_BYTES + networks + self.checkpoint_bytes + held_bytes,
            device_bytes=networks,
            bytes_in=read,
            bytes_out=self.checkpoint_bytes,
            files_out=3 + (n_steps - 1) // (options.pictures_every or n_steps),
            seconds=store_seconds(read + self.checkpoint_bytes) + n_steps * self.seconds,
        )


def project(options: EndToEndTraining, n_voxels: int) -> StepCost:
    """Project the training of one network."""
    generator, discriminator = networks(Sizes.of(options, n_voxels))
    trained, flops, numbers = generator.n_parameters, _GENERATOR * generator.flops, 3 * generator.activations
    if options.losses.adversarial:
        trained += discriminator.n_parameters
        flops += _DISCRIMINATOR * discriminator.flops
        numbers += 2 * 3 * discriminator.activations
    frozen_bytes, seconds, comparing = 0, 0.0, 0
    if options.losses.feature:
        network = comparator_network(options.comparator, crop=options.crop)
        structure = zoo.structure(network, image_size=options.crop)
        frozen_bytes = zoo.loading_bytes(network, image_size=options.crop)[1]
        seconds = _COMPARATOR * costs.forward_seconds(structure, options.comparator.layers)
        comparing = costs.gradient_bytes(structure, options.comparator.layers)
    seconds += flops / FLOPS_PER_SECOND / threads.available()
    return StepCost(
        seconds=(options.seconds_per_step or options.batch * seconds) + 0.002,
        # Weights, gradients and two means; one root of the largest layer beside them.
        weights_bytes=4 * 5 * trained + frozen_bytes,
        activations_bytes=options.batch * (4 * numbers + comparing + 24 * options.crop**2),
        checkpoint_bytes=4 * 3 * trained,
    )
