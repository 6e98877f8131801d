"""Decoders that read all usable voxels: one factorisation for all units (`numerics.factorisation`), then products.

A unit's weights are M @ targets with a map M that all units share, and its predictions (Z M) @ targets: neither needs
a system of its own, and predictions need no weights at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.decoder import UNIT_BLOCK, UnitDecoders, standardised_targets
from hpc_recon.numerics.factorisation import (
    SPECTRUM_FROM,
    ItemMaps,
    Shared,
    checked_alpha,
    prepare,
    sample_statistics,
)
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import (
    COLUMNS_AT_ONCE,
    ROWS_AT_ONCE,
    BrainStatistics,
    average_by,
    require_finite_units,
    standardise,
)
from hpc_recon.numerics.voxel_weights import weighted
from hpc_recon.numerics.xp import namespace, to_numpy

#: Speed of one core in float64, three quarters of the slowest measured at 960 to 3,600 unknowns: products and Cholesky
#: factorisations, eigen-decompositions counted as 9 n^3, and numbers z-scored.
PRODUCT_PER_SECOND = 2.4e10
EIGEN_PER_SECOND = 3e10
Z_SCORE_PER_SECOND = 1.2e8


def fold_errors(
    X: Array,
    Y: Array,
    *,
    stimulus: Array,
    held_out: Array,
    alphas: Sequence[float],
    gain: Array | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """Fit one fold without its held-out stimuli, and return the squared errors of predicting those.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    Y : (n_stimuli, n_units), raw, finite
    stimulus : (n_samples,) int
        Row of Y of each sample; every row occurs.
    held_out : (n_stimuli,) bool, numpy
        Stimuli to be predicted, from their samples' mean; at least two others remain.
    alphas
        Candidates.
    gain
        As in `voxel_weights.weighted`.

    Returns
    -------
    errors : (n_alphas, n_units) float64, numpy
        Sum over held-out stimuli of (y - prediction)^2, raw scale.
    total : (n_units,) float64, numpy
        Sum of (y - mean of the training stimuli)^2. Over folds, 1 - sum(errors) / sum(total) is the explained variance.

    Notes
    -----
    z-scoring of voxels and units is done anew from the training stimuli. A unit that is constant there is predicted by
    its mean. The result does not depend on `n_threads` but for the rounding of `factorise`.
    """
    xp = namespace(X, Y, stimulus)
    held = xp.asarray(held_out)
    rows, place = xp.flatnonzero(~held), xp.where(held, xp.cumsum(held) - 1, xp.cumsum(~held) - 1)
    train, test = xp.flatnonzero(~held[stimulus]), xp.flatnonzero(held[stimulus])
    samples, codes = X[train], place[stimulus[train]]
    brain = weighted(sample_statistics(samples, codes, n_stimuli=len(rows)), gain)
    patterns, _ = average_by(X[test], place[stimulus[test]], n=int(held.sum()))
    Z = standardise(patterns, mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    maps = prepare(samples, codes, brain, n_alphas=len(alphas), n_threads=n_threads).item_maps(Z, alphas)
    errors, total = xp.empty((len(alphas), Y.shape[1])), xp.empty(Y.shape[1])

    def score(units: Array) -> None:
        block = Y[:, units]
        targets, mean, scale = _filled_targets(block[~held], dtype=brain.sums.dtype)
        truth = xp.zeros((Z.shape[0], UNIT_BLOCK), dtype=brain.sums.dtype)
        deviation = block[held] - mean  # float64
        n_units = block.shape[1]
        truth[:, :n_units] = standardise(block[held], mean=mean, scale=scale, dtype=truth.dtype)
        truth -= _intercept(targets, brain, 0.0)
        total[units] = (deviation * deviation).sum(axis=0)
        own = maps.squared_errors(targets, truth)[:, :n_units] * scale * scale
        errors[:, units] = xp.where(scale > 0, own, total[units])

    _for_blocks(score, xp.arange(Y.shape[1]), n_threads)
    return to_numpy(errors), to_numpy(total)


def fit_units(
    shared: Shared,
    brain: BrainStatistics,
    Y: Array,
    *,
    alpha: float | Array,
    penalize_bias: bool = False,
    n_threads: int | None = None,
) -> UnitDecoders:
    """Fit decoders of units on all usable voxels.

    Parameters
    ----------
    shared, brain
        Of the training samples.
    Y : (n_stimuli, n_units), raw, finite, n_stimuli >= 2
    alpha
        One penalty, or one for each unit (n_units,).
    penalize_bias
        As in `decoder.fit_decoder`.

    Returns
    -------
    UnitDecoders
        Every unit reads every usable voxel: `voxel` is one row, repeated without being copied (read-only for numpy).

    Raises
    ------
    DataError
        If values of Y are not finite, or alpha is too small.

    Notes
    -----
    Memory: `fit_bytes`; a weight for each voxel and unit. `predict_items` needs none of them.
    """
    xp = namespace(Y, brain.sums)
    require_finite_units(Y)
    usable = xp.flatnonzero(brain.scale > 0)
    n_units = Y.shape[1]
    weight = xp.empty((n_units, len(usable)), dtype=brain.sums.dtype)
    bias, y_mean, y_scale = xp.empty(n_units, brain.sums.dtype), xp.empty(n_units), xp.empty(n_units)
    for penalty, group in _by_penalty(alpha, n_units):
        M = shared.shared_map(penalty)  # (n_voxels, n_stimuli)
        M = M if len(usable) == len(M) else M[usable]

        def fit_block(units: Array, M: Array = M, penalty: float = penalty) -> None:
            targets, y_mean[units], y_scale[units] = _filled_targets(Y[:, units], dtype=weight.dtype)
            weight[units] = (targets @ M.T)[: len(units)]
            bias[units] = _intercept(targets, brain, penalty if penalize_bias else 0.0)[: len(units)]

        _for_blocks(fit_block, xp.asarray(group), n_threads)
    voxel = xp.broadcast_to(usable.astype(xp.int32), (n_units, len(usable)))
    return UnitDecoders(voxel, weight, bias, y_mean, y_scale, 0)


def predict_items(
    shared: Shared,
    brain: BrainStatistics,
    Z: Array,
    Y: Array,
    *,
    alpha: float | Array,
    penalize_bias: bool = False,
    n_threads: int | None = None,
) -> Array:
    """Fit units and predict items, without weights: cost and memory of a unit do not depend on the number of voxels.

    Parameters
    ----------
    Z : (n_items, n_voxels)
        Items z-scored with the training statistics.
    Y, alpha, penalize_bias
        As in `fit_units`.

    Returns
    -------
    (n_items, n_units) on the raw scale of the units, in the working type
    """
    xp = namespace(Z, Y, brain.sums)
    require_finite_units(Y)
    n_units = Y.shape[1]
    predicted: Array = xp.empty((Z.shape[0], n_units), dtype=brain.sums.dtype)
    groups = list(_by_penalty(alpha, n_units))
    maps = shared.item_maps(Z, [penalty for penalty, _ in groups])
    for a, (penalty, group) in enumerate(groups):
        own = ItemMaps(maps.left[a : a + 1], maps.right)

        def predict_block(units: Array, own: ItemMaps = own, penalty: float = penalty) -> None:
            targets, y_mean, y_scale = _filled_targets(Y[:, units], dtype=predicted.dtype)
            z = own.predict(targets)[0] + _intercept(targets, brain, penalty if penalize_bias else 0.0)
            predicted[:, units] = z[:, : len(units)] * y_scale + y_mean

        _for_blocks(predict_block, xp.asarray(group), n_threads)
    return predicted


def system_bytes(
    n_samples: int, n_voxels: int, *, n_stimuli: int, n_items: int, n_alphas: int, n_threads: int, itemsize: int = 4
) -> int:
    """Return the peak bytes of `factorise` and `item_maps`, inputs left out and what they return included.

    In float64: the matrix, and for each thread either a part of it that is still to be added, with a piece of samples
    that is z-scored, or a copy that is factorised, with the items' rows and what is made of
    them. The maps are in the working type.
    """
    n, piece = min(n_samples, n_voxels), _piece_numbers(n_samples, n_voxels)
    parts = min(n_threads, -(-max(n_samples, n_voxels) // COLUMNS_AT_ONCE))
    forming = n * n + parts * (n * n + piece)
    rows = n_items * ((1 + parts) * n + parts * COLUMNS_AT_ONCE) + parts * piece
    solving = n * n + n_items * n + min(n_threads, n_alphas) * (n * n + n_items * (n + 3 * n_stimuli))
    maps = itemsize * n_alphas * n_items * n_stimuli
    return 8 * max(forming, n * n + rows, solving) + maps


def spectrum_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `decompose`, inputs left out and what it returns included.

    n x n in float64: the matrix, which becomes the vectors, those that are kept, and LAPACK's workspace of twice that
    size; then a piece of samples, one of vectors by voxel, and vectors by stimulus, three times.
    """
    n, piece = min(n_samples, n_voxels), _piece_numbers(n_samples, n_voxels)
    sizes = {"n_stimuli": n_stimuli, "n_items": 0, "n_alphas": 1, "n_threads": n_threads}
    result = itemsize * n * (n_voxels + n_stimuli)
    solving = 8 * (4 * n * n + piece + 3 * n * n_stimuli + n * COLUMNS_AT_ONCE) + result
    return max(system_bytes(n_samples, n_voxels, **sizes), solving)


