"""Scores of one layer's decoded features, gathered block of units by block: memory does not grow with the units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.scores import (
    Identification,
    Products,
    pairwise_identification,
    products,
    profile_correlation,
    standardise,
)


@dataclass(frozen=True)
class LayerScores:
    """What is kept of the blocks of units seen so far; the sum of two is that of both together.

    Profiles are one float64 a unit; everything else is items x stimuli.

    >>> rng = np.random.default_rng(0)
    >>> true, target = rng.normal(size=(4, 30)), np.arange(4)
    >>> mean, scale = np.zeros(30), np.ones(30)
    >>> one, two = (layer_scores(true[:, s], true[:, s], target, mean=mean[s], scale=scale[s])
    ...             for s in (slice(0, 10), slice(10, 30)))
    >>> (one + two).identification().accuracy.tolist(), len((one + two).profile)
    ([1.0, 1.0, 1.0, 1.0], 30)
    """

    #: (n_items,) row of the true features that each item shows.
    target: Array
    #: (n_units,) profile correlations, NaN for constant units.
    profile: Array
    #: Items with stimuli, on raw features and on features z-scored with training statistics.
    raw: Products
    zscored: Products
    #: Items with the mean features of each category of stimuli, raw; None where categories are not known.
    categories: Products | None = None

    def __add__(self, other: LayerScores) -> LayerScores:
        categories = None if self.categories is None or other.categories is None else self.categories + other.categories
        return LayerScores(
            self.target,
            np.concatenate([self.profile, other.profile]),
            self.raw + other.raw,
            self.zscored + other.zscored,
            categories,
        )

    def pattern(self) -> Array:
        """Return the pattern correlation of each item, (n_items,) float64; NaN if undefined."""
        return np.asarray(self.zscored.correlation()[np.arange(len(self.target)), self.target])

    def profile_summary(self) -> tuple[dict[str, float], int]:
        """Return mean (""), quartiles ("_q25", "_q75"), share of r <= 0 ("_nonpositive") over units, and how many.

        Units that are constant do not count; all NaN without any other.
        """
        defined = self.profile[~np.isnan(self.profile)]
        if len(defined) == 0:
            return dict.fromkeys(("", "_q25", "_q75", "_nonpositive"), float("nan")), 0
        low, high = np.quantile(defined, [0.25, 0.75])
        quartiles = {"_q25": float(low), "_q75": float(high)}
        return {"": float(defined.mean()), **quartiles, "_nonpositive": float((defined <= 0).mean())}, len(defined)

    def identification(self) -> Identification:
        """Return the pairwise identification of each item among the stimuli, on raw features as published."""
        return pairwise_identification(self.raw.correlation(), self.target)

    def identification_zscored(self) -> Identification:
        """Return the same on features z-scored with training statistics: the mean pattern then helps nobody."""
        return pairwise_identification(self.zscored.correlation(), self.target)


def layer_scores(
    decoded: Array, true: Array, target: Array, *, mean: Array, scale: Array, category: Array | None = None
) -> LayerScores:
    """Score one block of units.

    Parameters
    ----------
    decoded
        (n_items, units) decoded features.
    true
        (n_stimuli, units) features of the distinct stimuli of the dataset.
    target
        (n_items,) row of `true` that each item shows.
    mean, scale
        (units,) training statistics; units with scale 0 are left out of the pattern correlation.
    category
        (n_stimuli,) number of the category of each row of `true`, from 0 without gaps; None: not known.

    Raises
    ------
    ValueError
        If numbers of units, of items and targets, or of stimuli and categories differ.
    """
    z = [standardise(x, mean=mean, scale=scale) for x in (decoded, true)]
    known = None if category is None else products(decoded, category_means(true, category))
    profile = profile_correlation(decoded, true[target])
    return LayerScores(target, profile, products(decoded, true), products(*z), known)


def category_means(true: Array, category: Array) -> Array:
    """Return the mean features of each category, (n_categories, units) float64.

    Parameters
    ----------
    true
        (n_stimuli, units).
    category
        (n_stimuli,) number of the category of each, from 0 without gaps.

    Raises
    ------
    ValueError
        If there are more or fewer categories than stimuli, or a number is left out.

    Examples
    --------
    >>> category_means(np.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]), np.array([0, 0, 1])).tolist()
    [[2.0, 3.0], [9.0, 9.0]]
    """
    if category.shape != (len(true),):
        raise ValueError(f"category must be ({len(true)},), one number a stimulus, got {category.shape}")
    count = np.bincount(category)
    if (count == 0).any():
        raise ValueError(f"categories are numbered from 0 without gaps, but {int(count.argmin())} has no stimulus")
    weight = (category[None, :] == np.arange(len(count))[:, None]) / count[:, None]  # (categories, stimuli)
    return np.asarray(weight @ np.asarray(true, np.float64))
