"""Which trials human raters see: all pairs, or a balanced part of them."""

from __future__ import annotations

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError


def candidate_trials(groups: Array, *, per_image: int | None = None, rng: np.random.Generator) -> Array:
    """Return trials (target, distractor) of two stimuli of one group.

    All ordered pairs within groups, or a part in which each image is `per_image` times the target and equally often
    the distractor.

    Parameters
    ----------
    groups : (n_images,) int
        Candidates come from one group: all equal where any two images are compared; the colour, where candidates
        differ in shape only.
    per_image
        Trials of each image as target, at most the size of the smallest group - 1; None: all.
    rng
        Draws the part. All pairs are in a fixed order.

    Returns
    -------
    (n_trials, 2) int64, no row twice

    Raises
    ------
    DataError
        If a group has one image, or fewer than `per_image` distractors.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> candidate_trials(np.zeros(3, int), rng=draw).tolist()
    [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    >>> len(candidate_trials(np.zeros(50, int), rng=draw)), len(candidate_trials(np.zeros(40, int), rng=draw))
    (2450, 1560)
    """
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    least = min((len(own) for own in members), default=0)
    if least < 2:
        raise DataError(
            f"a trial needs two candidates, but the smallest of {len(members)} groups of images has {least}; choose a "
            f"dataset in which each image has others to compare it with"
        )
    if per_image is None:
        rows = [(a, b) for own in members for a in own for b in own if a != b]
        return np.array(sorted(rows), np.int64)
    _require_part(per_image, least - 1, what="distractors of an image")
    trials = []
    for own in members:
        order = rng.permutation(own)
        for shift in rng.choice(np.arange(1, len(own)), size=per_image, replace=False):  # once each, both ways
            trials.append(np.stack([order, np.roll(order, -shift)], axis=1))
    return np.concatenate(trials).astype(np.int64)


def round_robin(n: int) -> Array:
    """Return all pairs of n things, in rounds in which each occurs once (odd n: one is left out).

    Examples
    --------
    >>> round_robin(4).tolist()
    [[0, 3], [1, 2], [0, 2], [1, 3], [0, 1], [2, 3]]

    Returns
    -------
    (n * (n - 1) / 2, 2) int64, the smaller first
    """
    even = n + n % 2
    circle, pairs = list(range(even)), []
    for _ in range(even - 1):
        met = [(circle[i], circle[even - 1 - i]) for i in range(even // 2)]
        pairs += sorted((min(pair), max(pair)) for pair in met if max(pair) < n)
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def variant_trials(n_images: int, n_variants: int, *, per_image: int | None = None, rng: np.random.Generator) -> Array:
    """Return trials (image, variant, other variant): all pairs of variants of each image, or a balanced part.

    In a part each image occurs `per_image` times, and pairs of variants equally often (their counts differ by at most
    one); counts of variants differ by at most two.

    Parameters
    ----------
    n_images, n_variants
        At least 1 image, 2 variants.
    per_image
        Trials of each image, at most n_variants * (n_variants - 1) / 2; None: all.
    rng
        Draws the part.

    Returns
    -------
    (n_trials, 3) int64, no row twice

    Raises
    ------
    DataError
        If there are fewer variants or pairs.

    Examples
    --------
    >>> len(variant_trials(50, 8, rng=np.random.default_rng(0)))
    1400
    """
    if n_images < 1 or n_variants < 2:
        raise DataError(
            f"a comparison needs an image and two variants, got {n_images} images and {n_variants} variants; name "
            f"more of them"
        )
    pairs = round_robin(n_variants)
    if per_image is None:
        images, which = np.divmod(np.arange(n_images * len(pairs)), len(pairs))
    else:
        _require_part(per_image, len(pairs), what="pairs of variants")
        renamed = rng.permutation(n_variants)
        pairs = np.sort(renamed[pairs], axis=1)
        at = np.arange(n_images * per_image)
        images, which = rng.permutation(n_images)[at // per_image], at % len(pairs)
    return np.concatenate([images[:, None], pairs[which]], axis=1).astype(np.int64)


def sides(n_trials: int, *, rng: np.random.Generator) -> Array:
    """Return (n_trials,) int64 of 0 and 1 in random order, half of each (odd: one more of either, drawn).

    Examples
    --------
    >>> sorted(sides(4, rng=np.random.default_rng(0)).tolist())
    [0, 0, 1, 1]
    """
    return np.asarray(rng.permutation((np.arange(n_trials) + rng.integers(2)) % 2), np.int64)


def _require_part(per_image: int, most: int, *, what: str) -> None:
    if not 1 <= per_image <= most:
        raise DataError(
            f"the trials of each image are at least 1 and at most the {what}, here {most}, got {per_image}; "
            f"choose fewer, or leave it out for all"
        )
