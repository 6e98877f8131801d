"""Curves of accuracy that rise with the data and level off, fitted to a few sizes, and what they say of other sizes.

    value(n) = f(a sqrt(n / (n + b)))

n counts training images, repeats, averaged trials or voxels; a is where the curve ends, b is the n that reaches
a / sqrt(2). Of averaged trials this is exact: the noise of a mean shrinks as 1 / n. Of the others it is a description.
f is the identity for correlations (a at most 1), and the normal distribution for identification: .5 for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import elementwise
from scipy.special import ndtr, ndtri

from hpc_recon.core.array import Array

Link = Literal["correlation", "identification"]
#: Identification of 0 or 1 has no place on the normal scale: one pair in a thousand is taken as lost or won.
_ROOM = 1e-3
#: b is looked for between the smallest size / 100 (no rise left) and the largest x 1,000 (no end in sight).
_LEAST_B, _MOST_B = 1e-2, 1e3
#: Places of log b that are tried before the best is refined: two to three in each doubling of b.
_PLACES = 49
#: Resampled means that are made at once.
_AT_ONCE = 64


@dataclass(frozen=True)
class Curves:
    """Fitted curves, one in each row."""

    link: Link
    #: (m,) float64, 0 where nothing rises above chance.
    a: Array
    #: (m,) float64, in the unit of n.
    b: Array

    def at(self, n: float | Array) -> Array:
        """Return the values at n: (m,) for a number, (m, len(n)) for several."""
        sizes = np.asarray(n, np.float64)
        shape = (len(self.a),) + (1,) * sizes.ndim
        a, b = self.a.reshape(shape), self.b.reshape(shape)
        rise = a * np.sqrt(sizes / (sizes + b))
        return np.asarray(ndtr(rise) if self.link == "identification" else rise)


def fit(n: Array, values: Array, *, link: Link) -> Curves:
    """Fit a curve to each row of values by least squares.

    For each b the best a is known in closed form, so only b is searched: a grid of log b, then scipy's bracketed
    minimiser. Identification is fitted on the normal scale.

    Parameters
    ----------
    n : (n_sizes,), above 0, two or more different sizes
    values : (m, n_sizes), finite

    Raises
    ------
    ValueError
        For fewer than two different sizes, sizes that are not above 0, or values that are not finite.

    Examples
    --------
    >>> n = np.array([10.0, 20.0, 40.0, 80.0])
    >>> found = fit(n, 0.5 * np.sqrt(n / (n + 30.0))[None], link="correlation")
    >>> round(float(found.a[0]), 4), round(float(found.b[0]), 2)
    (0.5, 30.0)
    """
    sizes, wanted = np.asarray(n, np.float64), np.asarray(values, np.float64)
    if wanted.ndim != 2 or wanted.shape[1:] != sizes.shape or not np.isfinite(wanted).all():
        raise ValueError(f"values must be finite, (m, {len(sizes)}) for {len(sizes)} sizes, got {wanted.shape}")
    if len(np.unique(sizes)) < 2 or sizes.min() <= 0:
        raise ValueError(f"a curve needs two different sizes above 0, got {sizes.tolist()}")
    if link == "identification":
        wanted = ndtri(np.clip(wanted, _ROOM, 1 - _ROOM))
    most = 1.0 if link == "correlation" else np.inf

    def best_a(log_b: Array, rows: Array) -> tuple[Array, Array]:
        """Return a and the sum of squares for one log b (m,) of each row."""
        rise = np.sqrt(sizes / (sizes + np.exp(log_b)[:, None]))  # (m, n_sizes)
        own = wanted[rows]
        a = np.clip((own * rise).sum(axis=1) / (rise * rise).sum(axis=1), 0.0, most)
        return a, ((own - a[:, None] * rise) ** 2).sum(axis=1)

    every = np.arange(len(wanted))
    grid = np.linspace(np.log(_LEAST_B * sizes.min()), np.log(_MOST_B * sizes.max()), _PLACES)
    squares = np.stack([best_a(np.full(len(wanted), place), every)[1] for place in grid], axis=1)  # (m, places)
    at = squares.argmin(axis=1)
    log_b = grid[at]
    inner = np.flatnonzero((at > 0) & (at < _PLACES - 1))
    if len(inner):
        bracket = tuple(grid[at[inner] + step] for step in (-1, 0, 1))
        found = elementwise.find_minimum(
            lambda x, rows: best_a(x, rows.astype(np.int64))[1], bracket, args=(inner.astype(np.float64),)
        )
        log_b[inner] = np.where(found.success, found.x, log_b[inner])  # a flat minimum has no bracket: the grid's
    return Curves(link, best_a(log_b, every)[0], np.exp(log_b))


def resampled_means(values: Array, *, resamples: int, seed: int) -> Array:
    """Return means over draws and units, both drawn again with replacement, (resamples, n_sizes).

    Parameters
    ----------
    values : (n_draws, n_sizes, n_units), finite
        Units, or stimuli of an identification. A draw keeps its sizes together, a unit its draws and sizes.

    Raises
    ------
    ValueError
        Without draws or units, or if values are not finite.
    """
    n_draws, n_sizes, n_units = values.shape
    if not n_draws or not n_units or not np.isfinite(values).all():
        raise ValueError(f"values must be finite (n_draws, n_sizes, n_units), none of them 0, got {values.shape}")
    rng, means = np.random.default_rng(seed), np.empty((resamples, n_sizes))
    flat = np.asarray(values, np.float64).reshape(n_draws, -1)
    for start in range(0, resamples, _AT_ONCE):
        n = min(_AT_ONCE, resamples - start)
        draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws), size=n) / n_draws
        units = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n) / n_units
        over_draws = (draws @ flat).reshape(n, n_sizes, n_units)
        means[start : start + n] = np.einsum("rsu,ru->rs", over_draws, units)
    return means


@dataclass(frozen=True)
class Foretold:
    """What the curve of the smaller sizes said of the largest."""

    #: Sizes of up to half of the largest, which the curve was fitted to.
    n_sizes: int
    predicted: float
    low: float
    high: float
    measured: float


@dataclass(frozen=True)
class Fitted:
    """A curve with the bootstrap around it."""

    mean: Array  # (n_sizes,): measured
    low: Array
    high: Array
    curve: Curves  # one row
    resampled: Curves  # one row a resample
    confidence: float
    #: None where fewer than three sizes reach up to half of the largest.
    foretold: Foretold | None

    def at(self, n: float) -> tuple[float, float, float]:
        """Return the value at n and the percentile limits over the resamples."""
        low, high = _limits(self.resampled.at(n), self.confidence)
        return float(self.curve.at(n)[0]), float(low), float(high)


def fit_resampled(n: Array, values: Array, *, link: Link, confidence: float, resamples: int, seed: int) -> Fitted:
    """Fit a curve to the means over draws and units, and to each of their resamples.

    Parameters
    ----------
    n : (n_sizes,), ascending
    values : (n_draws, n_sizes, n_units)
        Units with a value that is not finite are left out.

    Raises
    ------
    ValueError
        If no unit is left, or as `fit`.
    """
    sizes = np.asarray(n, np.float64)
    kept = values[:, :, np.isfinite(values).all(axis=(0, 1))]
    means = resampled_means(kept, resamples=resamples, seed=seed)
    measured = np.asarray(kept, np.float64).mean(axis=(0, 2))
    low, high = _limits(means, confidence)
    curve, resampled = fit(sizes, measured[None], link=link), fit(sizes, means, link=link)
    small = 2 * sizes <= sizes[-1]
    foretold = None
    if small.sum() >= 3:
        guess = fit(sizes[small], measured[None, small], link=link)
        others = fit(sizes[small], means[:, small], link=link)
        limits = _limits(others.at(sizes[-1]), confidence)
        foretold = Foretold(
            int(small.sum()), float(guess.at(sizes[-1])[0]), float(limits[0]), float(limits[1]), float(measured[-1])
        )
    return Fitted(measured, low, high, curve, resampled, confidence, foretold)


def _limits(values: Array, confidence: float) -> tuple[Array, Array]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high
