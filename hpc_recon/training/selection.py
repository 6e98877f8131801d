"""Which training samples a network learns from: all, or fewer samples, or samples of fewer images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.train_options import TrainingSet


def chosen(labels: Sequence[str], wanted: TrainingSet, *, seed: int, where: str) -> Array:
    """Return the numbers of the chosen samples, int64 ascending.

    Images are drawn at random; of their samples, every image gives its first one (in a random order of its own) before
    any gives its second. So for one seed fewer images, or fewer samples of the same images, are a part of more.

    Parameters
    ----------
    labels
        What each sample shows.
    where
        Names the entry in an error message.

    Raises
    ------
    DataError
        If there are fewer images or samples than wanted, or fewer samples than images are wanted.
    """
    names = sorted(set(labels))
    n_images = len(names) if wanted.images is None else wanted.images
    if n_images > len(names):
        raise DataError(
            f"{where}: training.images asks for {n_images} images, but there are {len(names)}; ask for fewer"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))  # drawn whole, so that smaller sets lie within larger ones
    rank = {names[name]: place for place, name in enumerate(order)}
    tickets = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)  # 0: the first sample that its image gives
    place = np.array([rank[label] for label in labels])
    for image in range(len(names)):
        own = np.flatnonzero(place == image)
        turn[own[np.argsort(tickets[own])]] = np.arange(len(own))
    found = np.flatnonzero(place < n_images)
    if wanted.samples is not None:
        if wanted.samples > len(found) or wanted.samples < n_images:
            raise DataError(
                f"{where}: training.samples asks for {wanted.samples} samples of {n_images} images, which have "
                f"{len(found)}; ask for {n_images} to {len(found)}"
            )
        found = found[np.lexsort((place[found], turn[found]))][: wanted.samples]
    return np.sort(found).astype(np.int64)
