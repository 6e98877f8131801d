"""Linear decoders of network units from voxels: select voxels by correlation, then ridge regression, one per unit."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import cuda, ridge
from hpc_recon.numerics.parallel import for_each, one_blas_thread
from hpc_recon.numerics.stats import (
    BrainStatistics,
    brain_statistics,
    computing_dtype,
    mean_and_scale,
    require_finite,
    require_finite_units,
    standardise,
)
from hpc_recon.numerics.voxels import products_of, top_voxels
from hpc_recon.numerics.xp import namespace

logger = logging.getLogger(__name__)

#: Units that are fitted together. A constant, never derived from the memory or the number of threads, and the last
#: block is filled up with zeros: so a unit's result does not depend on where it stands, bit for bit.
UNIT_BLOCK = 256


@dataclass(frozen=True)
class UnitDecoders:
    """Decoders of a range of units; the prediction is y_mean + y_scale * (Z[:, voxel] @ weight + bias)."""

    #: (n_units, k) int32, ascending.
    voxel: Array
    #: (n_units, k), on the z-scored scale; 0 for constant units.
    weight: Array
    #: (n_units,), on the z-scored scale.
    bias: Array
    #: (n_units,) float64, over the rows of Y, ddof 1; y_scale is 0 for constant units.
    y_mean: Array
    y_scale: Array
    #: Systems that had to be solved again in float64.
    n_redone: int


@dataclass(frozen=True)
class Decoder:
    """Fitted decoders. `weight` and `bias` are on the z-scored scale, `predict` is on the raw one.

    Arrays are numpy or cupy, as the training data were; weight and bias are float64 for float64 data, else float32.
    """

    #: (n_units, k) int32, ascending: the voxels that each unit reads; k = min(n_voxels, usable voxels).
    voxel: Array
    #: (n_units, k); all 0 for constant units.
    weight: Array
    #: (n_units,)
    bias: Array
    #: (n_voxels,) float64, over samples, ddof 1. x_scale is 1 for constant voxels, which no unit reads.
    x_mean: Array
    x_scale: Array
    #: (n_units,) float64, over the rows of Y, ddof 1. y_scale is 0 for constant units: they predict y_mean.
    y_mean: Array
    y_scale: Array
    #: What the caller should know, such as fewer usable voxels than asked for.
    warnings: tuple[str, ...] = ()

    def predict(self, X: Array) -> Array:
        """Predict the units from raw brain samples.

        Parameters
        ----------
        X : (n, n_voxels), finite, raw

        Returns
        -------
        (n, n_units), dtype of `weight`

        Raises
        ------
        DataError
            If X has another number of voxels than the training samples, or values that are not finite.
        """
        X = _matrix(X, "X")
        if X.shape[1] != len(self.x_mean):
            raise DataError(
                f"X must have the voxels of the training samples, got {X.shape[1]} instead of {len(self.x_mean)}; "
                "select the same ROI"
            )
        require_finite(X, name="X", rows="sample", columns="voxel")
        Z = standardise(X, mean=self.x_mean, scale=self.x_scale, dtype=self.weight.dtype)
        units = UnitDecoders(self.voxel, self.weight, self.bias, self.y_mean, self.y_scale, 0)
        return predict_units(Z, units)


def fit_decoder(
    X: Array,
    Y: Array,
    n_voxels: int = 500,
    alpha: float = 100.0,
    penalize_bias: bool = False,
    stimulus: Array | None = None,
) -> Decoder:
    """Fit one decoder per unit: the `n_voxels` voxels of largest |correlation|, then ridge regression on them.

    With z-scored X_S (the selected voxels) and y, each unit's weights solve (X_S' X_S + alpha I) w = X_S' y.

    Parameters
    ----------
    X : (n_samples, n_voxels), numpy or cupy, raw and finite
        Brain samples; z-scored inside, each voxel over samples (ddof 1).
    Y : (n_samples, n_units), or (n_stimuli, n_units) with `stimulus`; the same library, raw and finite
        Units; z-scored inside, each unit over the rows of Y (ddof 1).
    n_voxels
        Voxels per unit, k. If fewer are usable (not constant), all of them are used, and `warnings` says so.
    alpha
        Ridge penalty on the z-scored scale, > 0.
    penalize_bias
        False: an unpenalised intercept, the mean of y over samples. True: FastL2LiR's, sum(y) / (n_samples + alpha).
    stimulus : (n_samples,) int, optional
        Row of Y that each sample shows. Rows may be shown any number of times; they are never expanded.

    Returns
    -------
    Decoder
        float64 if X or Y is float64, else float32; means, variances and long sums are accumulated in float64.

    Raises
    ------
    DataError
        If shapes do not match, values are not finite, rows of Y do not exist, or all voxels are constant.

    Notes
    -----
    Of voxels with equal |correlation| the lower number is taken. A voxel or unit is constant if its standard
    deviation is at most 1e-6 of its mean; constant voxels are never selected, constant units predict their mean.
    Results do not depend on the number of threads (`core.threads.available()`); BLAS is held to one thread meanwhile.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 8))
    >>> Y = X[:, :2] + 5.0
    >>> d = fit_decoder(X, Y, n_voxels=1, alpha=1e-6)
    >>> d.voxel.tolist(), bool(np.allclose(d.predict(X), Y, atol=1e-5))
    ([[0], [1]], True)
    """
    X, Y = _matrix(X, "X"), _matrix(Y, "Y")
    namespace(X, Y, stimulus)  # refuses a mixture
    stimulus = _checked_stimulus(X, Y, stimulus)
    if n_voxels < 1 or int(n_voxels) != n_voxels:
        raise DataError(f"n_voxels must be a whole number of at least 1, got {n_voxels}")
    if not (math.isfinite(alpha) and alpha > 0):
        raise DataError(f"alpha must be a finite number above 0, got {alpha}; use a small one for weak shrinkage")
    require_finite(X, name="X", rows="sample", columns="voxel")
    require_finite_units(Y)
    dtype = computing_dtype(X, Y)
    brain = brain_statistics(X.astype(dtype, copy=False), stimulus, n_stimuli=Y.shape[0])
    fitted = fit_units(brain, Y, n_voxels=int(n_voxels), alpha=float(alpha), penalize_bias=penalize_bias)
    notes = usable_voxels_note(brain, int(n_voxels))
    for note in notes:
        logger.warning(note)
    x_scale = namespace(X).where(brain.scale > 0, brain.scale, 1.0)
    return Decoder(
        fitted.voxel, fitted.weight, fitted.bias, brain.mean, x_scale, fitted.y_mean, fitted.y_scale, notes
    )  # fmt: skip


def usable_voxels_note(brain: BrainStatistics, n_voxels: int) -> tuple[str, ...]:
    """Return a sentence if fewer voxels are usable than each unit should read, else nothing."""
    if brain.n_usable >= n_voxels:
        return ()
    total = len(brain.mean)
    return (
        f"{n_voxels} voxels a unit were asked for, but {brain.n_usable} of {total} are usable "
        f"({total - brain.n_usable} constant): every unit reads all of them",
    )


def fit_units(
    brain: BrainStatistics,
    Y: Array,
    *,
    n_voxels: int,
    alpha: float | Array,
    penalize_bias: bool = False,
    n_threads: int | None = None,
) -> UnitDecoders:
    """Fit decoders of units to known brain statistics.

    Parameters
    ----------
    brain
        Of the training samples, with as many stimuli as Y has rows.
    Y : (n_stimuli, n_units), raw, finite, n_stimuli >= 2
    alpha
        Ridge penalty, or one for each unit (n_units,).
    n_threads
        Default: what the worker may use; not looked at with cupy, which takes `numerics.cuda.fit_units`.

    Raises
    ------
    DataError
        If values of Y are not finite, or a system is singular in float64 too: alpha is too small for the data.

    Notes
    -----
    Memory: `numerics.needs.fit_bytes`. The result does not depend on `n_threads`.
    """
    xp = namespace(brain.sums, Y)
    require_finite_units(Y)
    if xp is not np:
        return cuda.fit_units(brain, Y, n_voxels=n_voxels, alpha=alpha, penalize_bias=penalize_bias)
    k = min(n_voxels, brain.n_usable)
    n_units, dtype = Y.shape[1], brain.sums.dtype
    voxel, rhs = np.empty((n_units, k), np.int32), np.empty((n_units, k), dtype)
    totals, y_mean, y_scale = np.empty(n_units), np.empty(n_units), np.empty(n_units)
    targets = np.empty((n_units, Y.shape[0]), dtype) if ridge.takes_dual_form(brain, k) else None
    count = n_threads or threads.available()

    def select_block(start: int) -> None:
        units = slice(start, start + UNIT_BLOCK)
        block, y_mean[units], y_scale[units] = standardised_targets(Y[:, units], dtype=dtype)
        voxel[units], rhs[units] = select(brain, block, k)
        totals[units] = (block * brain.counts.astype(np.float64)).sum(axis=1)  # not a product: bits would vary
        if targets is not None:
            targets[units] = block

    with one_blas_thread():
        for_each(select_block, range(0, n_units, UNIT_BLOCK), n_threads=count)
        solved, n_redone = ridge.solve(brain, voxel, rhs=rhs, targets=targets, alphas=[alpha], n_threads=count)
    if n_redone:
        logger.warning("%d of %d units had to be solved again in float64", n_redone, n_units)
    bias = (totals / (brain.n_samples + (alpha if penalize_bias else 0.0))).astype(dtype)
    return UnitDecoders(voxel, solved[0], bias, y_mean, y_scale, n_redone)


def select(brain: BrainStatistics, targets: Array, k: int) -> tuple[Array, Array]:
    """Return the k voxels that each unit reads, ascending (n_units, k), and their products with the unit, Z_S'y.

    Parameters
    ----------
    targets : (n_units, n_stimuli)
        z-scored units.
    """
    xp = namespace(targets)
    if xp is np and targets.dtype == np.float32:
        from hpc_recon.numerics.selection import strongest

        return strongest(voxel_products(brain, targets), brain.scale > 0, k)
    score, products = scores(brain, targets)
    voxel = top_voxels(score, k)
    return voxel, xp.take_along_axis(products, voxel, axis=1)


def from_table(voxel: Array, weight: Array, stats: Array) -> UnitDecoders:
    """Return decoders as they are stored; `stats` (n_units, 3) float32 holds bias, y_mean and y_scale."""
    columns = [stats[:, i].astype(np.float64) for i in range(3)]
    return UnitDecoders(voxel, weight, columns[0].astype(weight.dtype), columns[1], columns[2], 0)


def standardised_targets(Y: Array, *, dtype: Any) -> tuple[Array, Array, Array]:
    """Return the z-scored units (n_units, n_stimuli) with mean and scale of each; constant units become 0."""
    xp = namespace(Y)
    mean, scale = mean_and_scale(Y)
    return xp.ascontiguousarray(standardise(Y, mean=mean, scale=scale, dtype=dtype).T), mean, scale


def voxel_products(brain: BrainStatistics, targets: Array) -> Array:
    """Return Z'y of each voxel and unit (n_units, n_voxels); Z is z-scored, so its size ranks as |correlation| does."""
    xp = namespace(targets)
    n_units = targets.shape[0]
    filled = targets
    if n_units < UNIT_BLOCK:  # the same matrix product for every block: see UNIT_BLOCK
        filled = xp.zeros((UNIT_BLOCK, targets.shape[1]), dtype=targets.dtype)
        filled[:n_units] = targets
    return products_of(filled, brain.sums)[:n_units]


