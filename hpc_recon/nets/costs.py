"""What running a network costs, projected from shapes; the constants were measured on two cores."""

from __future__ import annotations

from collections.abc import Collection

from hpc_recon.core import threads
from hpc_recon.nets.taps import Tap
from hpc_recon.nets.zoo import Structure, n_units

#: Resident bytes of torch and torchvision, imported, beyond an idle worker (measured: 650 MiB for torch 2.14 built for
#: CUDA, the default of pip, also where there is no GPU; builds for the CPU alone take about half).
TORCH_BYTES = 672 * 2**20
#: Activations of one micro-batch stay below this; small enough for any worker, large enough to keep it busy.
MICRO_BATCH_BYTES = 256 * 2**20
#: Seconds to compute one unit's activation of one image: 2.6e-8 (quarter VGG-11, 64 px) to 5e-8 (VGG19, 224 px),
#: with so many threads.
SECONDS_PER_UNIT = 5e-8
MEASURED_THREADS = 2


def upto(structure: Structure, layers: Collection[str]) -> list[Tap]:
    """Return the taps of all layers that must run for `layers`: those up to the deepest of them."""
    order = list(structure.taps)
    deepest = max((order.index(layer) for layer in layers), default=-1)
    return list(structure.taps.values())[: deepest + 1]


def forward_bytes(structure: Structure, layers: Collection[str]) -> int:
    """Return the bytes of one image's activations without gradients: the chosen layers, and what is being computed."""
    running = upto(structure, layers)
    chosen = sum(n_units(structure.taps[layer].unit_shape) for layer in layers)
    largest = max((n_units(tap.unit_shape) for tap in running), default=0)
    # The input and output of a layer, its ReLU, and the unfolded copy that some convolutions make.
    return 4 * (chosen + 5 * largest)


def gradient_bytes(structure: Structure, layers: Collection[str]) -> int:
    """Return the bytes of one image's activations with gradients: all of them, twice for the ReLUs, and back."""
    return 4 * 4 * forward_units(structure, layers)


def forward_units(structure: Structure, layers: Collection[str]) -> int:
    """Return the number of activations that one image's forward pass computes."""
    return sum(n_units(tap.unit_shape) for tap in upto(structure, layers))


def forward_seconds(structure: Structure, layers: Collection[str]) -> float:
    """Return the seconds of one image on the worker's threads, in proportion to their number."""
    return SECONDS_PER_UNIT * forward_units(structure, layers) * MEASURED_THREADS / threads.available()


def micro_batch(structure: Structure, layers: Collection[str]) -> int:
    """Return how many images pass together: a function of shapes only, so that it never changes a result."""
    return max(1, min(48, MICRO_BATCH_BYTES // max(1, forward_bytes(structure, layers))))
