"""The function that is minimised: how far the features of the images of flat latents are from the wanted ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import LossName
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import losses
from hpc_recon.methods.latents import Latent
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import taps


@dataclass(frozen=True)
class Term:
    """What is wanted of one layer.

    Attributes
    ----------
    wanted
        (n, n_units); of `gram` the products of channels (n, channels, channels).
    weight
        (n,), multiplies the loss of each image.
    index
        Numbers of the units that count, None for all.
    units
        Weights of the units (n_units,), None for 1; of `gram` those of the whole layer, 0 or 1.
    shape
        Of the whole layer.
    """

    loss: LossName
    wanted: Tensor
    weight: Tensor
    index: Tensor | None
    units: Tensor | None
    shape: tuple[int, ...]

    def value(self, output: Tensor, rows: Tensor | slice) -> Tensor:
        """Return the weighted loss of activations (m, *shape) whose targets are `rows`, (m,)."""
        flat = output.flatten(start_dim=1).to(self.wanted.dtype)
        if self.loss == "gram":
            maps = (flat if self.units is None else flat * self.units).reshape(len(flat), self.shape[0], -1)
            return self.weight[rows] * losses.gram_loss(maps, self.wanted[rows])
        chosen = flat if self.index is None else flat[:, self.index]
        return self.weight[rows] * losses.layer_loss(self.loss, chosen, self.wanted[rows], self.units)


class Objective:
    """Loss and gradient of flat latents: `sum over layers of share x loss / reference`, and total variation.

    Parameters
    ----------
    given
        Checked targets (`targets.check`), masks applied.
    dtype
        Of wanted features and of the sum over units; float64 for tests.
    """

    def __init__(
        self,
        net: taps.Net,
        latent: Latent,
        given: Targets,
        options: IcnnOptions,
        *,
        layers: tuple[str, ...],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._net, self._latent, self._options = net, latent, options
        device = latent.box[0].device
        shares = losses.layer_shares(options.layer_weights, layers)
        self.terms = {
            layer: _term(given, layer, options, net.taps[layer].unit_shape, share=shares[layer], to=(device, dtype))
            for layer in layers
        }
        self._n = len(given.names)

    def __call__(self, flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss (m,) and gradient (m, d) of latents (m, d) for the targets `rows` (m,), ascending."""
        with torch.enable_grad():
            latent = flat.detach().requires_grad_()
            images = self._latent.images(latent)
            loss = self._total(images, self._parts(images, rows))
            (gradient,) = torch.autograd.grad(loss.sum(), latent)
        return loss.detach(), gradient

    def parts(self, flat: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of latents of all targets (n,), and each layer's part of it, without gradients."""
        with torch.no_grad():
            images = self._latent.images(flat)
            by_layer = self._parts(images, torch.arange(self._n, device=flat.device))
            return self._total(images, by_layer), by_layer

    def _total(self, images: Tensor, by_layer: dict[str, Tensor]) -> Tensor:
        loss = torch.stack(list(by_layer.values())).sum(dim=0)
        if self._options.total_variation > 0:
            loss = loss + self._options.total_variation * losses.total_variation(images)
        return loss

    def _parts(self, images: Tensor, rows: Tensor) -> dict[str, Tensor]:
        # All rows are a view, a part of them a copy of their targets.
        wanted: Tensor | slice = slice(None) if len(rows) == self._n else rows
        if self._options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        half = self._options.precision == "bfloat16"
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
            found = taps.activations(self._net, images, list(self.terms))
        return {layer: term.value(found.pop(layer), wanted) for layer, term in self.terms.items()}


def _term(
    given: Targets,
    layer: str,
    options: IcnnOptions,
    shape: tuple[int, ...],
    *,
    share: float,
    to: tuple[torch.device, torch.dtype],
) -> Term:
    device, dtype = to
    name = options.loss_of(layer)
    wanted = torch.from_numpy(np.asarray(given.features[layer])).to(device=device, dtype=dtype)
    index = given.index_of(layer)
    weights = given.unit_weights.get(layer)
    units = None if weights is None else torch.from_numpy(np.asarray(weights)).to(device=device, dtype=dtype)
    norm = losses.reference("l2", wanted, units)
    if name == "gram":
        wanted, units = _gram_target(wanted, index, shape, layer=layer)
        scale = losses.gram_reference(wanted, places=int(np.prod(shape[1:])))
        index = None
    else:
        scale = losses.reference(name, wanted, units)
    by = {"relative": scale, "published": norm, "none": torch.ones_like(norm)}[options.balance]
    if name in ("correlation", "target_normalised_mse"):
        by = torch.ones_like(norm)
    chosen = None if index is None else torch.from_numpy(np.asarray(index, np.int64)).to(device)
    return Term(name, wanted, share / by, chosen, units, shape)


def _gram_target(
    wanted: Tensor, index: Array | None, shape: tuple[int, ...], *, layer: str
) -> tuple[Tensor, Tensor | None]:
    """Return the wanted products of channels, and which units count (None: all)."""
    if len(shape) != 3:
        raise DataError(f"a gram loss compares maps, but layer {layer} has the shape {shape}; give it another loss")
    if index is None:
        return losses.gram(wanted.reshape(len(wanted), shape[0], -1)), None
    kept = torch.zeros(int(np.prod(shape)), dtype=wanted.dtype, device=wanted.device)
    places = torch.from_numpy(np.asarray(index, np.int64)).to(wanted.device)
    kept[places] = 1.0
    whole = wanted.new_zeros(len(wanted), len(kept))
    whole[:, places] = wanted
    return losses.gram(whole.reshape(len(wanted), shape[0], -1)), kept
