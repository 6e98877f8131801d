"""Decoders of spatially normalised patterns: each sample's pattern over a unit's own voxels is divided by its size.

With q the pattern of a sample over the k selected voxels (z-scored) and m its mean over those voxels, a unit reads

    norm1       q / sum|q|              norm1mean0   (q - m) / sum|q - m|
    norm2       q / sqrt(sum q^2)       norm2mean0   (q - m) / sqrt(sum (q - m)^2)
    std1        (q - m) / s + m         std1mean0    (q - m) / s,      s^2 = sum (q - m)^2 / (k - 1)

as FastL2LiR's `spatial_norm` does. What is divided by a size of 0 is 0 itself, and stays 0.

The patterns Q (n_samples, k) differ from unit to unit, so each unit's system is formed from its samples, and its
columns no longer sum to zero, so the intercept does not separate. With s = Q'1 and d = n_samples + alpha (intercept
penalised, as FastL2LiR does) or n_samples (not), eliminating the intercept from the system with a column of ones leaves

    (Q'Q - s s'/d + alpha I) w = Q'y - s sum(y)/d,      b = (sum(y) - s'w)/d.

With fewer samples than voxels a system of n_samples unknowns is solved instead, with K = QQ' + 11' where the intercept
is penalised, else Q and y centred over samples and K = QQ':   (K + alpha I) a = y,   w = Q'a.

Penalties act on the normalised scale: entries are of size 1/k for norm1, 1/sqrt(k) for norm2 and 1 for std1, and an
alpha that suits one of them does not suit another.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.decoder import UNIT_BLOCK, UnitDecoders, select, standardised_targets
from hpc_recon.numerics.factorisation import checked_alpha
from hpc_recon.numerics.lapack import posv
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import CONSTANT, BrainStatistics, require_finite_units
from hpc_recon.numerics.xp import namespace

Norm: TypeAlias = Literal["norm1", "norm2", "std1", "std1mean0", "norm1mean0", "norm2mean0"]
NORMS: tuple[Norm, ...] = ("norm1", "norm2", "std1", "std1mean0", "norm1mean0", "norm2mean0")

#: Numbers of the patterns of the units that a thread normalises at a time: 16 MiB of float32, and 1 GiB on a GPU.
_BATCH_NUMBERS = 1 << 22
_DEVICE_NUMBERS = 1 << 28
#: Speed of one core, three quarters or less of what was measured at 6,000 samples, k = 500, and 1,200, k = 100: the
#: systems' products (float32), their factorisation (float64), patterns gathered and normalised, the same in prediction.
PRODUCT_PER_SECOND = 6e10
SOLVE_PER_SECOND = 1.5e10
PATTERN_PER_SECOND = 1.5e8
PREDICTION_PER_SECOND = 7e7


def normalised(patterns: Array, norm: Norm) -> Array:
    """Return patterns (..., k, n) normalised over their k voxels, in their own type.

    Raises
    ------
    DataError
        If the norm is unknown, or has no meaning for a single voxel (all but norm1 and norm2).

    Notes
    -----
    Means and sizes are accumulated in float64. Where m is removed, q - m counts as 0 if its size is at most 1e-6 of the
    size of a pattern that is m everywhere: that is rounding.

    Examples
    --------
    >>> normalised(np.array([[3.0, 0.0], [1.0, 0.0]]), "norm1").tolist()
    [[0.75, 0.0], [0.25, 0.0]]
    >>> normalised(np.array([[3.0], [1.0]]), "norm1mean0").tolist()
    [[0.5], [-0.5]]
    """
    xp = namespace(patterns)
    k, dtype = patterns.shape[-2], patterns.dtype
    checked_norm(norm, k)
    kind = norm.removesuffix("mean0")
    if norm in ("norm1", "norm2"):
        result: Array = patterns * _inverse(_size(patterns, kind)).astype(dtype)
        return result
    mean = patterns.mean(axis=-2, keepdims=True, dtype=xp.float64)
    result = patterns - mean.astype(dtype)
    size = _size(result, kind)
    of_mean = {"norm1": k, "norm2": math.sqrt(k), "std1": math.sqrt(k / (k - 1))}[kind] * xp.abs(mean)
    result *= _inverse(xp.where(size > CONSTANT * of_mean, size, 0.0)).astype(dtype)
    if norm == "std1":
        result += mean.astype(dtype)
    return result


def checked_norm(norm: str, k: int) -> None:
    """Raise a DataError unless the norm is known and has a meaning for k voxels."""
    if norm not in NORMS:
        raise DataError(f"spatial_norm must be one of {', '.join(NORMS)}, got {norm!r}")
    if k < 2 and norm not in ("norm1", "norm2"):
        raise DataError(f"spatial_norm {norm} needs at least two voxels a unit, got {k}; select more, or use norm2")


def fit_units(
    Z: Array,
    stimulus: Array,
    brain: BrainStatistics,
    Y: Array,
    *,
    n_voxels: int,
    alpha: float,
    penalize_bias: bool = False,
    norm: Norm,
    n_threads: int | None = None,
) -> UnitDecoders:
    """Fit decoders of units that read spatially normalised patterns.

    Voxels are selected as `decoder.fit_units` does, by correlation before patterns are normalised.

    Parameters
    ----------
    Z : (n_samples, n_voxels), z-scored, 0 for constant voxels
        `stats.standardise` of the training samples; numpy or cupy, as all arrays.
    stimulus : (n_samples,) int
        Row of Y of each sample.
    brain
        Statistics of the training samples; `gram` is not read.
    Y : (n_stimuli, n_units), raw, finite, n_stimuli >= 2
    n_voxels
        Voxels a unit; if fewer are usable, all of them are used.
    alpha
        Ridge penalty on the normalised scale, > 0.
    penalize_bias
        Whether the intercept is penalised too, as FastL2LiR does.
    norm
        One of `NORMS`.
    n_threads
        Default: what the worker may use; 1 with cupy.

    Returns
    -------
    UnitDecoders
        Weights and bias for normalised patterns: predict with `predict_units` of this module and the same norm.

    Raises
    ------
    DataError
        If shapes do not match, Y is not finite, the norm is unknown or needs more voxels, or alpha is too small.

    Notes
    -----
    Constant units get weights and bias of 0. Systems are formed in the working type and solved in float64. Memory:
    `fit_bytes`; the result does not depend on `n_threads`.
    """
    xp = namespace(Z, Y, brain.sums)
    if Z.shape != (brain.n_samples, brain.sums.shape[1]) or stimulus.shape != (brain.n_samples,):
        raise DataError(
            f"samples and stimuli must be those of the brain statistics, {brain.n_samples} x {brain.sums.shape[1]}, "
            f"got {Z.shape} and {stimulus.shape}; z-score and pass the samples of which the statistics are"
        )
    require_finite_units(Y)
    alpha, k = checked_alpha(alpha), min(n_voxels, brain.n_usable)
    checked_norm(norm, k)
    n_units, dtype = Y.shape[1], brain.sums.dtype
    by_voxel = xp.ascontiguousarray(Z.T)  # (n_voxels, n_samples)
    voxel = xp.empty((n_units, k), dtype=xp.int32)
    weight, bias = xp.empty((n_units, k), dtype=dtype), xp.empty(n_units, dtype=dtype)
    y_mean, y_scale = xp.empty(n_units, dtype=xp.float64), xp.empty(n_units, dtype=xp.float64)
    size = batch_size(k, brain.n_samples, on_device=xp is not np)

    def fit_block(start: int) -> None:
        units = slice(start, start + UNIT_BLOCK)
        targets, y_mean[units], y_scale[units] = standardised_targets(Y[:, units], dtype=dtype)
        voxel[units], _ = select(brain, targets, k)
        for first in range(0, len(targets), size):
            own = xp.ascontiguousarray(targets[first : first + size, stimulus])  # (units, n_samples)
            batch = slice(start + first, start + first + len(own))
            patterns = normalised(by_voxel[voxel[batch]], norm)  # (units, k, n_samples)
            weight[batch], bias[batch] = _solved(patterns, own, alpha, penalize_bias=penalize_bias)

    count = 1 if xp is not np else n_threads or threads.available()
    for_each(fit_block, range(0, n_units, UNIT_BLOCK), n_threads=count)
    return UnitDecoders(voxel, weight, bias, y_mean, y_scale, 0)


def predict_units(Z: Array, units: UnitDecoders, *, norm: Norm, n_threads: int | None = None) -> Array:
    """Predict units on their raw scale from z-scored samples.

    Parameters
    ----------
    Z : (n, n_voxels)
        Samples z-scored with the training statistics.
    units
        Of `fit_units`, with the same norm.

    Returns
    -------
    (n, n_units), dtype of the weights
    """
    xp = namespace(Z, units.weight)
    n_units, k = units.weight.shape
    checked_norm(norm, k)
    by_voxel = xp.ascontiguousarray(Z.T.astype(units.weight.dtype, copy=False))  # (n_voxels, n)
    predicted: Array = xp.empty((Z.shape[0], n_units), dtype=units.weight.dtype)
    size = min(UNIT_BLOCK, batch_size(k, Z.shape[0], on_device=xp is not np))

    def predict_batch(start: int) -> None:
        batch = slice(start, start + size)
        patterns = normalised(by_voxel[units.voxel[batch]], norm)  # (units, k, n)
        z = (units.weight[batch, None] @ patterns)[:, 0] + units.bias[batch, None]  # (units, n)
        predicted[:, batch] = z.T * units.y_scale[batch] + units.y_mean[batch]

    count = 1 if xp is not np else n_threads or threads.available()
    for_each(predict_batch, range(0, n_units, size), n_threads=count)
    return predicted


def batch_size(k: int, n_samples: int, *, on_device: bool = False) -> int:
    """Return how many units' patterns are normalised together, a constant of the sizes alone."""
    numbers = _DEVICE_NUMBERS if on_device else _BATCH_NUMBERS
    return max(1, min(UNIT_BLOCK, numbers // (k * n_samples)))


def fit_bytes(
    n_units: int, n_voxels: int, *, k: int, n_samples: int, n_stimuli: int, n_threads: int, itemsize: int = 4
) -> int:
    """Return the peak bytes of `fit_units`, its inputs left out.

    Results and the transposed samples; for each thread the products and targets of a block of units, and for a batch
    three arrays of its patterns, its targets, and its systems in the working type and three times in float64.
    """
    block = min(UNIT_BLOCK, n_units)
    ranking = UNIT_BLOCK * n_voxels * (3 * itemsize + 2) + 6 * 8 * UNIT_BLOCK * n_stimuli + 32 * block * k
    n, batch = min(k, n_samples), min(batch_size(k, n_samples), block)
    solving = batch * (3 * itemsize * k * n_samples + 8 * 4 * n_samples + (itemsize + 3 * 8) * n * n)
    results = n_units * (k * (4 + itemsize) + itemsize + 16)
    return results + itemsize * n_voxels * n_samples + n_threads * (ranking + solving)


def predict_bytes(n_items: int, n_units: int, *, n_voxels: int, k: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `predict_units`, its inputs left out."""
    batch = min(batch_size(k, n_items), n_units)
    own = batch * (n_items * (3 * itemsize * k + 5 * 8) + 8 * k)
    return itemsize * n_items * (n_units + n_voxels) + n_threads * own


def fit_seconds(n_units: int, *, n_voxels: int, k: int, n_samples: int, n_stimuli: int, n_threads: int) -> float:
    """Return the seconds of `fit_units`: ranking, patterns, half of k^2 n_samples products, factorisation."""
    n = min(k, n_samples)
    ranking = 2 * n_stimuli * n_voxels / PRODUCT_PER_SECOND
    forming = n * k * n_samples / PRODUCT_PER_SECOND + k * n_samples / PATTERN_PER_SECOND
    return n_units * (ranking + forming + n**3 / 3 / SOLVE_PER_SECOND) / n_threads


def predict_seconds(n_items: int, n_units: int, *, k: int, n_threads: int) -> float:
    """Return the seconds of `predict_units`: patterns gathered and normalised."""
    return n_units * n_items * k / PREDICTION_PER_SECOND / n_threads


def _size(patterns: Array, kind: str) -> Array:
    """Return sum|q|, sqrt(sum q^2) or sqrt(sum q^2 / (k - 1)) over voxels, float64 (..., 1, n)."""
    xp = namespace(patterns)
    if kind == "norm1":
        size: Array = xp.abs(patterns).sum(axis=-2, keepdims=True, dtype=xp.float64)
        return size
    size = xp.sqrt(xp.einsum("...kn,...kn->...n", patterns, patterns, dtype=xp.float64))[..., None, :]
    return size / math.sqrt(patterns.shape[-2] - 1) if kind == "std1" else size


def _inverse(size: Array) -> Array:
    """Return 1 / size, and 0 where the size is 0."""
    xp = namespace(size)
    inverse: Array = xp.where(size > 0, 1.0 / xp.where(size > 0, size, 1.0), 0.0)
    return inverse


def _solved(patterns: Array, y: Array, alpha: float, *, penalize_bias: bool) -> tuple[Array, Array]:
    """Return weights (n_units, k) and intercepts (n_units,) from patterns (n_units, k, n) and targets (n_units, n)."""
    xp = namespace(patterns, y)
    _, k, n = patterns.shape
    transposed = patterns.transpose(0, 2, 1)
    total = y.sum(axis=1, dtype=xp.float64)
    s = patterns.sum(axis=2, dtype=xp.float64)  # (units, k)
    if n >= k:
        divisor = n + (alpha if penalize_bias else 0.0)
        A = (patterns @ transposed).astype(xp.float64)
        A -= s[:, :, None] * (s[:, None, :] / divisor)
        right = (patterns @ y[:, :, None])[:, :, 0] - s * (total / divisor)[:, None]
        w = _positive(A, right, alpha)
        return w, (total - (s * w).sum(axis=1)) / divisor
    if penalize_bias:
        a = _positive((transposed @ patterns).astype(xp.float64) + 1.0, y, alpha)
        return (patterns @ a[:, :, None].astype(y.dtype))[:, :, 0], a.sum(axis=1)
    centred = patterns - (s / n)[:, :, None].astype(patterns.dtype)
    K = (centred.transpose(0, 2, 1) @ centred).astype(xp.float64)
    a = _positive(K, y - (total / n)[:, None], alpha)
    w = (centred @ a[:, :, None].astype(y.dtype))[:, :, 0]
    return w, (total - (s * w).sum(axis=1)) / n


def _positive(A: Array, b: Array, alpha: float) -> Array:
    """Solve (A + alpha I) x = b in float64; A is overwritten."""
    xp = namespace(A, b)
    diagonal = xp.arange(A.shape[1])
    A[:, diagonal, diagonal] += alpha
    if xp is not np:
        x: Array = xp.linalg.solve(A, b[:, :, None])[:, :, 0]
        failed = not bool(xp.isfinite(x).all())
    else:
        x = np.array(b, dtype=np.float64, order="C")
        failed = bool(posv(np.ascontiguousarray(A), x).any())
    if failed:
        raise DataError(
            f"the ridge penalty must make each unit's system of {A.shape[1]} unknowns positive definite, but {alpha=} "
            "is too small for patterns of this norm; take a larger alpha or fewer voxels"
        )
    return x
