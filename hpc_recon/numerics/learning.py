"""Decoders from parts of the training data: nested subsets of images, repeats and voxels, scored on held-out stimuli.

Sums of samples add up (`numerics.additive`), so a larger subset is a smaller one and what it has more: all sizes of a
nested set together cost the Gram matrix of the largest. Fewer voxels are a part of that matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import scores
from hpc_recon.numerics.additive import SampleSums, combined, sample_sums, to_brain
from hpc_recon.numerics.decoder import UnitDecoders, fit_units, predict_units
from hpc_recon.numerics.fold_scores import deviations
from hpc_recon.numerics.needs import UNITS_AT_ONCE
from hpc_recon.numerics.stats import BrainStatistics, average_by, standardise
from hpc_recon.numerics.xp import namespace, to_numpy

#: Numbers of repeats and of averaged trials that are looked at; the largest possible is always one of them.
_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: A subset has at least so many stimuli, or voxels.
_LEAST = 4


def sizes_of(total: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return whole numbers that are these shares of a total, ascending, without repeats.

    Raises
    ------
    DataError
        If the total is too small for two different sizes.

    Examples
    --------
    >>> sizes_of(480, (0.125, 0.25, 0.5, 1.0)), sizes_of(9, (0.125, 0.25, 0.5, 1.0))
    ((60, 120, 240, 480), (4, 9))
    """
    found = tuple(sorted({max(round(share * total), _LEAST) for share in shares}))
    if total < 2 * _LEAST or len(found) < 2:
        raise DataError(
            f"a curve needs subsets of two sizes, but of {total} no two different ones of {_LEAST} or more are asked "
            "for; use more training stimuli, a larger ROI, or other shares under `power`"
        )
    return found


def counts_up_to(most: int) -> tuple[int, ...]:
    """Return the numbers of repeats that are looked at.

    >>> counts_up_to(1), counts_up_to(5), counts_up_to(24)
    ((1,), (1, 2, 3, 4, 5), (1, 2, 3, 4, 6, 8, 12, 16, 24))
    """
    return (*(n for n in _COUNTS if n < most), most)


