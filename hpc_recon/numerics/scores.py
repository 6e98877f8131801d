"""Scores of decoded features and of reconstructed images, and the interval of a mean score.

Conventions, the same everywhere: `n` decoded items (or reconstructed images) in rows, `m` candidate stimuli,
units (or pixels) in columns. All correlations are Pearson's, computed in float64. A row or unit without any
variance has no correlation: it yields NaN, never 0, and callers count it.

Three scores of decoded features are in use in the field, and they answer different questions:

==================  ===================================  ===================================================  ======
score               one value per                        asks                                                 chance
==================  ===================================  ===================================================  ======
profile             unit, over items                     does this unit's prediction follow the images?       0
pattern             item, over units, z-scored           is this image's pattern right about the mean image?  0
identification      item, over the other candidates      is it more like its own stimulus than another?       0.5
==================  ===================================  ===================================================  ======
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from hpc_recon.core.array import Array

#: A row counts as constant if its standard deviation is below this fraction of its mean: rounding, not signal.
FLAT = 64 * float(np.finfo(np.float64).eps)
#: Width of the Gaussian window of SSIM (Wang et al. 2004), pixels, and the window's side at 3.5 sigma.
SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
#: Resamples drawn at once, so that memory stays at this many times the number of images.
_RESAMPLES_AT_ONCE = 256


@dataclass(frozen=True)
class Products:
    """Means and centred products of the rows of A (n, units) and B (m, units), over the units seen so far.

    The sum of two of them is that of both blocks of units together (Chan, Golub & LeVeque 1983), so memory is
    n x m however many units there are. It is stable: no difference of large sums is ever taken.

    >>> rng = np.random.default_rng(0)
    >>> A, B = rng.normal(size=(3, 50)), rng.normal(size=(4, 50))
    >>> both = products(A[:, :20], B[:, :20]) + products(A[:, 20:], B[:, 20:])
    >>> bool(np.allclose(both.correlation(), np.corrcoef(A, B)[:3, 3:]))
    True
    """

    n_units: int
    #: Row means, float64, (n,) and (m,).
    mean_a: Array
    mean_b: Array
    #: Sums of squares about the row means, float64, (n,) and (m,).
    square_a: Array
    square_b: Array
    #: Sums of products about the row means, float64, (n, m).
    cross: Array

    def __add__(self, other: Products) -> Products:
        n_units = self.n_units + other.n_units
        if n_units == 0:
            return self
        share = other.n_units / n_units
        weight = self.n_units * share
        gap_a, gap_b = other.mean_a - self.mean_a, other.mean_b - self.mean_b
        return Products(
            n_units,
            self.mean_a + share * gap_a,
            self.mean_b + share * gap_b,
            self.square_a + other.square_a + weight * gap_a**2,
            self.square_b + other.square_b + weight * gap_b**2,
            self.cross + other.cross + weight * np.outer(gap_a, gap_b),
        )

    def correlation(self) -> Array:
        """Return Pearson's r of every row of A with every row of B, (n, m) float64; NaN where a row is constant."""
        root_a = _root_unless_flat(self.square_a, self.mean_a, self.n_units)
        root_b = _root_unless_flat(self.square_b, self.mean_b, self.n_units)
        return np.asarray(np.clip(self.cross / root_a[:, None] / root_b[None, :], -1.0, 1.0))  # (n, m)


def products(A: Array, B: Array) -> Products:
    """Return the `Products` of one block of units.

    Parameters
    ----------
    A, B
        (n, units) and (m, units), any real type; computed in float64. Zero units are allowed.

    Raises
    ------
    ValueError
        If the two have different numbers of units.
    """
    if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[1]:
        raise ValueError(f"both arrays must be (rows, units) with equal units, got {A.shape} and {B.shape}")
    n_units = A.shape[1]
    if n_units == 0:
        n, m = len(A), len(B)
        return Products(0, np.zeros(n), np.zeros(m), np.zeros(n), np.zeros(m), np.zeros((n, m)))
    A, B = np.asarray(A, np.float64), np.asarray(B, np.float64)
    mean_a, mean_b = A.mean(axis=1), B.mean(axis=1)
    A, B = A - mean_a[:, None], B - mean_b[:, None]
    square_a, square_b = np.einsum("ij,ij->i", A, A), np.einsum("ij,ij->i", B, B)
    return Products(n_units, mean_a, mean_b, square_a, square_b, A @ B.T)