def scores(brain: BrainStatistics, targets: Array) -> tuple[Array, Array]:
    """Return what ranks the voxels of each unit, |Z'y|, -1 for constant voxels, and Z'y itself (n_units, n_voxels)."""
    xp = namespace(targets)
    products = voxel_products(brain, targets)
    score = xp.abs(products)
    constant = xp.flatnonzero(brain.scale == 0)
    if len(constant):
        score[:, constant] = -1.0
    return score, products


def predict_units(Z: Array, units: UnitDecoders, *, n_threads: int | None = None) -> Array:
    """Predict units on their raw scale from z-scored samples.

    Parameters
    ----------
    Z : (n, n_voxels)
        Samples z-scored with the training statistics.
    units
        Voxel numbers of n_voxels or more mark unused slots (weight 0).

    Returns
    -------
    (n, n_units), dtype of the weights
    """
    if namespace(Z, units.weight) is not np:
        return cuda.predict_units(Z, units)
    n_units, n_voxels = units.weight.shape[0], Z.shape[1]
    dtype = units.weight.dtype
    predicted: Array = np.empty((Z.shape[0], n_units), dtype=dtype)
    sparse = dtype == np.float32
    patterns = np.ascontiguousarray(Z.T, dtype=np.float32) if sparse else Z

    def predict_block(start: int) -> None:
        block = slice(start, min(start + UNIT_BLOCK, n_units))
        if sparse:
            from hpc_recon.numerics.prediction import weighted_sums

            z = weighted_sums(patterns, units.voxel[block], units.weight[block]).T + units.bias[block]
        else:
            dense = np.zeros((UNIT_BLOCK, n_voxels + 1), dtype=dtype)  # the last column takes the unused slots
            column = np.minimum(units.voxel[block], n_voxels).astype(np.int64)
            dense[np.arange(len(column))[:, None], column] = units.weight[block]
            z = (Z @ dense[:, :n_voxels].T)[:, : len(column)] + units.bias[block]
        predicted[:, block] = z * units.y_scale[block] + units.y_mean[block]

    for_each(predict_block, range(0, n_units, UNIT_BLOCK), n_threads=n_threads or threads.available())
    return predicted


