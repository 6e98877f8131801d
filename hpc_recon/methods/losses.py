"""Losses of images: one value an image, differentiable, of no scale (equal for images of any size)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def feature_weights(targets: Mapping[str, Tensor], layer_weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the weight beta of each layer and image: `(w_l / sum of w) / ||y_l||^2`, by layer (n,).

    Up to a factor per image this is the published `1/||y_l||^2` divided by its sum over layers, times the
    layer's own weight `w_l` (1 where none is given). The factor makes a layer's term its relative squared
    error, so that a regulariser has the same strength for every image.

    Parameters
    ----------
    targets
        By layer: (n, n_units), no row all zero.
    """
    total = sum(layer_weights.get(layer, 1.0) for layer in targets)
    return {
        layer: layer_weights.get(layer, 1.0) / total / values.square().sum(dim=1) for layer, values in targets.items()
    }


def feature_loss(
    features: Mapping[str, Tensor], targets: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    """Return `sum over layers of beta_l ||phi_l - y_l||^2` of each image, (n,).

    Parameters
    ----------
    features, targets
        By layer: (n, n_units).
    weights
        By layer: (n,), from `feature_weights`.
    """
    terms = [weights[layer] * (features[layer] - values).square().sum(dim=1) for layer, values in targets.items()]
    return torch.stack(terms).sum(dim=0)


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


def select_units(features: Mapping[str, Tensor], index: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Flatten activations (n, *unit_shape) and keep the units of `index` (None: all), by layer (n, n_units)."""
    flat = {layer: values.flatten(start_dim=1) for layer, values in features.items()}
    chosen: dict[str, Tensor] = {}
    for layer, values in flat.items():
        units = index.get(layer)
        chosen[layer] = values if units is None else values[:, units]
    return chosen