def _root_unless_flat(square: Array, mean: Array, count: int) -> Array:
    """Return the square root of sums of squares; NaN where they are no more than rounding."""
    flat = square <= count * (FLAT * np.abs(mean)) ** 2
    return np.asarray(np.sqrt(np.where(flat, np.nan, square)))


def standardise(X: Array, *, mean: Array, scale: Array) -> Array:
    """Return (X - mean) / scale with the training statistics of the units, without the units whose scale is 0.

    Parameters
    ----------
    X
        (n, units).
    mean, scale
        (units,) mean and standard deviation over the training stimuli.

    Returns
    -------
    Array
        (n, units of non-zero scale) float64.

    Raises
    ------
    ValueError
        If the numbers of units differ.
    """
    if not X.shape[1:] == mean.shape == scale.shape:
        raise ValueError(
            f"X (n, units), mean and scale (units,) must agree, got {X.shape}, {mean.shape}, {scale.shape}"
        )
    keep = scale > 0
    kept = np.asarray(X[:, keep], np.float64)  # (n, kept units)
    return np.asarray((kept - mean[keep]) / scale[keep])


def profile_correlation(decoded: Array, true: Array) -> Array:
    """Return Pearson's r over items, for every unit.

    Parameters
    ----------
    decoded, true
        (n_items, n_units), row i of both for item i.

    Returns
    -------
    Array
        (n_units,) float64; NaN for a unit that is constant in either (with one item: all of them).

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_same_shape(decoded, true)
    if len(decoded) == 0:
        return np.full(decoded.shape[1], np.nan)
    A, B = np.asarray(decoded, np.float64), np.asarray(true, np.float64)
    mean_a, mean_b = A.mean(axis=0), B.mean(axis=0)
    A, B = A - mean_a, B - mean_b
    root_a = _root_unless_flat(np.einsum("ij,ij->j", A, A), mean_a, len(A))
    root_b = _root_unless_flat(np.einsum("ij,ij->j", B, B), mean_b, len(B))
    return np.asarray(np.clip(np.einsum("ij,ij->j", A, B) / root_a / root_b, -1.0, 1.0))


@dataclass(frozen=True)
class Identification:
    """Pairwise identification: the share of comparisons that each item wins; chance is 0.5."""

    #: (n,) float64 in [0, 1]; NaN if there is no other candidate.
    accuracy: Array
    #: (n,) comparisons of each item that had an undefined correlation and counted one half.
    n_undefined: Array


def pairwise_identification(similarity: Array, target: Array | None = None) -> Identification:
    """Score whether each item is more similar to its own stimulus than to every other candidate.

    For item i with stimulus t: #{j != t : s_ij < s_it} / (m - 1). The inequality is strict, so a tie is a loss.
    A comparison in which either similarity is NaN (a constant item or candidate) counts one half, and is counted.

    Parameters
    ----------
    similarity
        (n, m): of item i with candidate stimulus j.
    target
        (n,) the candidate that item i shows; None means i (n equals m). Several items may show one stimulus.

    Raises
    ------
    ValueError
        If the matrix is not square and no target is given, or a target is not a candidate.

    Examples
    --------
    >>> pairwise_identification(np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.4], [0.1, 0.9, 0.3]])).accuracy.tolist()
    [1.0, 0.5, 0.5]
    """
    n, m = similarity.shape
    if target is None:
        if n != m:
            raise ValueError(f"without target the similarity must be square, got {n} items and {m} candidates")
        target = np.arange(n)
    if target.shape != (n,) or (n and not 0 <= int(target.min()) <= int(target.max()) < m):
        raise ValueError(f"target must be ({n},) numbers of candidates from 0 to {m - 1}")
    own = similarity[np.arange(n), target][:, None]  # (n, 1)
    undefined = np.isnan(similarity) | np.isnan(own)  # (n, m)
    points = np.where(undefined, 0.5, (similarity < own).astype(np.float64))
    others = np.ones((n, m), dtype=bool)
    others[np.arange(n), target] = False
    accuracy = (points * others).sum(axis=1) / (m - 1) if m > 1 else np.full(n, np.nan)
    return Identification(np.asarray(accuracy), np.asarray((undefined & others).sum(axis=1)))


def pixel_similarity(images: Array, stimuli: Array) -> Array:
    """Return Pearson's r over all pixels and channels of every image with every stimulus.

    Parameters
    ----------
    images, stimuli
        (n, H, W, C) and (m, H, W, C); any linear scale (correlation ignores it).

    Returns
    -------
    Array
        (n, m) float64; NaN where an image or stimulus has one value everywhere.
    """
    return products(images.reshape(len(images), -1), stimuli.reshape(len(stimuli), -1)).correlation()


def pixel_correlation(images: Array, stimuli: Array) -> Array:
    """Return Pearson's r over all pixels and channels of image i with stimulus i, (n,) float64."""
    _require_same_shape(images, stimuli)
    columns = (images.reshape(len(images), -1).T, stimuli.reshape(len(stimuli), -1).T)  # (pixels, n)
    return profile_correlation(*columns)


