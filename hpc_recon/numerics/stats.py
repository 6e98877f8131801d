"""Statistics of the brain samples, computed once and shared by all units: z-scoring, Gram matrix, sums per stimulus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.xp import namespace

#: A column whose standard deviation is at most this fraction of its mean is constant: float32 keeps 7 digits,
#: so what is left below is rounding (a column constant at 0.1 has a standard deviation of 1e-17, not 0).
CONSTANT = 1e-6
#: Up to this many samples without repeats, the k x k or N x N system of a unit is formed from its voxels' samples
#: directly: cheaper than looking its k^2 numbers up in the Gram matrix, which is then not needed at all.
DIRECT_SAMPLES = 256
#: Rows that are converted to float64 at a time.
ROWS_AT_ONCE = 512
#: Side of the square pieces in which the Gram matrix is computed, and of the columns summed at a time.
COLUMNS_AT_ONCE = 1024


@dataclass(frozen=True)
class BrainStatistics:
    """What all units of a subject and ROI share. Z is the z-scored brain: (X - mean) / scale, 0 where scale is 0."""

    #: N, the number of samples.
    n_samples: int
    #: Over samples, ddof 1, float64 (n_voxels,); scale is 0 for constant voxels, which are never selected.
    mean: Array
    scale: Array
    #: Z'Z (n_voxels, n_voxels), or None where every stimulus has one sample and N <= DIRECT_SAMPLES.
    gram: Array | None
    #: Sum of Z over the samples of each stimulus (n_stimuli, n_voxels): repeats are never expanded.
    sums: Array
    #: Samples of each stimulus, int64 (n_stimuli,).
    counts: Array

    @property
    def n_usable(self) -> int:
        """Number of voxels that are not constant."""
        return int((self.scale > 0).sum())


def computing_dtype(*arrays: Any) -> np.dtype[Any]:
    """Return float64 if any of the arrays is float64, else float32."""
    return np.dtype(np.float64 if any(a.dtype == np.float64 for a in arrays) else np.float32)


def require_finite(X: Array, *, name: str, rows: str, columns: str) -> None:
    """Raise unless all values of a matrix are finite.

    Raises
    ------
    DataError
        Names the number of bad values and where the first one is.
    """
    xp = namespace(X)
    if X.dtype.kind in "biu":
        return
    for start in range(0, X.shape[0], ROWS_AT_ONCE):
        bad = ~xp.isfinite(X[start : start + ROWS_AT_ONCE])
        if bool(bad.any()):
            i, j = (int(where[0]) for where in xp.nonzero(bad))
            total = int(bad.sum()) + int((~xp.isfinite(X[start + ROWS_AT_ONCE :])).sum())
            raise DataError(
                f"{name} must be finite, but has {total} values that are NaN or infinite (first: {rows} {start + i}, "
                f"{columns} {j}, value {float(X[start + i, j])}); remove or repair them before fitting"
            )


def require_finite_units(Y: Array) -> None:
    """Raise a DataError unless all values of the units Y (n_stimuli, n_units) are finite."""
    require_finite(Y, name="Y", rows="row", columns="unit")


def mean_and_scale(X: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation (ddof 1) of each column, float64; 0 for constant columns.

    Two passes in float64, block of rows by block of rows. A column is constant if its standard deviation is at most
    `CONSTANT` times its absolute mean.

    Parameters
    ----------
    X : (n, m), n >= 2, any real type

    Raises
    ------
    DataError
        If values are not finite, or so large that their squares overflow.

    Notes
    -----
    With numpy a column's bits depend neither on the other columns nor on the order of X in memory.

    Examples
    --------
    >>> mean, scale = mean_and_scale(np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]]))
    >>> mean.tolist(), scale.tolist()
    ([3.0, 0.1], [2.0, 0.0])
    """
    xp = namespace(X)
    n = X.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of them is refused below
        mean = xp.zeros(X.shape[1], dtype=xp.float64)
        for start in range(0, n, ROWS_AT_ONCE):
            mean += _column_sums(_doubled(X[start : start + ROWS_AT_ONCE]))
        mean /= n
        squares = xp.zeros_like(mean)
        rest = xp.zeros_like(mean)
        for start in range(0, n, ROWS_AT_ONCE):
            centred = _doubled(X[start : start + ROWS_AT_ONCE])
            centred -= mean
            rest += _column_sums(centred)
            centred *= centred
            squares += _column_sums(centred)
        mean += rest / n
        scale = xp.sqrt(xp.maximum(squares - rest * rest / n, 0.0) / (n - 1))
    fine = xp.isfinite(mean) & xp.isfinite(scale)
    if not bool(fine.all()):
        bad = xp.flatnonzero(~fine)
        raise DataError(
            f"mean and standard deviation must be finite, but those of {len(bad)} of {len(mean)} columns are not "
            f"(first: column {int(bad[0])} of these); remove values that are NaN, infinite or larger than 1e150"
        )
    return mean, xp.where(scale > CONSTANT * xp.abs(mean), scale, 0.0)


def _doubled(rows: Array) -> Array:
    """Return a copy in float64, row after row in memory."""
    copy: Array = namespace(rows).array(rows, dtype=np.float64, order="C")
    return copy


def _column_sums(rows: Array) -> Array:
    """Return the sum of each column, adding row after row: numpy would sum a single column, or one of many that lie
    column after column in memory, in another order.
    """
    sums: Array = rows.sum(axis=0) if rows.shape[1] != 1 else rows.cumsum(axis=0)[-1]
    return sums


