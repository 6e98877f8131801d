"""Whether test samples were preprocessed as training samples were: means and deviations of voxels held together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array

#: The median voxel's mean may move by one training deviation (sessions drift, test images differ) before it is told.
LARGEST_SHIFT = 1.0
#: The median voxel's deviation may change threefold, beyond what averaging explains: test images vary more or less.
LARGEST_RATIO = 3.0
#: Standard errors that are added to both, so that few samples are no reason.
_ERRORS = 5.0
#: With fewer test samples a deviation is not compared.
_LEAST = 4


@dataclass(frozen=True)
class Shift:
    """How far the median voxel of test samples is from training.

    Attributes
    ----------
    shift
        Median over voxels of |mean of test - mean of training|, in training deviations.
    ratio
        Median over voxels of the deviation of test over that of training; NaN for fewer than four samples.
    is_far
        Whether either is beyond what drift, other images, averaging and sampling explain.
    """

    shift: float
    ratio: float
    is_far: bool


def compare(
    mean: Array, scale: Array, test: Array, *, n_training: int, averaged: tuple[float, float] = (1.0, 1.0)
) -> Shift:
    """Compare test samples with the mean and deviation of each voxel over training samples.

    The rule: far if the median |shift| is above 1 + 5 sqrt(1 / n_test + 1 / n_training), or if the median ratio of
    deviations is outside [1 / limit, limit], limit = 3 sqrt(a) (1 + 5 / sqrt(2 (n_test - 1))). One of the two datasets
    is a mean of `a` times more presentations than the other, which divides its noise by sqrt(a) at most.

    Parameters
    ----------
    mean, scale
        (n_voxels,) of training samples; voxels with a deviation of 0 are left out.
    test
        (n_test, n_voxels) raw samples.
    n_training
        Number of training samples.
    averaged
        Presentations in a training sample, and in a test sample.

    Examples
    --------
    >>> test = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 2.0], [1.0, 2.0]])
    >>> compare(np.ones(2), np.ones(2), test, n_training=100).is_far
    False
    >>> compare(np.ones(2), np.ones(2), 100 * test, n_training=100).is_far
    True
    """
    varies = np.asarray(scale) > 0
    n = len(test)
    if not varies.any() or not n:
        return Shift(0.0, math.nan, is_far=False)
    test = np.asarray(test, np.float64)[:, varies]
    centre, spread = np.asarray(mean, np.float64)[varies], np.asarray(scale, np.float64)[varies]
    shift = float(np.median(np.abs(test.mean(axis=0) - centre) / spread))
    is_far = shift > LARGEST_SHIFT + _ERRORS * math.sqrt(1 / n + 1 / n_training)
    if n < _LEAST:
        return Shift(shift, math.nan, is_far)
    ratio = float(np.median(test.std(axis=0, ddof=1) / spread))
    more = max(averaged) / min(averaged)
    limit = LARGEST_RATIO * math.sqrt(more) * (1 + _ERRORS / math.sqrt(2 * (n - 1)))
    return Shift(shift, ratio, is_far or not 1 / limit <= ratio <= limit)
