"""Semantic vectors: clusters of training images, a linear decoder of classes, and vectors of held-out images.

What a decoder says of its own training images is far surer than what it says of new ones. So the vectors that anything
later learns from are `crossed`: each image's by a decoder that was fitted without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import orthogonal_procrustes

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.combining import held_and_rest


class Decoder(Protocol):
    """From brain samples to a semantic vector."""

    @property
    def is_aligned(self) -> bool:
        """Whether the vectors of two decoders of the same targets mean the same, number by number."""
        ...

    def vectors(self, samples: Array) -> Array:
        """Return (n, n_semantic) float64 of raw samples (n, n_voxels)."""
        ...


@dataclass(frozen=True)
class Voxels:
    """How voxels are z-scored: mean and standard deviation (ddof 0) of the images that were learnt from."""

    mean: Array
    scale: Array

    @classmethod
    def of(cls, samples: Array) -> Voxels:
        """Return those of samples (n, n_voxels); a constant voxel becomes 0."""
        return cls(samples.mean(axis=0, dtype=np.float64), samples.std(axis=0, dtype=np.float64))

    def apply(self, samples: Array) -> Array:
        """Return z-scored samples (n, n_voxels) float64."""
        varies = self.scale > 0
        found: Array = np.where(varies, (samples - self.mean) / np.where(varies, self.scale, 1.0), 0.0)
        return found


@dataclass(frozen=True)
class Linear:
    """A linear decoder: z-scored voxels times weights (n_voxels, n_semantic), plus an offset."""

    voxels: Voxels
    weights: Array
    offset: Array
    is_aligned: bool = True

    def vectors(self, samples: Array) -> Array:
        """Return the logits (n, n_semantic)."""
        found: Array = self.voxels.apply(samples) @ self.weights + self.offset
        return found


def logistic(samples: Array, classes: Array, *, n_classes: int, penalty: float) -> Linear:
    """Fit a multinomial logistic regression (cross-entropy plus `penalty` / 2 times squared weights).

    Parameters
    ----------
    samples : (n, n_voxels), raw
        Z-scored here.
    classes : (n,) int
        In [0, n_classes); a class that does not occur has the weights 0 and the smallest offset of all, less 1.

    Raises
    ------
    DataError
        If fewer than two classes occur.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(classes)
    if len(present) < 2:
        raise DataError(
            f"a semantic decoder tells classes apart, but there is {len(present)}; give categories, or k >= 2"
        )
    voxels = Voxels.of(samples)
    fitted = LogisticRegression(C=1.0 / penalty, max_iter=2000).fit(voxels.apply(samples), classes)
    coefficients, offsets = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn keeps the difference of both alone
        coefficients, offsets = np.concatenate([-coefficients, coefficients]) / 2, np.array([-1, 1]) * offsets[0] / 2
    weights, offset = np.zeros((samples.shape[1], n_classes)), np.full(n_classes, offsets.min() - 1.0)
    weights[:, present], offset[present] = coefficients.T, offsets
    return Linear(voxels, weights, offset)


def clusters(embedding: Array, n_clusters: int, *, seed: int) -> Array:
    """Return the centres (n_clusters, n_numbers) float64 of k-means (scikit-learn, ten starts) of training images.

    Raises
    ------
    DataError
        If there are fewer distinct images than clusters.
    """
    from sklearn.cluster import KMeans

    n_distinct = len(np.unique(embedding, axis=0))
    if n_distinct < n_clusters:
        raise DataError(
            f"k-means needs as many distinct images as clusters, but there are {n_distinct} for {n_clusters}; give "
            "fewer clusters"
        )
    found = KMeans(n_clusters, n_init=10, random_state=seed % 2**32).fit(embedding.astype(np.float64))
    centres: Array = found.cluster_centers_
    return centres


def nearest(embedding: Array, centres: Array) -> Array:
    """Return the number of the nearest centre of each image, (n,) int64; of equals the first."""
    squares = (centres**2).sum(axis=1) - 2.0 * embedding.astype(np.float64) @ centres.T
    return np.asarray(np.argmin(squares, axis=1), np.int64)


def crossed(samples: Array, folds: Sequence[Array], *, fit: Callable[[Array], Decoder], whole: Decoder) -> Array:
    """Return the vector (n, n_semantic) of each row by a decoder that was fitted without its fold.

    Parameters
    ----------
    samples : (n, n_voxels), raw
        One row an image.
    folds
        Row numbers of each fold, together every row once.
    fit
        Fits a decoder on some rows.
    whole
        The decoder that new images will get, fitted on all rows.

    Notes
    -----
    Hidden units of two networks are not the same, even from the same first weights. Unless decoders are aligned, the
    vectors of a fold are turned (an orthogonal map, and a shift) to what `whole` says of the rows that the fold's
    decoder learnt from; the held-out rows take no part in that.

    Raises
    ------
    DataError
        If the folds do not hold every row once.
    """
    parts = []
    for rows, rest in held_and_rest(folds, len(samples)):
        own = fit(rest)
        vectors = own.vectors(samples[rows])
        if not own.is_aligned:
            vectors = _turned(vectors, own.vectors(samples[rest]), whole.vectors(samples[rest]))
        parts.append(vectors)
    found = np.empty((len(samples), parts[0].shape[1]))
    for rows, vectors in zip(folds, parts, strict=True):
        found[rows] = vectors
    return found


def _turned(vectors: Array, own: Array, wanted: Array) -> Array:
    """Return vectors moved by the rotation or reflection, and the shift, that bring `own` closest to `wanted`."""
    rotation, _ = orthogonal_procrustes(own - own.mean(axis=0), wanted - wanted.mean(axis=0))
    moved: Array = (vectors - own.mean(axis=0)) @ rotation + wanted.mean(axis=0)
    return moved