def _matrix(value: Any, name: str) -> Array:
    array: Array = value if hasattr(value, "dtype") and hasattr(value, "ndim") else np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(f"{name} must be a matrix of real numbers, got shape {array.shape} of type {array.dtype}")
    return array


def _checked_stimulus(X: Array, Y: Array, stimulus: Array | None) -> Array | None:
    """Check that each sample has its row of Y."""
    if min(X.shape[0], Y.shape[0]) < 2:
        raise DataError(f"at least two samples and two rows of Y are needed, got {X.shape[0]} and {Y.shape[0]}")
    if stimulus is None:
        if X.shape[0] != Y.shape[0]:
            raise DataError(
                f"Y must have a row for each sample, got {Y.shape[0]} rows for {X.shape[0]} samples; "
                "give `stimulus` if samples share rows of Y"
            )
        return None
    codes = stimulus if hasattr(stimulus, "dtype") else namespace(X).asarray(stimulus)
    if codes.shape != (X.shape[0],) or codes.dtype.kind not in "iu":
        raise DataError(
            f"stimulus must hold one whole number for each of the {X.shape[0]} samples, "
            f"got shape {codes.shape} of type {codes.dtype}"
        )
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= Y.shape[0]:
        raise DataError(
            f"stimulus must hold rows of Y, 0 to {Y.shape[0] - 1}, but ranges from {low} to {high}; count from 0"
        )
    return codes.astype(np.int64)
