"""Deep image reconstruction: an image optimised until a network's layers show the wanted features (Shen et al. 2019).

The parts are in modules of their own: what is optimised (`latents`), what is minimised (`objective`, `losses`,
`masks`), and how (`lbfgs`, `momentum`, `adam`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import Adam, AdamW, Momentum
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.sampling import seed_of
from hpc_recon.methods import adam, filters, latents, lbfgs, masks, momentum, targets
from hpc_recon.methods.lbfgs import Minimum, Observe
from hpc_recon.methods.objective import Objective
from hpc_recon.methods.targets import Reconstruction, Targets
from hpc_recon.nets import zoo
from hpc_recon.nets.preprocess import resize


def reconstruct(given: Targets, options: IcnnOptions, *, network: Network, device: str) -> Reconstruction:
    """Minimise over pixels, or over a generator's input, the distance of an image's features from the wanted ones.

    `sum over layers of (w_l / sum w) loss_l(phi_l(x), y_l) / reference_l(y_l) + total_variation * TV(x)`; by default
    `||phi_l(x) - y_l||^2 / ||y_l||^2` over pixels in [0, 1], by batched projected L-BFGS from the mean training image
    plus noise. TV is the mean squared difference of neighbouring pixels.

    Parameters
    ----------
    given
        Features of `options.layers` (default: all layers of the network).
    device
        `cpu` or `cuda`.

    Returns
    -------
    Reconstruction
        Images of the size of `given.start`; losses (n, iterations), of L-BFGS never increasing along a row.

    Raises
    ------
    DataError
        If features are missing, misshapen, not finite, or all zero, or a mask, a start or bounds do not fit.
    StudyError
        If a generator cannot be used with the network.

    Notes
    -----
    An image's start depends on the seed and its name alone, so that batching changes an image by no more than the
    rounding of the device's convolutions. Memory: `methods.icnn_costs`.
    """
    layers = options.layers or network.layers
    stimuli = (given.start.shape[0], given.start.shape[1])
    net = zoo.load(network, image_size=stimuli, device=device)
    targets.check(given, layers)
    given = masks.apply(given, options, {layer: net.taps[layer].unit_shape for layer in layers})
    targets.check(given, layers)
    latent = latents.make(options, net, stimuli=stimuli, device=device)
    objective = Objective(net, latent, given, options, layers=layers)
    found = [_from_start(objective, latent, given, options, attempt=k) for k in range(options.n_starts)]
    best = _best(given.names, np.stack([one.last for one in found], axis=1))  # (n,)
    images = np.stack([_finished(one.x, latent, options, stimuli) for one in found], axis=1)  # (n, starts, H, W, 3)
    rows = np.arange(len(best))

    def chosen(parts: list[Array]) -> Array:
        return np.stack([parts[k][i] for i, k in enumerate(best)])

    return Reconstruction(
        images=images[rows, best],
        losses=chosen([one.curve for one in found]),
        layer_losses={layer: chosen([one.by_layer[layer] for one in found]) for layer in layers},
        start_losses=np.stack([one.last for one in found], axis=1) if options.n_starts > 1 else None,
        start_images=images if options.keep_starts else None,
        snapshots=None if options.snapshots is None else chosen([one.snapshots for one in found]),
    )


def _best(names: tuple[str, ...], last: Array) -> Array:
    """Return which start of each image has the smallest loss, of losses (n, starts).

    Raises
    ------
    DataError
        If an image has no start with a finite loss.
    """
    finite = np.isfinite(last)
    lost = [names[i] for i in np.flatnonzero(~finite.any(axis=1))]
    if lost:
        raise DataError(
            f"these images have no finite loss: {', '.join(lost)}; are their features too large, the learning rate too "
            "high, or precision: bfloat16 too coarse?"
        )
    best: Array = np.where(finite, last, np.inf).argmin(axis=1)
    return best


@dataclass(frozen=True)
class _Found:
    """What one start led to.

    Attributes
    ----------
    x
        (n, d).
    curve
        Losses (n, iterations).
    last, by_layer
        Loss of `x`, and each layer's part of it, (n,).
    snapshots
        (n, n_snapshots, h, w, 3) uint8.
    """

    x: Tensor
    curve: Array
    last: Array
    by_layer: dict[str, Array]
    snapshots: Array


def _from_start(
    objective: Objective, latent: latents.Latent, given: Targets, options: IcnnOptions, *, attempt: int
) -> _Found:
    """Optimise all images of a batch from one start each."""
    device = latent.box[0].device
    start = np.stack([latent.start(given, name, options, attempt) for name in given.names])
    film = _Film(latent, options)
    made = _minimise(
        objective, torch.from_numpy(start).to(device), latent, given, options, observe=film.look, attempt=attempt
    )
    last, by_layer = objective.parts(made.x)
    parts = {layer: values.cpu().numpy() for layer, values in by_layer.items()}
    return _Found(made.x, made.losses.cpu().numpy(), last.cpu().numpy(), parts, film.developed(len(given.names)))


def _minimise(
    objective: Objective,
    start: Tensor,
    latent: latents.Latent,
    given: Targets,
    options: IcnnOptions,
    *,
    observe: Observe,
    attempt: int,
) -> Minimum:
    chosen = options.optimiser
    if isinstance(chosen, Momentum):
        steps = None
        if isinstance(latent, latents.Pixels):
            steps = momentum.PixelSteps(latent.shape, _generators(given, attempt))
        box = latent.box if steps is None or chosen.bounded else None
        return momentum.descend(
            objective, start, iterations=options.iterations, options=chosen, box=box, pixels=steps, observe=observe
        )
    if isinstance(chosen, (Adam, AdamW)):
        return adam.descend(
            objective, start, iterations=options.iterations, options=chosen, box=latent.box, observe=observe
        )
    lower, upper = latent.box
    return lbfgs.minimise(
        objective,
        start,
        iterations=options.iterations,
        lower=lower,
        upper=upper,
        history=chosen.history,
        precondition=_smooth(latent, chosen.smoothness) if isinstance(latent, latents.Pixels) else None,
        observe=observe,
    )


def _smooth(latent: latents.Pixels, power: float) -> lbfgs.Precondition | None:
    """Return what L-BFGS over pixels starts from: coarse structure first, as natural images have it."""
    if power == 0:
        return None
    return lambda rows: filters.natural(rows.reshape(-1, *latent.shape), power).flatten(start_dim=1)


def _generators(given: Targets, attempt: int) -> tuple[np.random.Generator, ...]:
    """Return the random numbers of each image's jitter."""
    return tuple(np.random.default_rng(seed_of(given.seed, "jitter", name, attempt)) for name in given.names)


