"""Losses of features and images: one value an image, differentiable."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hpc_recon.core.icnn_options import LossName


def layer_loss(name: LossName, features: Tensor, wanted: Tensor, units: Tensor | None = None) -> Tensor:
    """Return the loss of one layer, (n,), not weighted.

    With features f, wanted features y and weights u of units (1 where none are given), sums over units:

    - `l2`: sum u (f - y)^2 (a sum, not a mean, as published); `l1`: sum u |f - y|; `inner`: - sum u f y
    - `correlation`: 1 - r, r Pearson's weighted correlation over units; 1 where f or y is constant
    - `target_normalised_mse`: `l2` divided by sum u y^2

    Parameters
    ----------
    features, wanted
        (n, n_units).
    units
        (n_units,), >= 0.

    Raises
    ------
    ValueError
        For `gram`, which has a function of its own.
    """
    if name == "correlation":
        return 1.0 - _correlation(features, wanted, units)
    if name == "inner":
        return -_sum(features * wanted, units)
    if name == "l1":
        return _sum((features - wanted).abs(), units)
    if name == "l2" and units is None:
        # The norm squared: one pass over the units less than the sum of squares, and one less for the gradient.
        norm: Tensor = torch.linalg.vector_norm(features - wanted, dim=1)
        return norm.square()
    if name == "l2":
        return _sum((features - wanted).square(), units)
    if name == "target_normalised_mse":
        return _sum((features - wanted).square(), units) / _sum(wanted.square(), units)
    raise ValueError(f"{name} is not a loss of units")


def reference(name: LossName, wanted: Tensor, units: Tensor | None = None) -> Tensor:
    """Return what a layer's loss is divided by so that layers of any scale weigh the same, (n,).

    What features of zero would cost for `l2` and `l1`, sum u y^2 for `inner`; 1 for losses without scale.
    """
    if name == "l1":
        return _sum(wanted.abs(), units)
    if name in ("l2", "inner"):
        return _sum(wanted.square(), units)
    return torch.ones_like(wanted[:, 0])


def gram(maps: Tensor) -> Tensor:
    """Return the products of channels summed over places, (n, channels, channels), of maps (n, channels, places)."""
    return maps @ maps.transpose(1, 2)


def gram_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """Return `sum (G - G0)^2 / (4 N^2 M^2)` with N channels and M places, (n,).

    Parameters
    ----------
    maps
        (n, N, M).
    wanted
        G0 (n, N, N), from `gram`.
    """
    _, channels, places = maps.shape
    return (gram(maps) - wanted).square().sum(dim=(1, 2)) / (4.0 * channels**2 * places**2)


def gram_reference(wanted: Tensor, *, places: int) -> Tensor:
    """Return the Gram loss of features of zero, (n,)."""
    return wanted.square().sum(dim=(1, 2)) / (4.0 * wanted.shape[1] ** 2 * places**2)


def _sum(values: Tensor, units: Tensor | None) -> Tensor:
    return values.sum(dim=1) if units is None else values @ units


def _correlation(features: Tensor, wanted: Tensor, units: Tensor | None) -> Tensor:
    share = torch.ones_like(wanted[0]) if units is None else units
    share = share / share.sum()
    a = features - (features @ share)[:, None]
    b = wanted - (wanted @ share)[:, None]
    size = (a.square() @ share) * (b.square() @ share)
    # A constant has no correlation: 0, and no gradient, instead of NaN.
    varies = size > 0
    return torch.where(varies, (a * b) @ share / torch.where(varies, size, torch.ones_like(size)).sqrt(), 0.0)


def layer_shares(layer_weights: Mapping[str, float], layers: tuple[str, ...]) -> dict[str, float]:
    """Return each layer's share of the loss: its weight (1 where none is given) by the sum of all weights."""
    total = sum(layer_weights.get(layer, 1.0) for layer in layers)
    return {layer: layer_weights.get(layer, 1.0) / total for layer in layers}


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference of vertically and of horizontally neighbouring pixels, summed, (n,).

    Parameters
    ----------
    images
        (n, channels, height, width), height and width >= 2.
    """
    down = images[:, :, 1:, :] - images[:, :, :-1, :]
    right = images[:, :, :, 1:] - images[:, :, :, :-1]
    return down.square().mean(dim=(1, 2, 3)) + right.square().mean(dim=(1, 2, 3))
