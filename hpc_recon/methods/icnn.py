"""Deep image reconstruction: pixels optimised until a network's layers show the wanted features (Shen et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.config import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.sampling import seed_of
from hpc_recon.methods import losses, targets
from hpc_recon.methods.lbfgs import minimise
from hpc_recon.methods.targets import Reconstruction, Targets
from hpc_recon.nets import taps, zoo
from hpc_recon.nets.preprocess import resize


def reconstruct(given: Targets, options: IcnnOptions, *, network: Network, device: str) -> Reconstruction:
    """Minimise over images x in [0, 1]: `sum_l beta_l ||phi_l(x) - y_l||^2 + total_variation * TV(x)`.

    `beta_l = (w_l / sum w) / ||y_l||^2` (`losses.feature_weights`), TV the mean squared difference of neighbouring
    pixels, by batched projected L-BFGS from the mean training image (or grey, or uniform noise) plus noise.

    Parameters
    ----------
    given
        Features of `options.layers` (default: all layers of the network).
    device
        `cpu` or `cuda`.

    Returns
    -------
    Reconstruction
        Images of the size of `given.start`; losses (n, iterations), never increasing along a row.

    Raises
    ------
    DataError
        If features are missing, misshapen, not finite, or all zero.

    Notes
    -----
    An image's start depends on the seed and its name alone, so that batching changes an image by no more than the
    rounding of the device's convolutions. Memory: the activations of all images of the batch up to the deepest
    layer, with their gradients, and 2 x 10 images of L-BFGS history each, float32.
    """
    layers = options.layers or network.layers
    targets.check(given, layers)
    stimuli = (given.start.shape[0], given.start.shape[1])
    net = zoo.load(network, image_size=stimuli, device=device)
    size = working_size(options, stimuli=stimuli, network=net.size)
    wanted = {layer: torch.from_numpy(np.asarray(given.features[layer], np.float32)).to(device) for layer in layers}
    index = {layer: _to_index(given.index_of(layer), device) for layer in layers}
    start = torch.from_numpy(np.stack([_start(given, name, options, size) for name in given.names])).to(device)
    found = minimise(
        loss_function(net, wanted, index, options, shape=(3, *size)),
        start.flatten(start_dim=1),
        iterations=options.iterations,
        lower=0.0,
        upper=1.0,
    )
    images = resize(found.x.reshape(-1, 3, *size), stimuli).clamp(0.0, 1.0).permute(0, 2, 3, 1)
    return Reconstruction(images.cpu().numpy().copy(), found.losses.cpu().numpy())


def loss_function(
    net: taps.Net,
    wanted: Mapping[str, Tensor],
    index: Mapping[str, Tensor | None],
    options: IcnnOptions,
    *,
    shape: tuple[int, int, int],
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the function that gives loss (m,) and gradient (m, d) of flattened images (m, d) for target rows (m,)."""
    weights = losses.feature_weights(wanted, options.layer_weights)

    def evaluate(flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            images = flat.detach().reshape(-1, *shape).requires_grad_()
            features = losses.select_units(taps.activations(net, images, list(wanted)), index)
            loss = losses.feature_loss(
                features,
                {layer: values[rows] for layer, values in wanted.items()},
                {layer: values[rows] for layer, values in weights.items()},
            )
            if options.total_variation > 0:
                loss = loss + options.total_variation * losses.total_variation(images)
            (gradient,) = torch.autograd.grad(loss.sum(), images)
        return loss.detach(), gradient.flatten(start_dim=1)

    return evaluate


def working_size(options: IcnnOptions, *, stimuli: tuple[int, int], network: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the optimised image: the option's, else the smaller of stimuli and network input."""
    if options.image_size is not None:
        return options.image_size, options.image_size
    return min(stimuli, network, key=lambda size: size[0] * size[1])


def _start(given: Targets, name: str, options: IcnnOptions, size: tuple[int, int]) -> Array:
    """Return the initial image (3, H, W) float32 of one image; its randomness depends on seed and name alone."""
    rng = np.random.default_rng(seed_of(given.seed, "icnn", name))
    if options.start == "uniform":
        image = rng.random((3, *size), dtype=np.float32)
    elif options.start == "gray":
        image = np.full((3, *size), 0.5, np.float32)
    else:
        mean = torch.from_numpy(np.ascontiguousarray(given.start, np.float32)).permute(2, 0, 1)[None]
        image = resize(mean, size)[0].numpy()
    noise = options.start_noise * rng.standard_normal((3, *size), dtype=np.float32)
    return np.clip(image + noise, 0.0, 1.0).astype(np.float32)


def _to_index(units: Array | None, device: str) -> Tensor | None:
    return None if units is None else torch.from_numpy(np.asarray(units, np.int64)).to(device)
