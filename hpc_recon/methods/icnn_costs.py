"""What deep image reconstruction costs, projected from shapes: bytes, seconds, and how many images go together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hpc_recon.core.icnn_options import GeneratorLatent, Lbfgs
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods.icnn import n_snapshots
from hpc_recon.methods.latents import working_size
from hpc_recon.nets import costs, latents, zoo

#: Evaluations of the loss in one iteration of L-BFGS, rejected steps included (measured: 1.1 to 1.3).
EVALUATIONS_PER_ITERATION = 1.3
#: Forward and backward pass together, relative to the forward pass.
BACKWARD_FACTOR = 3.0
#: Latents held beside the history: the point, its gradient, the direction, trials, and copies of the line search.
_WORKING_LATENTS = 8
#: Activations of a generator that are held, with their gradients.
_GENERATOR_COPIES = 3
#: `images_per_tile: auto` takes as many images as fit this, and not more than that.
AUTO_BYTES, AUTO_IMAGES = 2**30, 48


@dataclass(frozen=True)
class Cost:
    """What one tile takes beyond its targets.

    Attributes
    ----------
    compute_bytes
        Activations, latents, history, pictures of all images.
    weights_bytes, loading_bytes
        Of the network and the generator: in use, and the most while they are loaded.
    seconds
        Of all iterations and starts.
    """

    compute_bytes: int
    weights_bytes: int
    loading_bytes: int
    seconds: float


def project(
    options: IcnnOptions, network: Network, layers: Collection[str], *, stimuli: tuple[int, int], n: int
) -> Cost:
    """Project the optimisation of `n` images.

    Parameters
    ----------
    layers
        Those that are matched.
    stimuli
        Height and width of the stimuli.

    Raises
    ------
    StudyError
        If a generator is unknown, or its images are smaller than the network's input.
    """
    structure = zoo.structure(network, image_size=stimuli)
    size = zoo.input_size(network, stimuli)
    units = sum(zoo.n_units(structure.taps[layer].unit_shape) for layer in layers)
    weights, loading = zoo.loading_bytes(network, image_size=stimuli)
    seconds = costs.forward_seconds(structure, layers)
    working = working_size(options, stimuli=stimuli, network=size)
    n_latent, image = 3 * working[0] * working[1], array_bytes(3, *working)
    each = costs.gradient_bytes(structure, layers) + 2 * array_bytes(units) + 4 * image
    if isinstance(options.latent, GeneratorLatent):
        made = latents.require_fit(options.latent, size)
        n_latent, image = made.n_inputs, array_bytes(3, *made.output_size)
        each += _GENERATOR_COPIES * array_bytes(made.n_activations)
        weights += 4 * made.n_parameters
        loading += 8 * made.n_parameters
        seconds += costs.SECONDS_PER_UNIT * made.n_activations
    chosen = options.optimiser
    held = (2 * chosen.history if isinstance(chosen, Lbfgs) else 0) + _WORKING_LATENTS
    pictures = image // 4 * n_snapshots(options) + array_bytes(*stimuli, 3)
    each += held * array_bytes(n_latent) + pictures * (options.n_starts + 1)
    evaluations = options.iterations * (EVALUATIONS_PER_ITERATION if isinstance(chosen, Lbfgs) else 1.0)
    total = n * options.n_starts * evaluations * BACKWARD_FACTOR * seconds
    return Cost(n * each, weights, loading, total)


def images_at_once(options: IcnnOptions, network: Network, layers: Collection[str], *, stimuli: tuple[int, int]) -> int:
    """Return how many images go together: the option's number, or with `auto` as many as fit a GiB, 48 at most.

    A function of shapes alone, so that tiles are the same on every machine.
    """
    if options.images_per_tile:
        return options.images_per_tile
    each = project(options, network, layers, stimuli=stimuli, n=1).compute_bytes
    return max(1, min(AUTO_IMAGES, AUTO_BYTES // each))
