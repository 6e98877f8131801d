"""One person's voxels from another's: ridge regressions of target voxels on source voxels, on paired samples.

Both sides are z-scored over the paired samples (ddof 1). A *block* is a set of target voxels that read one set of
source voxels; with z_x the z-scored source pattern, a target voxel is

    y = y_mean + y_scale * (z_x[voxel] @ weight + bias).

A sample of one person is paired with one of the other, so repeats differ on both sides: each pair counts as a stimulus
of its own for the engine (`numerics.all_voxels`, `numerics.decoder`), whose targets are the target voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import all_voxels, decoder
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.factorisation import prepare, sample_statistics
from hpc_recon.numerics.stats import (
    BrainStatistics,
    brain_statistics,
    mean_and_scale,
    require_finite,
    standardise,
)
from hpc_recon.numerics.voxel_weights import weighted

#: Median over 20 pairs of the penalties that the authors of the neural code converter cross-validated, by the number of
#: paired samples (Ho et al., NeuroImage 271:120007): one block a hemisphere, or one a visual area and hemisphere.
PUBLISHED = {
    "whole": {300: 1.0, 600: 1.0, 900: 1.0, 1200: 2.0, 2400: 420.0, 3600: 620.0, 4800: 800.0, 6000: 1000.0},
    "subareas": {300: 20.0, 600: 220.0, 900: 320.0, 1200: 400.0, 2400: 280.0, 3600: 200.0, 4800: 160.0, 6000: 120.0},
}

#: Target voxels whose predictions are held at a time.
_AT_ONCE = 1024


@dataclass(frozen=True)
class Block:
    """A fitted block; numpy arrays."""

    #: (n_source,) float64, over the paired samples, ddof 1; x_scale is 0 for constant voxels, which weigh nothing.
    x_mean: Array
    x_scale: Array
    #: (n_target, k) int32 source voxels that each target voxel reads; or (1, k): all of them read these.
    voxel: Array
    #: (n_target, k), on the z-scored scale.
    weight: Array
    #: (n_target,), on the z-scored scale.
    bias: Array
    #: (n_target,) float64; y_scale is 0 for constant voxels, which are y_mean.
    y_mean: Array
    y_scale: Array

    def predict(self, X: Array) -> Array:
        """Convert raw source samples (n, n_source) into raw target samples (n, n_target), in the type of the weights.

        Raises
        ------
        DataError
            If X has another number of voxels, or values that are not finite.
        """
        if X.ndim != 2 or X.shape[1] != len(self.x_mean):
            raise DataError(
                f"the converter reads {len(self.x_mean)} source voxels, but the samples are {X.shape}; select the "
                "voxels that it was fitted to"
            )
        require_finite(X, name="X", rows="sample", columns="voxel")
        Z = standardise(X, mean=self.x_mean, scale=self.x_scale, dtype=self.weight.dtype)
        if len(self.voxel) == 1 and len(self.weight) != 1:
            z = Z[:, self.voxel[0]] @ self.weight.T + self.bias
            result: Array = (z * self.y_scale + self.y_mean).astype(self.weight.dtype)
            return result
        voxel = np.broadcast_to(self.voxel, self.weight.shape)
        units = decoder.UnitDecoders(voxel, self.weight, self.bias, self.y_mean, self.y_scale, 0)
        return decoder.predict_units(Z, units)

    def part(self, targets: slice) -> Block:
        """Return the block of some of its target voxels."""
        voxel = self.voxel if len(self.voxel) == 1 else self.voxel[targets]
        rest = (values[targets] for values in (self.weight, self.bias, self.y_mean, self.y_scale))
        return Block(self.x_mean, self.x_scale, voxel, *rest)

    def dense(self) -> Array:
        """Return the weights as (n_source, n_target), 0 where a target voxel does not read a source voxel."""
        W = np.zeros((len(self.x_mean), len(self.weight)), self.weight.dtype)
        if len(self.voxel) == 1:
            W[self.voxel[0]] = self.weight.T
        else:
            W[self.voxel.T, np.arange(len(self.weight))] = self.weight.T
        return W


def fit_block(X: Array, Y: Array, *, alpha: float, n_voxels: int | None = None, gain: Array | None = None) -> Block:
    """Fit the target voxels of a block to its source voxels.

    With z-scored X and y, weights solve (X_S'X_S + alpha I) w = X_S'y; the intercept is 0 up to rounding.

    Parameters
    ----------
    X : (n_pairs, n_source), raw, finite
    Y : (n_pairs, n_target), raw, finite
    alpha
        Ridge penalty on the z-scored scale, > 0.
    n_voxels
        Source voxels of largest |correlation| that each target voxel reads; None: all.
    gain : (n_source,), at least 0
        With all source voxels: what z-scored ones are multiplied by before they are penalised (`voxel_weights`); voxels
        of gain 0 weigh nothing. The weights that are returned are those of z-scored voxels. None: 1.

    Raises
    ------
    DataError
        If the numbers of samples differ, values are not finite, or all source voxels are constant.

    Notes
    -----
    One factorisation serves all target voxels where all source voxels are read. Memory: `all_voxels.fit_bytes` and
    `all_voxels.system_bytes`; with a selection that of the decoders, with the Gram matrix of the source voxels.
    """
    _require_paired(X, Y)
    if n_voxels is not None:
        return _on_best_voxels(brain_statistics(X), Y, alpha=alpha, n_voxels=n_voxels)
    pairs = np.arange(len(X))
    brain = weighted(sample_statistics(X, pairs, n_stimuli=len(X)), gain)
    units = all_voxels.fit_units(prepare(X, pairs, brain, n_alphas=1), brain, Y, alpha=alpha)
    voxel, weight, scale = units.voxel[:1], units.weight, brain.scale
    if gain is not None:
        weight, scale = (weight * gain[voxel[0]]).astype(weight.dtype), mean_and_scale(X)[1]
    return Block(brain.mean, scale, np.ascontiguousarray(voxel), weight, units.bias, units.y_mean, units.y_scale)


def match_variance(block: Block, X: Array) -> tuple[Block, float]:
    """Return a block whose predictions vary as much as its target does, and the factor that was needed.

    A ridge regression shrinks: what it predicts of noisy voxels varies far less than they do. Decoders that were fitted
    to the target's own samples then see hardly more than its mean. With v the variance of a z-scored target voxel as
    predicted from the samples that the block was fitted to, all weights and biases are multiplied by the one factor
    1 / sqrt(mean of v): correlations of predictions with anything, voxel by voxel, are as they were.

    Parameters
    ----------
    X : (n_pairs, n_source), raw
        The source samples that the block was fitted to.

    Raises
    ------
    DataError
        If nothing that is predicted varies.
    """
    varies = block.y_scale > 0
    total = 0.0
    for start in range(0, len(block.weight), _AT_ONCE):
        part = block.part(slice(start, start + _AT_ONCE))
        scale = np.where(part.y_scale > 0, part.y_scale, np.inf)
        total += float((part.predict(X).var(axis=0, ddof=1, dtype=np.float64) / scale**2).sum())
    if not total > 0:
        raise DataError(
            f"the converter predicts the same for all {len(X)} samples in each of {len(block.weight)} target voxels: "
            "there is no variance to scale up; set convert.variance: as_fitted, or check the samples"
        )
    factor = float(np.sqrt(int(varies.sum()) / total))
    weight, bias = ((values * factor).astype(values.dtype) for values in (block.weight, block.bias))
    return replace(block, weight=weight, bias=bias), factor


def _on_best_voxels(brain: BrainStatistics, Y: Array, *, alpha: float, n_voxels: int) -> Block:
    """Return the block of `fit_block` with `n_voxels`, from the statistics of the source samples."""
    units = decoder.fit_units(brain, Y, n_voxels=n_voxels, alpha=alpha)
    return Block(brain.mean, brain.scale, units.voxel, units.weight, units.bias, units.y_mean, units.y_scale)


@dataclass(frozen=True)
class Chosen:
    """A penalty chosen by cross-validation, and the explained variance of each candidate."""

    alpha: float
    alphas: tuple[float, ...]
    #: (n_alphas,) 1 - sum of squared errors / sum of squares about the training mean; target voxels count alike.
    explained_variance: tuple[float, ...]


def choose_alpha(
    X: Array,
    Y: Array,
    stimulus: Array,
    *,
    alphas: Sequence[float],
    n_folds: int,
    seed: int,
    n_voxels: int | None = None,
    gain: Array | None = None,
) -> Chosen:
    """Choose the penalty that predicts held-out stimuli best; of equal ones the largest.

    All pairs of samples that show a stimulus are held out together, and everything is fitted again in each fold.

    Parameters
    ----------
    X, Y, n_voxels, gain
        As in `fit_block`; gains are the same in all folds.
    stimulus : (n_pairs,) int
        What both samples of a pair show.
    alphas
        Candidates.

    Raises
    ------
    DataError
        If there are fewer stimuli than folds, or no target voxel varies.
    """
    _require_paired(X, Y)
    shown, codes = np.unique(stimulus, return_inverse=True)
    fold = deal_folds(len(shown), n_folds, seed=seed, option="convert.folds")[codes]
    alphas = tuple(sorted(set(alphas)))
    spread = np.asarray(Y, np.float64).var(axis=0)
    varies = spread > 0
    if not varies.any():
        raise DataError("no target voxel varies over the paired samples, so no penalty is better; check the samples")
    errors, total = np.zeros((len(alphas), Y.shape[1])), np.zeros(Y.shape[1])
    for number in range(n_folds):
        own, own_total = _fold_errors(X, Y, fold == number, alphas, n_voxels, gain)
        errors += own
        total += own_total
    weight = 1.0 / spread[varies]
    explained = 1.0 - (errors[:, varies] @ weight) / (total[varies] @ weight)
    best = max(range(len(alphas)), key=lambda a: (explained[a], alphas[a]))
    return Chosen(alphas[best], alphas, tuple(float(x) for x in explained))


def _fold_errors(
    X: Array, Y: Array, held_out: Array, alphas: Sequence[float], n_voxels: int | None, gain: Array | None
) -> tuple[Array, Array]:
    """Return squared errors (n_alphas, n_target) of held-out pairs, and those of the training mean (n_target,)."""
    if n_voxels is None:
        return all_voxels.fold_errors(X, Y, stimulus=np.arange(len(X)), held_out=held_out, alphas=alphas, gain=gain)
    test = Y[held_out].astype(np.float64)
    total = ((test - Y[~held_out].mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
    brain = brain_statistics(X[~held_out])
    fitted = (_on_best_voxels(brain, Y[~held_out], alpha=alpha, n_voxels=n_voxels) for alpha in alphas)
    return np.stack([((test - block.predict(X[held_out])) ** 2).sum(axis=0) for block in fitted]), total


def published_alpha(kind: str, n_pairs: int) -> float:
    """Return the published penalty for a number of paired samples.

    >>> published_alpha("whole", 2400)
    420.0

    Raises
    ------
    DataError
        If none was published for that number.
    """
    table = PUBLISHED[kind]
    if n_pairs not in table:
        raise DataError(
            f"penalties were published for {', '.join(map(str, table))} paired samples, but there are {n_pairs}; set "
            "convert.samples to one of these, give convert.alpha a number, or candidates to choose from"
        )
    return table[n_pairs]


def mass_between(weights: Array, source: Array, target: Array) -> Array:
    """Return how much of the weights onto each target area comes from each source area.

    Parameters
    ----------
    weights : (n_source, n_target)
        On the z-scored scale.
    source : (n_source_areas, n_source) bool
    target : (n_target_areas, n_target) bool

    Returns
    -------
    (n_source_areas, n_target_areas) float64
        Sums of squared weights.

    Examples
    --------
    >>> import numpy as np
    >>> areas = np.eye(2, dtype=bool)
    >>> mass_between(np.array([[2.0, 0.0], [1.0, 3.0]]), areas, areas).tolist()
    [[4.0, 0.0], [1.0, 9.0]]
    """
    squares = weights.astype(np.float64) ** 2
    mass: Array = source.astype(np.float64) @ squares @ target.astype(np.float64).T
    return mass


def _require_paired(X: Array, Y: Array) -> None:
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 2:
        raise DataError(
            f"source and target need the same number of paired samples, at least two, but are {X.shape} and {Y.shape}; "
            "pair them by stimulus first"
        )
