"""Identification beyond pairs of candidates anchored at the decoded item: by stimulus, by rank, by category.

Conventions as in `numerics.scores`: items in rows, candidates in columns; every inequality is strict, so that a tie
is a loss; a comparison with an undefined similarity counts one half, and is counted.
"""

from __future__ import annotations

import math

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.scores import Identification


def stimulus_anchored(similarity: Array, target: Array) -> tuple[Identification, Array]:
    """Score whether each item's stimulus is more similar to it than to the items that show other stimuli.

    For item i with stimulus t: #{k: t_k != t and s_kt < s_it} / #{k: t_k != t}. `scores.pairwise_identification`
    keeps the item and changes the stimulus; this keeps the stimulus and changes the item. They differ where some items
    resemble everything.

    Parameters
    ----------
    similarity
        (n, m) of item i with candidate stimulus j.
    target
        (n,) the candidate that item i shows; several items may show one stimulus.

    Returns
    -------
    Identification
        NaN for an item if no item shows another stimulus.
    Array
        (n,) int64, with how many items each was compared.

    Raises
    ------
    ValueError
        If a target is not a candidate.

    Examples
    --------
    >>> similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.4], [0.1, 0.9, 0.3]])
    >>> stimulus_anchored(similarity, np.arange(3))[0].accuracy.tolist()
    [1.0, 0.5, 0.5]
    """
    _require_targets(similarity, target)
    rows = np.arange(len(target))
    others = target[:, None] != target[None, :]  # (n, n): [i, k]
    at_stimulus = similarity[:, target].T  # (n, n): [i, k] is that of item k with the stimulus of item i
    own = similarity[rows, target][:, None]
    undefined = (np.isnan(at_stimulus) | np.isnan(own)) & others
    won = np.where(undefined, 0.5, (at_stimulus < own) & others).sum(axis=1)
    count = others.sum(axis=1)
    accuracy = np.divide(won, count, out=np.full(len(target), np.nan), where=count > 0)
    return Identification(accuracy, np.asarray(undefined.sum(axis=1))), np.asarray(count, np.int64)


def among(similarity: Array, target: Array, rivals: Array) -> tuple[Identification, Array]:
    """Score whether each item is more similar to its own stimulus than to chosen other candidates.

    Parameters
    ----------
    similarity
        (n, m) of item i with candidate stimulus j.
    target
        (n,) the candidate that item i shows.
    rivals
        (m, m) bool: whether candidate k is a rival of candidate j; the diagonal is False.

    Returns
    -------
    Identification
        NaN for an item whose stimulus has no rival.
    Array
        (n,) int64, the number of rivals of each item's stimulus.

    Raises
    ------
    ValueError
        If a target is not a candidate, or a candidate is its own rival.

    Examples
    --------
    >>> among(np.array([[0.9, 0.1, 0.95]]), np.array([0]), ~np.eye(3, dtype=bool))[0].accuracy.tolist()
    [0.5]
    """
    _require_targets(similarity, target)
    m = similarity.shape[1]
    if rivals.shape != (m, m) or np.diagonal(rivals).any():
        raise ValueError(f"rivals must be ({m}, {m}) with a diagonal of False, got {rivals.shape}")
    others = rivals[target]  # (n, m)
    own = similarity[np.arange(len(target)), target][:, None]
    undefined = (np.isnan(similarity) | np.isnan(own)) & others
    won = np.where(undefined, 0.5, (similarity < own) & others).sum(axis=1)
    count = others.sum(axis=1)
    accuracy = np.divide(won, count, out=np.full(len(target), np.nan), where=count > 0)
    return Identification(accuracy, np.asarray(undefined.sum(axis=1))), np.asarray(count, np.int64)


def n_not_below(similarity: Array, own: Array, others: Array) -> Array:
    """Count the candidates that are at least as similar to each item as its own stimulus is.

    Parameters
    ----------
    similarity
        (n, m) of item i with candidate j.
    own
        (n,) similarity of item i with its own stimulus.
    others
        (n, m) whether candidate j counts for item i.

    Returns
    -------
    Array
        (n,) float64; an undefined comparison counts one half.

    Examples
    --------
    >>> n_not_below(np.array([[0.5, 0.2, np.nan]]), np.array([0.5]), np.ones((1, 3), dtype=bool)).tolist()
    [1.5]
    """
    undefined = np.isnan(similarity) | np.isnan(own)[:, None]
    points = np.where(undefined, 0.5, similarity >= own[:, None])
    return np.asarray((points * others).sum(axis=1))


def top(not_below: Array, k: int) -> Array:
    """Return whether each item's own stimulus is among the k most similar candidates, (n,) float64 in [0, 1].

    Chance is k / (number of other candidates + 1). Half a candidate (an undefined comparison) at the border gives one
    half.

    Parameters
    ----------
    not_below
        (n,) how many other candidates are at least as similar (`n_not_below`).

    Examples
    --------
    >>> top(np.array([0.0, 0.5, 1.0, 4.0, 5.0]), 1).tolist(), top(np.array([0.0, 0.5, 1.0, 4.0, 5.0]), 5).tolist()
    ([1.0, 0.5, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    """
    return np.asarray(np.clip(k - np.asarray(not_below, np.float64), 0.0, 1.0))


def n_way(not_below: Array, n_others: int, n: int) -> Array:
    """Return how probably each item's own stimulus is more similar than n - 1 others drawn at random, (n,) float64.

    The mean over all draws without replacement, exact: with b of m others not below the own stimulus it is
    C(m - b, n - 1) / C(m, n - 1). Chance is 1 / n; n = 2 is pairwise identification. Between whole numbers of b (half a
    candidate is an undefined comparison) it is interpolated.

    Parameters
    ----------
    not_below
        (n,) how many others are at least as similar (`n_not_below`).
    n_others
        Number of other candidates, m.
    n
        Candidates of one comparison, the own one among them.

    Raises
    ------
    ValueError
        If there are fewer than n - 1 others.

    Examples
    --------
    >>> n_way(np.array([0.0, 1.0, 3.0]), 4, 3).tolist()
    [1.0, 0.5, 0.0]
    """
    if n_others < n - 1:
        raise ValueError(f"{n}-way identification needs {n - 1} other candidates, got {n_others}")
    known = [math.comb(n_others - b, n - 1) / math.comb(n_others, n - 1) for b in range(n_others + 1)]
    return np.asarray(np.interp(not_below, np.arange(n_others + 1), known))


def by_category_alone(category: Array, target: Array) -> Array:
    """Return the pairwise identification of a decoder that knows each item's category, and nothing else.

    It wins every comparison with another category and one half of those within: with c candidates of the item's
    category among m, ((m - c) + (c - 1) / 2) / (m - 1). Measured identification below this value says nothing about
    more than categories.

    Parameters
    ----------
    category
        (m,) number of the category of each candidate.
    target
        (n,) the candidate that item i shows.

    Returns
    -------
    Array
        (n,) float64; NaN with a single candidate.

    Examples
    --------
    >>> by_category_alone(np.array([0, 0, 1, 1, 1]), np.array([0, 2])).tolist()
    [0.875, 0.75]
    """
    m = len(category)
    if m < 2:
        return np.full(len(target), np.nan)
    size = np.bincount(category, minlength=1)[category[target]]
    return np.asarray(((m - size) + (size - 1) / 2) / (m - 1))


def _require_targets(similarity: Array, target: Array) -> None:
    n, m = similarity.shape
    if target.shape != (n,) or (n and not 0 <= int(target.min()) <= int(target.max()) < m):
        raise ValueError(f"target must be ({n},) numbers of candidates from 0 to {m - 1}")
