"""What images that look decoded are evidence of: of the image, of a lookup, of its category alone, or of nothing.

Pairwise identification is easy to pass without any image: who knows only which of ten kinds an image is of wins 95 % of
comparisons. So the same comparisons are also made within a category, where such knowledge wins half of them, and both
are held against relabelled stimuli. The thresholds below were set before any study was judged by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hpc_recon.core.array import Array

#: One-sided level of every criterion: the convention of the field. A test that cannot reach it is not made.
ALPHA = 0.05
#: Relabellings drawn: the smallest p is 1e-4, and near .05 its Monte Carlo error is .002.
DRAWS = 10_000
#: With fewer test images the 95 % interval of a pairwise identification is wider than +-.1: .289 x 2 / sqrt(30).
FEW_IMAGES = 30
#: Images of true features must correlate so much with their stimuli that the method can give back half of a stimulus at
#: all; `reconstruct` warns below the same value.
POOR_RECOVERY = 0.5
#: Numbers of equal clusters for which the expected identification stands beside the measured.
CLUSTERS = (5, 10, 20)
#: Draws made at once, so that memory stays at this many times the number of items.
_AT_ONCE = 512

#: From weakest to strongest.
VERDICTS = ("not above chance", "category only", "retrieval", "reconstruction")


@dataclass(frozen=True)
class Identified:
    """Pairwise identification within groups of stimuli, and its probability if stimuli had been dealt at random.

    Attributes
    ----------
    n_items, n_groups
        Items with another candidate of their group, and groups with two stimuli or more.
    mean
        Mean share of the other candidates of its group that are less like an item than its own; ties are losses. NaN
        without an item.
    p
        One-sided, from relabelling the stimuli within their groups; NaN where fewer than 1 / `ALPHA` relabellings
        exist.
    """

    n_items: int
    n_groups: int
    mean: float
    p: float

    @property
    def is_tested(self) -> bool:
        """Whether there are enough stimuli for a p below `ALPHA`."""
        return not math.isnan(self.p)


@dataclass(frozen=True)
class Verdict:
    """What was shown, and what could not be tested."""

    #: One of `VERDICTS`.
    name: str
    #: Of `category`, `retrieval`: criteria that the study's images cannot answer.
    untested: tuple[str, ...]


def expected_from_clusters(k: int, *, between: float = 1.0, within: float = 0.5) -> float:
    """Return the pairwise identification of a decoder that knows only which of `k` equal clusters an image is of.

    within / k + (1 - 1 / k) between: one in k other images is of the same cluster.

    Parameters
    ----------
    k
        Number of clusters, at least 1.
    between
        Share of comparisons with another cluster that it wins (1: it always knows the cluster).
    within
        The same within a cluster; 0.5 is guessing.

    >>> round(expected_from_clusters(10), 3)
    0.95
    """
    if k < 1:
        raise ValueError(f"there must be at least one cluster, got k = {k}")
    return within / k + (1 - 1 / k) * between


def identification_within(similarity: Array, target: Array, groups: Sequence[str], *, seed: int) -> Identified:
    """Identify items among the stimuli of their own group, and relabel the stimuli within groups to know chance.

    Parameters
    ----------
    similarity
        (n_items, n_stimuli); NaN counts as a loss of the candidate that it belongs to.
    target
        (n_items,) int, the stimulus that each item shows.
    groups
        (n_stimuli,) name of the group of each; "" is of no group, and left out. One name for all: plain pairwise
        identification.
    seed
        Of the relabellings; the observed labels count as one of them, so p is never 0.
    """
    names = np.array(groups, dtype=str)
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(groups) if name]
    members = [rows for rows in members if len(rows) > 1]
    wins = np.full(similarity.shape, np.nan)  # (items, stimuli): share of the group that this stimulus beats
    for rows in members:
        own = np.flatnonzero(np.isin(target, rows))
        block = np.where(np.isnan(similarity), -np.inf, similarity)[np.ix_(own, rows)]
        below = rankdata(block, method="min", axis=1) - 1  # (own, rows): how many of the group are strictly less alike
        wins[np.ix_(own, rows)] = below / (len(rows) - 1)
    items = np.flatnonzero(~np.isnan(wins[np.arange(len(target)), target]))
    if not len(items):
        return Identified(0, len(members), float("nan"), float("nan"))
    observed = float(wins[items, target[items]].mean())
    log_number = sum(math.lgamma(len(rows) + 1) for rows in members)
    p = float("nan")
    if log_number >= math.log(1 / ALPHA):
        p = _relabelled(wins[items], target[items], members, observed=observed, seed=seed)
    return Identified(len(items), len(members), observed, p)


def _relabelled(wins: Array, target: Array, members: Sequence[Array], *, observed: float, seed: int) -> float:
    """Return how often relabelled stimuli are identified as well as the true ones."""
    rng = np.random.default_rng(seed)
    as_good = 0
    for start in range(0, DRAWS, _AT_ONCE):
        size = min(_AT_ONCE, DRAWS - start)
        label = np.tile(np.arange(wins.shape[1]), (size, 1))  # (draws, stimuli)
        for rows in members:
            label[:, rows] = rng.permuted(label[:, rows], axis=1)
        means = wins[np.arange(len(target)), label[:, target]].mean(axis=1)  # (draws,)
        as_good += int((means >= observed - 1e-12).sum())  # equal sums differ by rounding
    return (1 + as_good) / (1 + DRAWS)


def fewest_images(n_scores: int) -> int:
    """Return the number of images below which no signed-rank test of one of `n_scores` scores can reach `ALPHA`.

    All n differences above zero have p = 2 ** -n, which Holm multiplies by the number of scores.

    >>> fewest_images(1), fewest_images(2)
    (5, 6)
    """
    return math.floor(math.log2(n_scores / ALPHA)) + 1


def verdict(
    overall: Identified, within: Identified, *, above_class: bool | None, above_exemplar: bool | None
) -> Verdict:
    """Say what is the least that explains the images.

    1. Not identified beyond relabelled stimuli: not above chance.
    2. Not identified within categories (where these can be tested; else not above the mean image of the true class,
       where there is one): category only.
    3. Not above the nearest training image: retrieval.

    A criterion that cannot be answered is passed, and named as untested.

    Parameters
    ----------
    overall, within
        Identification among all stimuli, and within categories.
    above_class, above_exemplar
        Whether the images are above that baseline; None where it does not exist, or there are too few images.
    """
    if not (overall.is_tested and overall.p < ALPHA):
        return Verdict(VERDICTS[0], ())
    beyond_category = within.p < ALPHA if within.is_tested else above_class
    untested = ("category",) if beyond_category is None else ()
    if beyond_category is False:
        return Verdict(VERDICTS[1], untested)
    if above_exemplar is None:
        return Verdict(VERDICTS[3], (*untested, "retrieval"))
    return Verdict(VERDICTS[3] if above_exemplar else VERDICTS[2], untested)


def overall(found: Sequence[Verdict]) -> str:
    """Return the strongest verdict that more than half of the sets reach, of those that answer its criterion.

    Parameters
    ----------
    found
        The verdict of each set, at least one. A set that misses a criterion misses those after it; one that cannot
        answer a criterion does not count there.

    >>> some, most = Verdict("retrieval", ()), Verdict("reconstruction", ())
    >>> overall([some, most]), overall([some, most, most])
    ('retrieval', 'reconstruction')
    >>> overall([some, most, Verdict("reconstruction", ("retrieval",))])
    'retrieval'
    """
    for rank, criterion in enumerate(("chance", "category", "retrieval")):
        answering = [v for v in found if criterion not in v.untested]
        passing = sum(VERDICTS.index(v.name) > rank for v in answering)
        if answering and 2 * passing <= len(answering):
            return VERDICTS[rank]
    return VERDICTS[-1]