def turns(codes: Array, rng: np.random.Generator) -> Array:
    """Return, for each sample, which of its stimulus's samples it is in a random order, from 0, (n_samples,) int64.

    Samples with a turn below m are m samples of each stimulus (all it has, if fewer), and nested in m.

    Examples
    --------
    >>> sorted(turns(np.array([0, 1, 0, 0]), np.random.default_rng(0))[[0, 2, 3]].tolist())
    [0, 1, 2]
    """
    found = np.empty(len(codes), np.int64)
    shuffled = rng.permutation(len(codes))
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    counts = np.bincount(codes)
    found[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return found


def growing(
    X: Array, codes: Array, steps: Sequence[Array], *, n_stimuli: int, centre: Array, unit: Array
) -> Iterator[tuple[BrainStatistics, Array]]:
    """Yield the statistics of the samples of the first step, of the first two, ...

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    codes : (n_samples,) int in [0, n_stimuli), numpy
    steps
        Numbers of samples, disjoint: what each size has more than the one before.
    centre, unit
        As `additive.reference` returns them.

    Yields
    ------
    brain, rows
        As `additive.to_brain` returns them: row i of the sums is of stimulus `rows[i]`.
    """
    xp = namespace(X)
    total: SampleSums | None = None
    for step in steps:
        part = sample_sums(
            X[xp.asarray(step)], xp.asarray(codes[step]), n_stimuli=n_stimuli, centre=centre, unit=unit
        )  # fmt: skip
        total = part if total is None else combined(total, part, sign=1, out=total.products)
        yield to_brain(total)


def offered(brain: BrainStatistics, voxels: Array) -> BrainStatistics:
    """Return the statistics of some voxels, ascending numbers (n,)."""
    xp = namespace(brain.sums)
    at = xp.asarray(voxels)
    gram = None if brain.gram is None else brain.gram[at[:, None], at]
    return BrainStatistics(brain.n_samples, brain.mean[at], brain.scale[at], gram, brain.sums[:, at], brain.counts)


def patterns_of(X: Array, codes: Array, brain: BrainStatistics, *, n: int) -> Array:
    """Return samples z-scored by the training statistics and averaged by code, (n, n_voxels)."""
    Z = standardise(X, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    return average_by(Z, namespace(X).asarray(codes), n=n)[0]


def means_of(samples: Array, codes: Array, weights: Array, *, n: int) -> Array:
    """Return the weighted means of the samples of each code, (n, n_voxels) float32; sums are float64, numpy.

    Parameters
    ----------
    weights : (n_samples,), 0 or larger
        A sample with 0 is left out; some of each code count.

    Examples
    --------
    >>> means_of(np.array([[1.0], [4.0], [9.0]]), np.array([0, 0, 0]), np.array([2.0, 1.0, 0.0]), n=1).tolist()
    [[2.0]]
    """
    share = np.zeros((n, len(codes)))
    share[codes, np.arange(len(codes))] = weights
    share /= share.sum(axis=1, keepdims=True)
    return np.asarray(share @ samples.astype(np.float64), np.float32)


def fit(brain: BrainStatistics, Y: Array, *, n_voxels: int, alpha: float, penalize_bias: bool) -> list[UnitDecoders]:
    """Return the decoders of all units, a block at a time."""
    return [
        fit_units(
            brain, Y[:, start : start + UNITS_AT_ONCE], n_voxels=n_voxels, alpha=alpha, penalize_bias=penalize_bias
        )
        for start in range(0, Y.shape[1], UNITS_AT_ONCE)
    ]


def decode(patterns: Array, fitted: Sequence[UnitDecoders]) -> Array:
    """Return what decoders predict from z-scored patterns, (n_patterns, n_units), numpy."""
    return np.concatenate([to_numpy(predict_units(patterns, own)) for own in fitted], axis=1)


def predict(
    brain: BrainStatistics, Y: Array, patterns: Array, *, n_voxels: int, alpha: float, penalize_bias: bool
) -> Array:
    """Fit decoders of all units and return what they predict from z-scored patterns (n_patterns, n_units), numpy."""
    own = fit(brain, Y, n_voxels=n_voxels, alpha=alpha, penalize_bias=penalize_bias)
    return decode(patterns, own)


def identified(predicted: Array, true: Array, *, mean: Array, scale: Array) -> Array:
    """Return the share of the other stimuli that each prediction is less like than its own, on z-scores, (n,) float64.

    Parameters
    ----------
    predicted, true : (n, n_units)
    mean, scale : (n_units,)
        Over the training stimuli; units whose scale is 0 are left out.
    """
    z = [scores.standardise(values, mean=mean, scale=scale) for values in (predicted, true)]
    return scores.pairwise_identification(scores.products(*z).correlation()).accuracy


class HeldOut:
    """Scores of held-out stimuli for several settings, gathered fold by fold; no prediction is kept.

    Parameters
    ----------
    layers
        Which units belong to each layer.
    """

    def __init__(self, n_settings: int, *, n_stimuli: int, layers: Sequence[slice]) -> None:
        self._layers = tuple(layers)
        self._sums = np.zeros((3, n_settings, self._layers[-1].stop))  # products, of predictions, of truth
        #: (n_settings, n_layers, n_stimuli) float32: pairwise identification among the stimuli of a fold, on z-scores.
        self.identification: Array = np.full((n_settings, len(self._layers), n_stimuli), np.nan, np.float32)

    def add(
        self, settings: Sequence[int], rows: Array, predicted: Array, true: Array, *, mean: Array, scale: Array
    ) -> None:
        """Add the held-out stimuli `rows` of a fold to settings that share these predictions.

        Parameters
        ----------
        predicted, true : (n_rows, n_units)
        mean, scale : (n_units,)
            Of the training stimuli; identification is that of features z-scored with them.
        """
        p, y = (deviations(values.astype(np.float64)) for values in (predicted, true))
        for setting in settings:
            for total, product in zip(self._sums, (p * y, p * p, y * y), strict=True):
                total[setting] += product.sum(axis=0)
        for number, units in enumerate(self._layers):
            accuracy = identified(predicted[:, units], true[:, units], mean=mean[units], scale=scale[units])
            for setting in settings:
                self.identification[setting, number, rows] = accuracy

    def correlation(self) -> Array:
        """Return r of each setting and unit, (n_settings, n_units) float32, from deviations from the folds' means.

        NaN for a unit that does not vary; 0 where its predictions do not.
        """
        cross, own, truth = self._sums
        norm = np.sqrt(own * truth)
        r = np.divide(cross, norm, out=np.zeros_like(norm), where=norm > 0)
        return np.where(truth > 0, r, np.nan).astype(np.float32)
