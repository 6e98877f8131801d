"""Gradient descent with momentum in the order of operations of the published routines, for a batch of images.

One iteration t of n, every schedule being first + t (last - first) / n (the last value is never reached):

1. jitter: move the image and the update
2. loss and gradient; the gradient divided by the mean of its absolute values
3. update = momentum x update + gradient, plus the gradients of the penalties, each divided by its mean absolute value
4. x = x - learning rate x update
5. every few iterations: clip extreme pixels, pixels of small norm, pixels of small contribution
6. move the image and the update back
7. x = (1 - decay) x
8. blur; or, for a generator's input, clip to its bounds
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.icnn_options import Clipping, Momentum, Penalty, Schedule
from hpc_recon.methods import filters
from hpc_recon.methods.lbfgs import Evaluate, Minimum, Observe

#: Mean of the squares of whole numbers drawn from 0 ... 255.
_NOISE_SQUARE = 255 * 511 / 6


@dataclass(frozen=True)
class PixelSteps:
    """What is only done to pixels: `shape` (3, H, W) of an image, and a generator of random offsets for each image."""

    shape: tuple[int, int, int]
    rngs: tuple[np.random.Generator, ...]


def at(schedule: Schedule, iteration: int, iterations: int) -> float:
    """Return the value of a schedule.

    >>> at((2.0, 0.0), 50, 200)
    1.5
    """
    return schedule[0] + iteration * (schedule[1] - schedule[0]) / iterations


def descend(
    evaluate: Evaluate,
    start: Tensor,
    *,
    iterations: int,
    options: Momentum,
    box: tuple[Tensor, Tensor] | None = None,
    pixels: PixelSteps | None = None,
    observe: Observe | None = None,
) -> Minimum:
    """Follow the gradient for a number of iterations.

    Parameters
    ----------
    evaluate
        Loss and gradient of flat latents.
    start
        (n, d); pixels minus the mean colour, on 0-255.
    box
        Lower and upper bounds (d,) that hold after each iteration; None: no bounds.
    pixels
        None for a generator's input: steps 1, 5, 6 and the blur are left out.

    Returns
    -------
    Minimum
        For a generator's input `x` is that of the last evaluation, before the last step, as published; for pixels it
        is what the last step gave. `losses` (n, iterations) are those before each step.
    """
    x, update = start.clone(), torch.zeros_like(start)
    seen, curve = x, []
    everything = torch.arange(len(x), device=x.device)
    for t in range(iterations):
        offsets = _offsets(options, pixels)
        x, update = _moved(x, offsets, pixels), _moved(update, offsets, pixels)
        seen = x
        loss, gradient = evaluate(x, everything)
        curve.append(loss)
        gradient = _normalised(gradient) if options.normalise_gradient else gradient
        update = update * at(options.momentum, t, iterations) + gradient
        if pixels is not None:
            update = _penalised(update, x, options, pixels, t=t, iterations=iterations)
        x = x - at(options.learning_rate, t, iterations) * update
        if pixels is not None:
            x = _clipped(x, gradient, options, pixels, t=t, iterations=iterations)
            back = [(-right, -down) for right, down in offsets]
            x, update = _moved(x, back, pixels), _moved(update, back, pixels)
        x = (1 - at(options.decay, t, iterations)) * x
        if pixels is not None:
            images = x.reshape(-1, *pixels.shape)
            x = filters.blur(images, at(options.blur, t, iterations)).flatten(start_dim=1)
        if box is not None:
            x = x.clamp(*box)
        if observe is not None:
            observe(t, x if pixels is not None else seen)
    losses = torch.stack(curve, dim=1) if curve else start.new_zeros(len(x), 0)
    return Minimum(x if pixels is not None else seen, losses)


def _normalised(gradient: Tensor) -> Tensor:
    """Divide each row by the mean of its absolute values; a row of zeros stays."""
    size = gradient.abs().mean(dim=1, keepdim=True)
    return gradient / torch.where(size > 0, size, torch.ones_like(size))


def _offsets(options: Momentum, pixels: PixelSteps | None) -> list[tuple[int, int]]:
    if pixels is None or options.jitter == 0:
        return []
    drawn = [rng.integers(-options.jitter, options.jitter + 1, 2) for rng in pixels.rngs]
    return [(int(right), int(down)) for right, down in drawn]


def _moved(flat: Tensor, offsets: list[tuple[int, int]], pixels: PixelSteps | None) -> Tensor:
    if pixels is None or not offsets:
        return flat
    return filters.shift(flat.reshape(-1, *pixels.shape), offsets).flatten(start_dim=1)


def _penalised(update: Tensor, x: Tensor, options: Momentum, pixels: PixelSteps, *, t: int, iterations: int) -> Tensor:
    """Add the gradients of the penalties."""
    kinds: list[tuple[Penalty | None, Callable[[Tensor, float], Tensor]]] = [
        (options.p_norm, filters.p_norm_gradient),
        (options.total_variation, filters.total_variation_gradient),
    ]
    for penalty, function in kinds:
        if penalty is not None:
            gradient = function(x.reshape(-1, *pixels.shape), penalty.exponent).flatten(start_dim=1)
            # Published: by the square of half the norm of an image of uniform noise; here its expectation.
            gradient = gradient / (x.shape[1] * _NOISE_SQUARE / 4)
            gradient = _normalised(gradient) if options.normalise_gradient else gradient
            update = update + at(penalty.weight, t, iterations) * gradient
    return update


def _clipped(x: Tensor, gradient: Tensor, options: Momentum, pixels: PixelSteps, *, t: int, iterations: int) -> Tensor:
    """Clip extreme pixels, then those of small norm, then those of small contribution, where it is their turn."""
    images = x.reshape(-1, *pixels.shape)

    def share(clipping: Clipping | None) -> float | None:
        if clipping is None or (t + 1) % clipping.every:
            return None
        return at(clipping.percent, t, iterations)

    if (percent := share(options.clip_extreme)) is not None:
        images = filters.clip_extreme(images, percent)
    if (percent := share(options.clip_small_norm)) is not None:
        images = filters.clip_small(images, images, percent)
    if (percent := share(options.clip_small_contribution)) is not None:
        images = filters.clip_small(images, images * gradient.reshape(images.shape), percent)
    return images.flatten(start_dim=1)