def _finished(x: Tensor, latent: latents.Latent, options: IcnnOptions, stimuli: tuple[int, int]) -> Array:
    """Return images (n, H, W, 3) float32 in [0, 1] of the size of the stimuli."""
    with torch.no_grad():
        images = latent.images(x)
        images = filters.stretch(images) if options.stretch else images
        sized = resize(images.float(), stimuli).clamp(0.0, 1.0).permute(0, 2, 3, 1)
    return np.ascontiguousarray(sized.cpu().numpy())


class _Film:
    """Pictures of all images of a batch, taken every few iterations and after the last one."""

    def __init__(self, latent: latents.Latent, options: IcnnOptions) -> None:
        self._latent, self._every, self._last = latent, options.snapshots, options.iterations - 1
        self._pictures: list[Array] = []

    def look(self, iteration: int, x: Tensor) -> None:
        """Take a picture if it is time."""
        if self._every is None or (iteration % self._every and iteration != self._last):
            return
        with torch.no_grad():
            images = self._latent.images(x).clamp(0.0, 1.0).permute(0, 2, 3, 1)
        self._pictures.append((images.cpu().numpy() * 255).round().astype(np.uint8))

    def developed(self, n: int) -> Array:
        """Return (n, n_pictures, h, w, 3) uint8."""
        return np.stack(self._pictures, axis=1) if self._pictures else np.zeros((n, 0, 1, 1, 3), np.uint8)


def n_snapshots(options: IcnnOptions) -> int:
    """Return how many pictures of each image are kept.

    >>> n_snapshots(IcnnOptions(method="icnn", network="v", iterations=10, snapshots=4))
    4
    """
    if options.snapshots is None:
        return 0
    times = range(0, options.iterations, options.snapshots)
    return len(times) + ((options.iterations - 1) % options.snapshots != 0)
