"""What a reconstruction method is given, and what it returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError


@dataclass(frozen=True)
class Targets:
    """Decoded (or true) features that images shall have.

    Attributes
    ----------
    names
        One name an image, distinct; with `seed` they determine an image's random start.
    features
        By layer: (n_images, n_units) float32, C order of (channel, y, x), norm-corrected.
    start
        Mean training image, (H, W, 3) float32 in [0, 1]; its size is that of the stimuli.
    seed
        Seed of everything random.
    unit_index
        By layer: numbers of the units that `features` holds, (n_units,) int64, or None for all units.
    unit_weights
        By layer: how much each of these units counts, (n_units,) float32 >= 0, or None for all alike.
    """

    names: tuple[str, ...]
    features: Mapping[str, Array]
    start: Array
    seed: int = 0
    unit_index: Mapping[str, Array | None] = field(default_factory=dict)
    unit_weights: Mapping[str, Array | None] = field(default_factory=dict)

    def index_of(self, layer: str) -> Array | None:
        """Return the unit numbers of a layer's features, None for all units."""
        return self.unit_index.get(layer)


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed images.

    Attributes
    ----------
    images
        (n_images, H, W, 3) float32 in [0, 1], of the size of the stimuli.
    losses
        (n_images, n_iterations) float32, the loss after each iteration; empty for methods that do not iterate.
    layer_losses
        By layer: what it has of the last loss, (n_images,).
    start_losses
        (n_images, n_starts) last losses of all starts; None if there is one.
    start_images
        (n_images, n_starts, H, W, 3) float32; None unless they are kept.
    snapshots
        (n_images, n_snapshots, h, w, 3) uint8, images on the way and the last one; None unless asked for.
    """

    images: Array
    losses: Array
    layer_losses: Mapping[str, Array] = field(default_factory=dict)
    start_losses: Array | None = None
    start_images: Array | None = None
    snapshots: Array | None = None


def check(targets: Targets, layers: Collection[str]) -> None:
    """Raise `DataError` unless every layer has finite, non-zero features of every image."""
    problems = []
    n_images = len(targets.names)
    if len(set(targets.names)) != n_images:
        problems.append(f"image names repeat: {', '.join(targets.names)}")
    if targets.start.ndim != 3 or targets.start.shape[2] != 3:
        problems.append(f"the start must be (H, W, 3), but is {targets.start.shape}")
    for layer in layers:
        if layer not in targets.features:
            problems.append(f"layer {layer}: no features (there are {', '.join(targets.features) or 'none'})")
            continue
        values = targets.features[layer]
        index = targets.index_of(layer)
        if values.ndim != 2 or values.shape[0] != n_images:
            problems.append(f"layer {layer}: features must be ({n_images}, n_units), but are {values.shape}")
        elif index is not None and index.shape != (values.shape[1],):
            problems.append(f"layer {layer}: {values.shape[1]} features, but unit numbers of shape {index.shape}")
        elif problem := _unit_problem(targets.unit_weights.get(layer), values.shape[1]):
            problems.append(f"layer {layer}: {problem}")
        elif not np.isfinite(values).all():
            problems.append(f"layer {layer}: {np.count_nonzero(~np.isfinite(values))} features are not finite")
        else:
            problems += [
                f"layer {layer}: all features of {name} are zero, so their relative error is undefined"
                for name, row in zip(targets.names, values, strict=True)
                if not row.any()
            ]
    if problems:
        raise DataError("features cannot be turned into images; run decode again: " + "; ".join(problems))


def _unit_problem(weights: Array | None, n_units: int) -> str:
    """Return what is wrong with the weights of units, or ""."""
    if weights is None:
        return ""
    if weights.shape != (n_units,):
        return f"{n_units} features, but weights of shape {weights.shape}"
    if not np.isfinite(weights).all() or weights.min() < 0:
        return "weights of units must be finite and not negative"
    return "" if weights.any() else "all weights of units are zero: nothing of it was decoded reliably"
