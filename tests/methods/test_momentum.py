from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from hpc_recon.core.icnn_options import Momentum
from hpc_recon.methods import momentum

SHAPE = (3, 6, 5)
D = 90
N_ITERATIONS = 9
CURVATURE = np.linspace(0.5, 3, D)
AIM = np.random.default_rng(1).standard_normal((2, D)) * 40


def evaluate(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A bowl of its own for each image; not symmetric in space, so that jitter shows."""
    aim, curvature = torch.from_numpy(AIM)[rows], torch.from_numpy(CURVATURE)
    return (0.5 * curvature * (x - aim) ** 2).sum(dim=1), curvature * (x - aim)


def restated(start: np.ndarray, row: int, o: Momentum, *, box=None, is_image: bool, rng=None):
    """Oracle: the loop for one image as section 5.2 of the reference describes it, in plain numpy."""

    def value(schedule, t):
        return schedule[0] + t * (schedule[1] - schedule[0]) / N_ITERATIONS

    def normal(g):
        return g / np.abs(g).mean() if o.normalise_gradient and np.abs(g).mean() > 0 else g

    def norm_of(image):
        return np.sqrt((image**2).sum(axis=0))

    x, delta, losses = start.reshape(SHAPE).copy(), np.zeros(SHAPE), []
    for t in range(N_ITERATIONS):
        ox = oy = 0
        if o.jitter:
            ox, oy = rng.integers(-o.jitter, o.jitter + 1, 2)
        x, delta = (np.roll(np.roll(a, ox, -1), oy, -2) for a in (x, delta))
        before = x.copy()
        away = x.ravel() - AIM[row]
        losses.append(0.5 * (CURVATURE * away**2).sum())
        g = normal((CURVATURE * away).reshape(SHAPE))
        delta = value(o.momentum, t) * delta + g
        scale = D * (255 * 511 / 6) / 4
        if o.p_norm:
            p = o.p_norm.exponent
            delta = delta + value(o.p_norm.weight, t) * normal(p * np.abs(x) ** (p - 1) * np.sign(x) / scale)
        if o.total_variation:
            gradient = np.zeros(SHAPE)
            for c, i, j in np.ndindex(SHAPE):
                down = x[c, i + 1, j] - x[c, i, j] if i + 1 < SHAPE[1] else 0.0
                right = x[c, i, j + 1] - x[c, i, j] if j + 1 < SHAPE[2] else 0.0
                gradient[c, i, j] -= 2 * (down + right)  # beta 2
                if i + 1 < SHAPE[1]:
                    gradient[c, i + 1, j] += 2 * down
                if j + 1 < SHAPE[2]:
                    gradient[c, i, j + 1] += 2 * right
            delta = delta + value(o.total_variation.weight, t) * normal(gradient / scale)
        x = x - value(o.learning_rate, t) * delta
        if o.clip_extreme and (t + 1) % o.clip_extreme.every == 0:
            pct = value(o.clip_extreme.percent, t)
            x = np.clip(x, np.percentile(x, pct / 2), np.percentile(x, 100 - pct / 2))
        if o.clip_small_norm and (t + 1) % o.clip_small_norm.every == 0:
            size = norm_of(x)
            x[:, size < np.percentile(size, value(o.clip_small_norm.percent, t))] = 0
        if o.clip_small_contribution and (t + 1) % o.clip_small_contribution.every == 0:
            size = norm_of(x * g)
            x[:, size < np.percentile(size, value(o.clip_small_contribution.percent, t))] = 0
        x, delta = (np.roll(np.roll(a, -ox, -1), -oy, -2) for a in (x, delta))
        x = (1 - value(o.decay, t)) * x
        if is_image and max(o.blur) > 0:
            x = np.stack([ndimage.gaussian_filter(channel, value(o.blur, t)) for channel in x])
        if box is not None:
            x = np.clip(x, *box)
    return (x if is_image else before).ravel(), np.array(losses)


START = np.random.default_rng(2).uniform(-100, 100, (2, D))
IMAGES = {
    "published": {"decay": (0.2, 1e-10), "blur": (2.0, 0.5)},
    "plain": {"normalise_gradient": False, "learning_rate": (0.1, 0.05), "momentum": (0.9, 0.5)},
    "jitter": {"jitter": 2, "decay": 0.1},
    "penalties": {"p_norm": {"exponent": 3}, "total_variation": {"exponent": 2, "weight": (0.9, 0.1)}},
    "penalties, not normalised": {
        "p_norm": {"exponent": 3}, "total_variation": {"exponent": 2, "weight": 500.0},
        "normalise_gradient": False, "learning_rate": 0.01,
    },
    "clips": {
        "clip_extreme": {"every": 2, "percent": (9, 1)}, "clip_small_norm": {"every": 3, "percent": 30},
        "clip_small_contribution": {"every": 4, "percent": (20, 40)},
    },
    "everything": {
        "jitter": 1, "blur": 0.7, "decay": 0.01, "p_norm": {"exponent": 2}, "clip_extreme": {"percent": 5},
        "bounded": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_pixels_follow_the_published_order_of_operations(case: str):
    options = Momentum.model_validate(IMAGES[case])
    box = (torch.full((D,), -60.0).double(), torch.full((D,), 70.0).double()) if options.bounded else None
    rngs = tuple(np.random.default_rng(seed) for seed in (5, 6))
    found = momentum.descend(
        evaluate,
        torch.from_numpy(START),
        iterations=N_ITERATIONS,
        options=options,
        box=box,
        pixels=momentum.PixelSteps(SHAPE, rngs),
    )
    for row in range(2):
        bounds = (-60.0, 70.0) if options.bounded else None
        rng = np.random.default_rng(5 + row)
        x, losses = restated(START[row], row, options, box=bounds, is_image=True, rng=rng)
        np.testing.assert_allclose(found.x[row].numpy(), x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.losses[row].numpy(), losses, rtol=1e-9)


def test_a_generators_input_follows_the_published_order_of_operations():
    """Decay, then bounds; what is returned is from before the last step."""
    options = Momentum(decay=(0.01, 0.01))
    box = (torch.zeros(D).double(), torch.full((D,), 50.0).double())
    start = torch.from_numpy(START).clamp(*box)
    found = momentum.descend(evaluate, start, iterations=N_ITERATIONS, options=options, box=box)
    for row in range(2):
        x, losses = restated(start[row].numpy(), row, options, box=(0.0, 50.0), is_image=False)
        np.testing.assert_allclose(found.x[row].numpy(), x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.losses[row].numpy(), losses, rtol=1e-9)
    torch.testing.assert_close(found.losses[:, -1], evaluate(found.x, torch.arange(2))[0])


def test_a_gradient_of_zero_moves_nothing():
    start = torch.from_numpy(AIM)
    found = momentum.descend(evaluate, start, iterations=3, options=Momentum(), box=None)
    assert torch.equal(found.x, start)


def test_every_iteration_is_observed():
    seen: list[int] = []
    momentum.descend(
        evaluate, torch.from_numpy(START), iterations=4, options=Momentum(), observe=lambda t, x: seen.append(t)
    )
    assert seen == [0, 1, 2, 3]