def standardise(X: Array, *, mean: Array, scale: Array, dtype: Any) -> Array:
    """Return (X - mean) / scale in `dtype`, 0 where scale is 0; computed in float64, block of rows by block."""
    xp = namespace(X, mean, scale)
    inverse = xp.where(scale > 0, 1.0 / xp.where(scale > 0, scale, 1.0), 0.0)
    Z: Array = xp.empty(X.shape, dtype=dtype)
    for start in range(0, X.shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        Z[rows] = (X[rows] - mean) * inverse
    return Z


def average_by(X: Array, codes: Array, *, n: int, average: bool = True) -> tuple[Array, Array]:
    """Average (or sum) the rows of X that carry the same code.

    Parameters
    ----------
    X : (n_samples, m)
    codes : (n_samples,) int in [0, n)
    n
        Number of codes; a code that no row carries gives a row of zeros.
    average
        False: sums.

    Returns
    -------
    means : (n, m), dtype of X (float32 for integers)
        Accumulated in float64.
    counts : (n,) int64

    Examples
    --------
    >>> means, counts = average_by(np.array([[1.0], [5.0], [3.0]]), np.array([1, 0, 1]), n=2)
    >>> means.tolist(), counts.tolist()
    ([[5.0], [2.0]], [1, 2])
    """
    xp = namespace(X, codes)
    counts = xp.bincount(codes, minlength=n).astype(xp.int64)
    order = xp.argsort(codes, kind="stable")
    first = xp.cumsum(counts) - counts
    turn = xp.arange(len(codes)) - first[codes[order]]  # 0 for a code's first row, 1 for its second, ...
    rounds = [order[turn == r] for r in range(int(counts.max()) if len(codes) else 0)]
    dtype = computing_dtype(X)
    result = xp.empty((n, X.shape[1]), dtype=dtype)
    divisor = xp.maximum(counts, 1)[:, None] if average else 1
    for start in range(0, X.shape[1], COLUMNS_AT_ONCE):
        columns = slice(start, start + COLUMNS_AT_ONCE)
        total = xp.zeros((n, min(COLUMNS_AT_ONCE, X.shape[1] - start)), dtype=xp.float64)
        for rows in rounds:  # no code occurs twice in a round, so the indexed addition is exact
            total[codes[rows]] += X[rows, columns]
        result[:, columns] = total / divisor
    return result, counts


def gram_matrix(Z: Array, *, n_threads: int | None = None) -> Array:
    """Return Z'Z in the dtype of Z, accumulated in float64 over blocks of rows.

    Symmetric to the last bit. The result does not depend on the number of threads.

    Parameters
    ----------
    Z : (n, m) float32 or float64
    n_threads
        Default: what the worker may use.
    """
    xp = namespace(Z)
    m = Z.shape[1]
    gram: Array = xp.empty((m, m), dtype=Z.dtype)
    corners = [(i, j) for i in range(0, m, COLUMNS_AT_ONCE) for j in range(0, i + 1, COLUMNS_AT_ONCE)]

    def fill(corner: tuple[int, int]) -> None:
        i, j = (slice(start, start + COLUMNS_AT_ONCE) for start in corner)
        total = xp.zeros((min(COLUMNS_AT_ONCE, m - i.start), min(COLUMNS_AT_ONCE, m - j.start)), dtype=xp.float64)
        for start in range(0, Z.shape[0], ROWS_AT_ONCE):
            rows = Z[start : start + ROWS_AT_ONCE]
            total += rows[:, i].T @ rows[:, j]
        if i == j:
            total = xp.tril(total) + xp.tril(total, -1).T
        gram[i, j] = total
        gram[j, i] = total.T

    count = 1 if xp is not np else n_threads or threads.available()
    for_each(fill, corners, n_threads=count)
    return gram


def brain_statistics(
    X: Array, stimulus: Array | None = None, *, n_stimuli: int | None = None, n_threads: int | None = None
) -> BrainStatistics:
    """Return everything about the brain samples that ridge decoders of any units need.

    Parameters
    ----------
    X : (n_samples, n_voxels), n_samples >= 2, finite, raw
        float64 is kept, anything else becomes float32 after z-scoring.
    stimulus : (n_samples,) int in [0, n_stimuli)
        Which stimulus each sample shows; None: sample i shows stimulus i.
    n_stimuli
        Number of stimuli; default: the largest code + 1.
    n_threads
        Default: what the worker may use.

    Raises
    ------
    DataError
        If X has fewer than two samples or only constant voxels.
    """
    xp = namespace(X, stimulus)
    if X.ndim != 2 or X.shape[0] < 2:
        raise DataError(f"the brain must have at least two samples (n_samples, n_voxels), got shape {X.shape}")
    mean, scale = mean_and_scale(X)
    if not bool((scale > 0).any()):
        raise DataError(
            f"all {X.shape[1]} voxels are constant over {X.shape[0]} samples; check the samples and the ROI"
        )
    dtype = computing_dtype(X)
    Z = standardise(X, mean=mean, scale=scale, dtype=dtype)
    if stimulus is None:
        sums, counts = Z, xp.ones(X.shape[0], dtype=xp.int64)
    else:
        total = int(stimulus.max()) + 1 if n_stimuli is None else n_stimuli
        sums, counts = average_by(Z, stimulus, n=total, average=False)
    direct = X.shape[0] <= DIRECT_SAMPLES and bool((counts == 1).all())
    gram = None if direct else gram_matrix(Z, n_threads=n_threads)
    return BrainStatistics(X.shape[0], mean, scale, gram, sums, counts)
