"""Scores of decoded latents: how near they are to the true ones, in what direction, and by chance.

The published similarity 1 / (1 + mean squared error) rewards shrinkage: a latent of zeros scores .50 where true ones
are standard normal. It is therefore never given without that baseline, and beside scores that a shorter latent does
not improve: the cosine, the correlation of each number over items, and pairwise identification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array


def similarity(decoded: Array, true: Array) -> Array:
    """Return 1 / (1 + mean squared error) of each item, latents (n, d), in (0, 1]: 1 if they are equal."""
    error = np.square(np.asarray(decoded, np.float64) - np.asarray(true, np.float64)).mean(axis=1)
    return np.asarray(1.0 / (1.0 + error))


def cosine(decoded: Array, true: Array) -> Array:
    """Return the cosine of each decoded latent with its true one, (n,) in [-1, 1]; 0 where one of them is zero."""
    a, b = _directions(decoded), _directions(true)
    return np.asarray((a * b).sum(axis=1))


def cosines(decoded: Array, true: Array) -> Array:
    """Return the cosine of every decoded latent (n, d) with every true one (m, d), (n, m)."""
    return np.asarray(_directions(decoded) @ _directions(true).T)


def similarities(decoded: Array, true: Array) -> Array:
    """Return the `similarity` of every decoded latent (n, d) with every true one (m, d), (n, m)."""
    a, b = np.asarray(decoded, np.float64), np.asarray(true, np.float64)
    error = (np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T) / a.shape[1]
    return np.asarray(1.0 / (1.0 + np.maximum(error, 0.0)))


def _directions(latents: Array) -> Array:
    values = np.asarray(latents, np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, length, out=np.zeros_like(values), where=length > 0))


def by_number(decoded: Array, true: Array) -> Array:
    """Return Pearson's r of each number of the latent over items, (d,); NaN where it does not vary."""
    a, b = (np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64) for values in (decoded, true))
    size = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return np.asarray(np.divide((a * b).sum(axis=0), size, out=np.full(a.shape[1], np.nan), where=size > 0))


@dataclass(frozen=True)
class Line:
    """Decoded against true scores of one attribute: Pearson's r, and slope and intercept of the least-squares line."""

    r: float
    slope: float
    intercept: float


def line(decoded: Array, true: Array) -> Line:
    """Return how decoded scores (n,) follow true ones; NaN where either does not vary."""
    a, b = np.asarray(decoded, np.float64), np.asarray(true, np.float64)
    x, y = b - b.mean(), a - a.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if xx == 0 or yy == 0:
        return Line(float("nan"), float("nan"), float("nan"))
    slope = xy / xx
    return Line(xy / (xx * yy) ** 0.5, slope, float(a.mean() - slope * b.mean()))


def permutation_p(pairs: Array, *, n: int, rng: np.random.Generator) -> float:
    """Return how often shuffled pairs of items score as well, in their mean, as the right ones, (b + 1) / (n + 1).

    Parameters
    ----------
    pairs
        (n_items, n_items): the score of each decoded item with each true one; larger is better.
    n
        Number of shuffles.
    """
    items = np.arange(len(pairs))
    own = pairs[items, items].mean()
    count = sum(bool(pairs[items, rng.permutation(len(pairs))].mean() >= own) for _ in range(n))
    return (count + 1) / (n + 1)


def null_p(own: Array, null: Array, *, n: int, rng: np.random.Generator) -> float:
    """Return how often the mean over items of scores drawn from each item's null is as large, (b + 1) / (n + 1).

    Parameters
    ----------
    own
        (n_items,) scores.
    null
        (n_items, n_draws) scores of what has nothing to do with the item; one of them is drawn for each item, n times.
    """
    rows = np.arange(len(own))
    drawn = null[rows, rng.integers(0, null.shape[1], (n, len(own)))].mean(axis=1)
    return float((np.count_nonzero(drawn >= own.mean()) + 1) / (n + 1))


def ssim_uniform(made: Array, true: Array, *, window: int = 7) -> Array:
    """Return SSIM with a uniform window on colours of 0-255, the mean over channels, as the published scores of faces.

    Parameters
    ----------
    made, true
        (n, H, W, 3) in [0, 1]; rounded to whole numbers of 255.
    window
        Side of the window, pixels, odd; the covariance is that of a sample (divided by its pixels less one).

    Returns
    -------
    Array
        (n,).

    Raises
    ------
    ValueError
        If images are smaller than the window.
    """
    from skimage import metrics

    score: Callable[..., float] = metrics.structural_similarity
    whole = [np.rint(255 * np.asarray(images, np.float64)).astype(np.uint8) for images in (made, true)]
    return np.array(
        [score(a, b, win_size=window, channel_axis=-1, data_range=255) for a, b in zip(*whole, strict=True)]
    )