def map_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `factorise` and then `System.shared_map`, inputs left out and M included."""
    sizes = {"n_stimuli": n_stimuli, "n_items": 0, "n_alphas": 1, "n_threads": n_threads}
    n, mapping = min(n_samples, n_voxels), _mapping_numbers(n_samples, n_voxels, n_stimuli, n_threads)
    return max(system_bytes(n_samples, n_voxels, **sizes), 8 * (n * n + mapping) + itemsize * n_voxels * n_stimuli)


def fit_bytes(n_units: int, n_voxels: int, *, n_samples: int, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `fit_units` with a `System`, inputs left out: what M takes, then weights.

    Making M may take more than `weight_bytes`.
    """
    M, mapping = itemsize * n_voxels * n_stimuli, _mapping_numbers(n_samples, n_voxels, n_stimuli, n_threads)
    weights = weight_bytes(n_units, n_voxels, n_stimuli=n_stimuli, n_threads=n_threads, itemsize=itemsize)
    return max(n_units * (n_voxels * itemsize + 24) + 8 * mapping + M, weights)


def weight_bytes(n_units: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `fit_units` where M is there, on disk: it counts twice, as pages and as a copy.

    Beside it the weights, and for each thread a block of units with its targets in float64.
    """
    block = UNIT_BLOCK * (2 * itemsize * n_voxels + 5 * 8 * n_stimuli)
    return n_units * (n_voxels * itemsize + 24) + 2 * itemsize * n_voxels * n_stimuli + n_threads * block


def out_of_fold_bytes(n_units: int, *, n_stimuli: int, n_test: int, n_voxels: int, n_threads: int) -> int:
    """Return the peak bytes of `out_of_fold.predict` with stored maps: predictions, a fold's patterns and map.

    Beside them the training rows of the units, eight copies of a fold's predictions in float64 and, for each thread, a
    block of units with its targets in float64.
    """
    held = 4 * (n_voxels * (n_stimuli + 2 * n_test) + n_stimuli * (n_test + 2 * n_units)) + 8 * 8 * n_test * n_units
    return held + n_threads * UNIT_BLOCK * 5 * 8 * n_stimuli


def _mapping_numbers(n_samples: int, n_voxels: int, n_stimuli: int, n_threads: int) -> int:
    """Return how many numbers of float64 exist while M is made, beside it.

    A copy of the matrix, right-hand sides of 1,024 stimuli, three times, and in the dual form pieces of samples and of
    M for each thread.
    """
    n, at_once = min(n_samples, n_voxels), min(n_stimuli, COLUMNS_AT_ONCE)
    numbers = n * n + 3 * n * at_once
    if n_voxels > n_samples:
        parts = min(n_threads, -(-n_voxels // COLUMNS_AT_ONCE))
        numbers += parts * (_piece_numbers(n_samples, n_voxels) + at_once * COLUMNS_AT_ONCE)
    return numbers


def _piece_numbers(n_samples: int, n_voxels: int) -> int:
    """Return how many numbers exist while a piece of samples is z-scored: itself, and two copies of some rows."""
    if n_voxels <= n_samples:
        rows, columns = min(COLUMNS_AT_ONCE, n_samples), n_voxels
    else:
        rows, columns = n_samples, min(COLUMNS_AT_ONCE, n_voxels)
    return (rows + 2 * min(ROWS_AT_ONCE, rows)) * columns


def spectrum_seconds(n_samples: int, n_voxels: int, *, n_items: int, n_alphas: int, n_threads: int) -> float:
    """Return the seconds of `prepare` and `item_maps`, whichever way `prepare` takes."""
    n = min(n_samples, n_voxels)
    forming = n_samples * n_voxels * ((n + 2 * n_items) / PRODUCT_PER_SECOND + 2 / Z_SCORE_PER_SECOND)
    if n_alphas < SPECTRUM_FROM:
        solving = n_alphas * (n**3 / 3 + 2 * n * n * n_items) / PRODUCT_PER_SECOND
    else:
        products = 2 * n * n * max(n_voxels, n) + 2 * n_alphas * n * n_samples * n_items
        solving = 9 * n**3 / EIGEN_PER_SECOND + products / PRODUCT_PER_SECOND
    return (forming + solving) / n_threads


def _by_penalty(alpha: float | Array, n_units: int) -> Iterator[tuple[float, Array]]:
    """Yield each distinct penalty with the numbers of its units, ascending."""
    if not hasattr(alpha, "shape") or alpha.shape == ():
        yield checked_alpha(float(alpha)), np.arange(n_units)
        return
    if alpha.shape != (n_units,):
        raise DataError(f"alpha must be one number or one for each of the {n_units} units, got shape {alpha.shape}")
    host = to_numpy(alpha)
    for penalty in np.unique(host):
        yield checked_alpha(float(penalty)), np.flatnonzero(host == penalty)


def _for_blocks(function: Callable[[Array], None], group: Array, n_threads: int | None) -> None:
    blocks = [group[start : start + UNIT_BLOCK] for start in range(0, len(group), UNIT_BLOCK)]
    on_device = namespace(group) is not np
    for_each(function, blocks, n_threads=1 if on_device else n_threads or threads.available())


def _filled_targets(Y: Array, *, dtype: Any) -> tuple[Array, Array, Array]:
    """Return `decoder.standardised_targets` of some units, filled up with zeros to a whole `UNIT_BLOCK`."""
    xp = namespace(Y)
    targets, mean, scale = standardised_targets(Y, dtype=dtype)
    filled: Array = xp.zeros((UNIT_BLOCK, targets.shape[1]), dtype=dtype)
    filled[: Y.shape[1]] = targets
    return filled, mean, scale


def _intercept(targets: Array, brain: BrainStatistics, penalty: float) -> Array:
    """Return the intercept of each unit: the sum of its targets over samples / (n_samples + penalty)."""
    intercept: Array = (targets @ brain.counts.astype(np.float64)) / (brain.n_samples + penalty)
    return intercept.astype(targets.dtype)
