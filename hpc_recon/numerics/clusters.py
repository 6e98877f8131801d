"""Clusters of stimuli by their features (k-means of scikit-learn), and where other stimuli belong."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Beginnings of k-means, of which the tightest clusters are kept.
_STARTS = 10


def assign(training: Array, others: Array, *, k: int, seed: int) -> tuple[Array, Array]:
    """Cluster training stimuli, and return the cluster of each of them and of other stimuli (the nearest centre).

    Units are z-scored with the training stimuli's mean and standard deviation; those that do not vary are left out.
    Clusters are numbered from the largest (in training stimuli) to the smallest.

    Parameters
    ----------
    training : (n_training, n_units)
        Features of the stimuli that make the clusters.
    others : (n_others, n_units)
        Features of stimuli that make none.
    k
        Number of clusters, 2 or more.
    seed
        Of the beginnings of k-means.

    Returns
    -------
    (n_training,) and (n_others,) int64 in [0, k)

    Raises
    ------
    DataError
        If there are fewer distinct training stimuli than clusters.

    Examples
    --------
    >>> near, far = np.array([[0.0], [0.1], [0.2], [9.0]]), np.array([[8.0]])
    >>> [found.tolist() for found in assign(near, far, k=2, seed=0)]
    [[0, 0, 0, 1], [1]]
    """
    training = np.asarray(training, np.float64)
    mean, scale = training.mean(axis=0), training.std(axis=0)
    varies = scale > 0
    scaled = (training[:, varies] - mean[varies]) / scale[varies]
    distinct = len(np.unique(scaled, axis=0)) if varies.any() else 1
    if not 2 <= k <= distinct:
        raise DataError(
            f"clusters need 2 of them or more, and as many distinct training stimuli, got {k} clusters of {distinct} "
            "distinct stimuli; set controls.clusters to fewer"
        )
    found = KMeans(n_clusters=k, n_init=_STARTS, random_state=seed % 2**32).fit(scaled)
    placed = found.predict((np.asarray(others, np.float64)[:, varies] - mean[varies]) / scale[varies])
    number = np.empty(k, np.int64)
    number[np.argsort(-np.bincount(found.labels_, minlength=k), kind="stable")] = np.arange(k)
    return number[found.labels_], number[placed]
