"""How much decoded items are like training stimuli: r over units that are z-scored with training statistics.

What `evaluate` compares every image with, the nearest training image, and what `retrieval` shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics import scores
from hpc_recon.numerics.scores import Products


def with_training(decoded: Mapping[str, Array], true: Array, *, mean: Array, scale: Array) -> dict[str, Products]:
    """Compare items of each dataset with training stimuli over a block of units; blocks are added up.

    Parameters
    ----------
    decoded
        By dataset: (n_items, units).
    true : (n_training, units)
        Features of the training stimuli.
    mean, scale : (units,)
        Of the training stimuli; units whose scale is 0 are left out.

    Returns
    -------
    dict
        By dataset: `Products` of items and stimuli; `correlation()` of their sum is r, (n_items, n_training).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=(5, 30))
    >>> found = with_training({"a": true[:2]}, true, mean=true.mean(axis=0), scale=true.std(axis=0, ddof=1))
    >>> nearest([found["a"].correlation()]).tolist()
    [[0], [1]]
    """
    zscored = scores.standardise(true, mean=mean, scale=scale)  # (n_training, kept units)
    return {
        name: scores.products(scores.standardise(values, mean=mean, scale=scale), zscored)
        for name, values in decoded.items()
    }


def nearest(similarities: Iterable[Array], n: int = 1) -> Array:
    """Return the n training stimuli most like each item, mean over layers, the most alike first; ties: the first.

    Parameters
    ----------
    similarities
        Of each layer (n_items, n_training). What is undefined (a constant pattern) counts 0, as no correlation does.

    Returns
    -------
    Array
        (n_items, n) int64; fewer columns where there are fewer stimuli.
    """
    total: Array | float = 0.0
    for similarity in similarities:
        total = total + np.nan_to_num(similarity)
    return np.argsort(-np.asarray(total), axis=1, kind="stable")[:, :n]
