"""What a step of shape-semantic training costs, projected from shapes."""

from __future__ import annotations

import torch

from hpc_recon.core import threads
from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.nets.end_to_end_costs import FLOPS_PER_SECOND, NetworkCost, StepCost, count
from hpc_recon.nets.shape_semantic import PatchDiscriminator, Sizes, UNet

#: Forward passes that a step costs, backward ones counted twice: of the generator (one, and back), of the discriminator
#: (three, all of them back).
_GENERATOR, _DISCRIMINATOR = 3.0, 8.0


def networks(sizes: Sizes) -> tuple[NetworkCost, NetworkCost]:
    """Return what the generator and the discriminator cost; allocates nothing."""
    with torch.device("meta"):
        image = torch.zeros(1, 3, sizes.image_size, sizes.image_size)
        vector = torch.zeros(1, sizes.n_semantic)
        return count(UNet(sizes).eval(), image, vector), count(PatchDiscriminator(sizes).eval(), image, image)


def sizes_of(options: ShapeSemanticTraining, n_semantic: int) -> Sizes:
    """Return the sizes of the networks that the options ask for."""
    return Sizes(options.image_size, n_semantic, options.width, options.patch_layers, options.norm, options.dropout)


def project(options: ShapeSemanticTraining, n_semantic: int) -> StepCost:
    """Project the training of one network."""
    generator, discriminator = networks(sizes_of(options, n_semantic))
    trained, flops, numbers = generator.n_parameters, _GENERATOR * generator.flops, 3 * generator.activations
    if options.adversarial_weight:
        trained += discriminator.n_parameters
        flops += _DISCRIMINATOR * discriminator.flops
        numbers += 2 * 3 * discriminator.activations
    seconds = options.batch * flops / FLOPS_PER_SECOND / threads.available()
    return StepCost(
        seconds=(options.seconds_per_step or seconds) + 0.01,
        weights_bytes=4 * 5 * trained,
        # Normalisation, activation and dropout each keep a copy of a convolution's output.
        activations_bytes=options.batch * (4 * 3 * numbers + 4 * 24 * options.image_size**2),
        checkpoint_bytes=4 * 3 * trained,
    )