def ssim(images: Array, stimuli: Array) -> Array:
    """Return the structural similarity (Wang et al. 2004) of image i with stimulus i, at their own resolution.

    Gaussian window of sigma 1.5 (11 x 11 pixels), population covariance, data range 1, mean over channels:
    the settings of the original paper, not scikit-image's defaults.

    Parameters
    ----------
    images, stimuli
        (n, H, W, C) in [0, 1].

    Returns
    -------
    Array
        (n,) float64 in [-1, 1]; NaN for images smaller than the window.
    """
    _require_same_shape(images, stimuli)
    return structural(images, stimuli, channel_axis=-1)


def structural(images: Array, stimuli: Array, *, channel_axis: int | None) -> Array:
    """Return scikit-image's SSIM of image i with stimulus i, with the settings of `ssim`.

    Parameters
    ----------
    images, stimuli
        (n, H, W) or (n, H, W, C) in [0, 1], of one shape.
    channel_axis
        The axis of one image over which the mean is taken; None: a grey image.

    Returns
    -------
    Array
        (n,) float64; NaN for images smaller than the window.
    """
    if min(images.shape[1:3]) < SSIM_WINDOW:
        return np.full(len(images), np.nan)
    values = [
        structural_similarity(  # type: ignore[no-untyped-call]
            np.asarray(a, np.float64), np.asarray(b, np.float64),
            gaussian_weights=True, sigma=SSIM_SIGMA, use_sample_covariance=False, data_range=1.0,
            channel_axis=channel_axis,
        )
        for a, b in zip(images, stimuli, strict=True)
    ]  # fmt: skip
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float
    #: Values that entered, and NaN values that were left out.
    n: int
    n_missing: int


def bootstrap_interval(values: Array, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Return the mean of `values` and its percentile interval over resampled images.

    Images are the unit of resampling, because a score says what to expect of another image, for this subject.
    It says nothing about other subjects.

    Parameters
    ----------
    values
        (n,) one value an image; NaN are left out and counted.
    confidence
        Level in (0, 1), for example 0.95.

    Returns
    -------
    Interval
        All NaN without values; limits NaN with a single one.

    Examples
    --------
    >>> bootstrap_interval(np.array([0.5, 0.5, np.nan]), confidence=0.95, resamples=100, seed=0)
    Interval(mean=0.5, low=0.5, high=0.5, n=2, n_missing=1)
    """
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    n, n_missing = len(kept), len(values) - len(kept)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0, n_missing)
    if n == 1:
        return Interval(float(kept[0]), float("nan"), float("nan"), 1, n_missing)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        stop = min(start + _RESAMPLES_AT_ONCE, resamples)
        means[start:stop] = kept[rng.integers(n, size=(stop - start, n))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(kept.mean()), float(low), float(high), n, n_missing)


def _require_same_shape(first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise ValueError(f"both arrays must have one shape, item by item, got {first.shape} and {second.shape}")
