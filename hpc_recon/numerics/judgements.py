"""Choices between images, of raters or by scores: shares by image, a test against guessing, and agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import hypotheses


@dataclass(frozen=True)
class AgainstChance:
    """Wilcoxon's signed-rank test of values against 0.5: NaN where no value differs from it."""

    statistic: float
    p: float
    #: Values that differ from 0.5.
    n: int


def shares(votes: Array, index: Array, *, n: int) -> Array:
    """Return the mean vote of each image: over raters in each trial, then over the trials of the image.

    Parameters
    ----------
    votes : (n_raters, n_trials) of 0 and 1
        1: the rater chose what is counted.
    index : (n_trials,) int in [0, n)
        The image of each trial.
    n
        Number of images; one without trials gives NaN.

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> shares(np.array([[1, 0, 1], [1, 1, 1]]), np.array([0, 0, 1]), n=3).tolist()
    [0.75, 1.0, nan]
    """
    trials = np.asarray(votes, np.float64).mean(axis=0)  # (n_trials,)
    count = np.bincount(index, minlength=n)
    total = np.bincount(index, weights=trials, minlength=n)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def wins(votes: Array, trials: Array, *, n_images: int, n_variants: int) -> Array:
    """Return the share of opponents that each variant beats, by image: ties between raters count half.

    A trial gives the variant the share of raters who chose it, so a vote of two against two is half a win.

    Parameters
    ----------
    votes : (n_raters, n_trials) of 0 and 1
        1: the rater chose the second variant of the trial.
    trials : (n_trials, 3) int
        Image, first and second variant.

    Returns
    -------
    (n_variants, n_images) float64; NaN where a variant was not shown with an image

    Examples
    --------
    >>> wins(np.array([[0, 0, 1], [0, 1, 1]]), np.array([[0, 0, 1], [0, 0, 2], [0, 1, 2]]), n_images=1, n_variants=3)
    array([[0.75],
           [0.  ],
           [0.75]])
    """
    second = np.asarray(votes, np.float64).mean(axis=0)
    cell = np.concatenate([trials[:, 1], trials[:, 2]]) * n_images + np.tile(trials[:, 0], 2)
    size = n_images * n_variants
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=np.concatenate([1 - second, second]), minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(n_variants, n_images)


def wins_of_scores(values: Array) -> Array:
    """Return the share of opponents whose image scores lower, by variant and image: ties count half.

    Parameters
    ----------
    values : (n_variants, n_images)
        A score that is the higher the better; NaN where a variant has none: it is nobody's opponent there.

    Returns
    -------
    (n_variants, n_images) float64; NaN where a variant has no score or no opponent

    Examples
    --------
    >>> wins_of_scores(np.array([[3.0, 1.0], [2.0, 1.0], [1.0, np.nan]]))
    array([[1. , 0.5],
           [0.5, 0.5],
           [0. , nan]])
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    own, other = values[:, None], values[None]  # (n_variants, n_variants, n_images)
    both = known[:, None] & known[None] & ~np.eye(len(values), dtype=bool)[:, :, None]
    points = np.where(both, (own > other) + 0.5 * (own == other), 0.0).sum(axis=1)
    opponents = both.sum(axis=1)
    return np.where(opponents > 0, points / np.maximum(opponents, 1), np.nan)


def against_chance(values: Array, *, two_sided: bool = False) -> AgainstChance:
    """Test values against 0.5 (`hypotheses.signed_rank`); values equal to 0.5 are left out.

    The statistic is the sum of the ranks above 0.5; two-sided, the smaller of both sums.

    Parameters
    ----------
    values : (n,)
        One an image; NaN are left out.
    two_sided
        False: the alternative is that they are greater.

    Examples
    --------
    >>> against_chance(np.array([0.9, 0.8, 0.7, 0.5]))
    AgainstChance(statistic=6.0, p=0.125, n=3)
    """
    found = hypotheses.signed_rank(np.asarray(values, np.float64) - 0.5)
    if not found.n_moved:
        return AgainstChance(float("nan"), float("nan"), 0)
    total = found.n_moved * (found.n_moved + 1) / 2  # of all ranks
    above = round(total * (1 + found.rank_biserial)) / 2  # ranks of ties are halves
    statistic = min(above, total - above) if two_sided else above
    return AgainstChance(statistic, found.p_two if two_sided else found.p_one, found.n_moved)


def fleiss_kappa(votes: Array) -> float:
    """Return Fleiss' kappa (1971) of raters who all judged the same trials with 0 or 1.

    kappa = (P - Pe) / (1 - Pe), where P is the share of agreeing pairs of raters, mean over trials, and Pe the sum of
    the squared shares of both answers.

    Parameters
    ----------
    votes : (n_raters, n_trials) int of 0 and 1

    Returns
    -------
    float
        1 for full agreement, about 0 for guessing; NaN if all raters gave one and the same answer everywhere.

    Raises
    ------
    DataError
        If there are fewer than two raters, or no trial.

    Examples
    --------
    >>> fleiss_kappa(np.array([[0, 1, 1, 0], [0, 1, 1, 0]]))
    1.0
    """
    n_raters, n_trials = votes.shape
    if n_raters < 2 or n_trials < 1:
        raise DataError(
            f"agreement needs two raters and a trial, got {n_raters} raters and {n_trials} trials; give more ratings"
        )
    ones = np.asarray(votes, np.float64).sum(axis=0)  # (n_trials,)
    counts = np.stack([n_raters - ones, ones])  # (2, n_trials)
    agreement = float(((counts * (counts - 1)).sum(axis=0) / (n_raters * (n_raters - 1))).mean())
    expected = float(((counts.sum(axis=1) / (n_raters * n_trials)) ** 2).sum())
    return (agreement - expected) / (1 - expected) if expected < 1 else float("nan")
