"""The one ridge system that all units share when they read all voxels: factorised for each penalty, or decomposed.

With the z-scored samples Z (n_samples, n_voxels), S the sums of Z over the samples of each stimulus, and t the z-scored
targets of a unit (n_stimuli,), the weights are

    w = M t,   M = (Z'Z + alpha I)^-1 S' = Z' (ZZ' + alpha I)^-1 E,

E (n_samples, n_stimuli) saying which stimulus a sample shows. M depends on no unit, so the predictions of items z are
(z M) t: their cost does not depend on the number of voxels. The intercept separates, as in `numerics.ridge`.

The smaller of the two systems is taken: n_voxels unknowns (primal) or n_samples (dual). Two ways to solve it, behind
the same two methods, `shared_map` and `item_maps`:

`factorise` -> `System`      a Cholesky factorisation for each penalty
`decompose` -> `Spectrum`    one eigen-decomposition, after which a penalty costs two matrix products

Everything that units share is computed in float64, whatever the data: float32 alone loses up to 4 % of the predictions'
spread where one signal dominates all voxels (960 x 4,000, alpha = 1; 0.1 % with Cholesky, 3e-7 so: measured).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.lapack import routine_of
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import (
    COLUMNS_AT_ONCE,
    BrainStatistics,
    average_by,
    computing_dtype,
    mean_and_scale,
    standardise,
)
from hpc_recon.numerics.xp import namespace

Item = TypeVar("Item")
Result = TypeVar("Result")

#: From this many penalties on an eigen-decomposition is quicker than as many Cholesky factorisations (measured, two
#: threads, float64, a quarter as many items as samples: 11 at 960 unknowns, 40 at 2,000, 28 at 3,600).
SPECTRUM_FROM = 24


@dataclass(frozen=True)
class ItemMaps:
    """What turns the targets of any unit into predictions of items, for each penalty: `left[a] @ (right @ t)`."""

    #: (n_alphas, n_items, q), in the working type.
    left: Array
    #: (q, n_stimuli), or None for the identity: the targets themselves are multiplied.
    right: Array | None

    def coordinates(self, targets: Array) -> Array:
        """Return (q, n_units) of targets (n_units, n_stimuli): what all penalties share."""
        return targets.T if self.right is None else self.right @ targets.T

    def predict(self, targets: Array) -> Array:
        """Return predictions (n_alphas, n_items, n_units) on the z-scored scale, intercept left out.

        Parameters
        ----------
        targets : (n_units, n_stimuli), z-scored
            A block of units; see `decoder.UNIT_BLOCK`.
        """
        predicted: Array = self.left @ self.coordinates(targets)
        return predicted

    def squared_errors(self, targets: Array, truth: Array) -> Array:
        """Return the sum over items of (truth - prediction)^2, (n_alphas, n_units) float64.

        Parameters
        ----------
        targets : (n_units, n_stimuli), z-scored
        truth : (n_items, n_units)
            On the same scale, the intercept subtracted.

        Notes
        -----
        Holds the predictions of one penalty at a time: a block of units stays in a core's cache.
        """
        xp = namespace(self.left, targets, truth)
        coordinates = self.coordinates(targets)
        errors: Array = xp.empty((len(self.left), targets.shape[0]), dtype=xp.float64)
        for a in range(len(self.left)):
            difference = self.left[a] @ coordinates
            difference -= truth
            difference *= difference
            errors[a] = difference.sum(axis=0, dtype=xp.float64)
        return errors


class Shared(Protocol):
    """What decoders of all voxels share, for any penalty."""

    def shared_map(self, alpha: float) -> Array:
        """Return M (n_voxels, n_stimuli) in the working type; the weights of a unit are M @ targets."""
        ...

    def item_maps(self, Z: Array, alphas: Sequence[float]) -> ItemMaps:
        """Return what predicts the items Z (n_items, n_voxels), z-scored with the training statistics."""
        ...


@dataclass(frozen=True)
class System:
    """Z'Z or ZZ', to be factorised anew for each penalty. `X` is the caller's array, never copied."""

    #: (n, n) float64, n = n_voxels (primal) or n_samples (dual).
    matrix: Array
    primal: bool
    #: Raw training samples and their stimulus: the dual form goes back to them.
    X: Array
    stimulus: Array
    brain: BrainStatistics
    n_threads: int

    def shared_map(self, alpha: float) -> Array:
        """Return M (n_voxels, n_stimuli) in the working type; the weights of a unit are M @ targets."""
        xp, sums = namespace(self.X), self.brain.sums
        n_stimuli, n_voxels = sums.shape
        result: Array = xp.empty((n_stimuli, n_voxels), dtype=sums.dtype)

        def right_hand_side(stimuli: slice) -> Array:
            shows = xp.arange(n_stimuli)[stimuli, None] == self.stimulus  # (stimuli, n_samples)
            rows: Array = (sums[stimuli] if self.primal else shows).astype(xp.float64)
            return rows

        for stimuli, solution in _solved_in_blocks(self.matrix, right_hand_side, _slices(n_stimuli), alpha):
            if self.primal:
                result[stimuli] = solution
                continue

            def fill(columns: slice, stimuli: slice = stimuli, solution: Array = solution) -> None:
                result[stimuli, columns] = solution @ _piece(self.X, self.brain, columns)

            _on_threads(fill, _slices(n_voxels), self.X, self.n_threads)
        return result.T

    def item_maps(self, Z: Array, alphas: Sequence[float]) -> ItemMaps:
        """Return what predicts the items Z (n_items, n_voxels), z-scored with the training statistics."""
        xp = namespace(Z, self.X)
        sums, dtype = self.brain.sums, self.brain.sums.dtype
        n_stimuli, n_voxels = sums.shape
        by_voxel = self.primal and n_voxels < n_stimuli
        left: Array = xp.empty((len(alphas), Z.shape[0], n_voxels if by_voxel else n_stimuli), dtype=dtype)

        def multiply(columns: slice) -> Array:
            product: Array = Z[:, columns].astype(xp.float64) @ _piece(self.X, self.brain, columns).T
            return product  # (n_items, n_samples)

        rows = Z if self.primal else _summed(multiply, _slices(n_voxels), self.X, self.n_threads)

        def solve(a: int) -> None:
            solution = _solved(self.matrix, rows, alphas[a])  # (n_items, n)
            if not self.primal:  # Z_items Z' (ZZ' + alpha I)^-1 E: sum over the samples of each stimulus
                left[a] = average_by(solution.T, self.stimulus, n=n_stimuli, average=False)[0].T
            else:
                left[a] = solution if by_voxel else solution @ sums.T

        _on_threads(solve, range(len(alphas)), self.X, self.n_threads)
        return ItemMaps(left, sums.T if by_voxel else None)


@dataclass(frozen=True)
class Spectrum:
    """Z'Z = V diag(values) V', and V'S': every penalty without another factorisation."""

    #: (r,) float64, descending, all above rounding.
    values: Array
    #: V (n_voxels, r) and V'S' (r, n_stimuli), in the working type.
    vectors: Array
    projections: Array
    n_threads: int

    def shared_map(self, alpha: float) -> Array:
        """Return M (n_voxels, n_stimuli) in the working type; the weights of a unit are M @ targets."""
        shrunken = (self.projections / (self.values + checked_alpha(alpha))[:, None]).astype(self.vectors.dtype)
        with threadpool_limits(self.n_threads, user_api="blas"):
            result: Array = self.vectors @ shrunken
        return result

    def item_maps(self, Z: Array, alphas: Sequence[float]) -> ItemMaps:
        """Return what predicts the items Z (n_items, n_voxels), z-scored with the training statistics."""
        xp = namespace(Z, self.vectors)
        rank, n_stimuli = self.projections.shape
        dtype = self.vectors.dtype
        left: Array = xp.empty((len(alphas), Z.shape[0], min(rank, n_stimuli)), dtype=dtype)
        with threadpool_limits(self.n_threads, user_api="blas"):
            items = Z @ self.vectors  # (n_items, r)
            for a, alpha in enumerate(alphas):
                shrunken = (items / (self.values + checked_alpha(alpha))).astype(dtype)
                left[a] = shrunken if rank < n_stimuli else shrunken @ self.projections
        return ItemMaps(left, self.projections if rank < n_stimuli else None)


def sample_statistics(X: Array, stimulus: Array, *, n_stimuli: int) -> BrainStatistics:
    """Return `stats.brain_statistics` without the Gram matrix in the working type, which this estimator never reads.

    Parameters
    ----------
    X : (n_samples, n_voxels), n_samples >= 2, finite, raw
    stimulus : (n_samples,) int in [0, n_stimuli)

    Raises
    ------
    DataError
        If all voxels are constant.
    """
    mean, scale = mean_and_scale(X)
    if not bool((scale > 0).any()):
        raise DataError(
            f"all {X.shape[1]} voxels are constant over {X.shape[0]} samples; check the samples and the ROI"
        )
    Z = standardise(X, mean=mean, scale=scale, dtype=computing_dtype(X))
    sums, counts = average_by(Z, stimulus, n=n_stimuli, average=False)
    return BrainStatistics(X.shape[0], mean, scale, None, sums, counts)


def factorise(X: Array, stimulus: Array, brain: BrainStatistics, *, n_threads: int | None = None) -> System:
    """Return the smaller of Z'Z and ZZ', float64, ready to be factorised for any penalty.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
        The training samples, z-scored here with `brain`. Kept by reference, for the dual form.
    stimulus : (n_samples,) int
        Stimulus that each sample shows.
    brain
        Statistics of X (`sample_statistics`, or `stats.brain_statistics`); `gram` is not read.
    n_threads
        Default: what the worker may use. Pieces of the matrix, and penalties, are dealt to threads.

    Raises
    ------
    DataError
        If X, stimulus and statistics do not belong together.

    Notes
    -----
    Memory: `all_voxels.system_bytes`. The result does not depend on `n_threads`.
    """
    _require_match(X, stimulus, brain)
    n_samples, n_voxels = X.shape
    n_threads = n_threads or threads.available()

    def multiply_rows(rows: slice) -> Array:
        Z = standardise(X[rows], mean=brain.mean, scale=brain.scale, dtype=np.float64)
        product: Array = Z.T @ Z
        return product

    def multiply_columns(columns: slice) -> Array:
        Z = _piece(X, brain, columns)
        product: Array = Z @ Z.T
        return product

    if n_voxels <= n_samples:
        matrix = _summed(multiply_rows, _slices(n_samples), X, n_threads)
    else:
        matrix = _summed(multiply_columns, _slices(n_voxels), X, n_threads)
    return System(matrix, n_voxels <= n_samples, X, stimulus, brain, n_threads)


def decompose(X: Array, stimulus: Array, brain: BrainStatistics, *, n_threads: int | None = None) -> Spectrum:
    """Return the eigen-decomposition of Z'Z, by way of ZZ' where that is smaller; parameters as in `factorise`.

    Eigenvalues of at most n * eps * (the largest one) are rounding and dropped with their vectors, n being the size of
    the smaller system and eps that of float64. Nothing is lost: S' lies in the span of the others.

    Notes
    -----
    LAPACK's `syevd`: at 960 to 3,600 unknowns in float64 it took .09 to 4.6 s, `syevr` .13 to 5.1 s (measured).
    Memory: `all_voxels.spectrum_bytes`. BLAS has all the threads here, and their number changes the order of its
    float64 sums: float32 results may differ in their last digit.
    """
    xp = namespace(X, brain.sums)
    system = factorise(X, stimulus, brain, n_threads=n_threads)
    dtype = brain.sums.dtype
    with threadpool_limits(system.n_threads, user_api="blas"):
        if xp is np:
            values, vectors = eigh(system.matrix, driver="evd", overwrite_a=True, check_finite=False)
        else:
            values, vectors = xp.linalg.eigh(system.matrix)
        kept = xp.flatnonzero(values > len(values) * np.finfo(np.float64).eps * values[-1])[::-1]
        values, vectors = values[kept], vectors[:, kept]
        if system.primal:
            vectors[brain.scale == 0] = 0.0  # was rounding
            projections = vectors.T @ brain.sums.T.astype(xp.float64)
            return Spectrum(values, vectors.astype(dtype), projections.astype(dtype), system.n_threads)
        root = xp.sqrt(values)
        by_stimulus, _ = average_by(vectors, stimulus, n=brain.sums.shape[0], average=False)  # E'U
        whole: Array = xp.empty((X.shape[1], len(values)), dtype=dtype)
        vectors /= root
        for columns in _slices(X.shape[1]):
            whole[columns] = _piece(X, brain, columns).T @ vectors  # V = Z'U / sqrt(values); V'S' = sqrt(values) U'E
    return Spectrum(values, whole, (by_stimulus * root).T.astype(dtype), system.n_threads)


def prepare(
    X: Array, stimulus: Array, brain: BrainStatistics, *, n_alphas: int, n_threads: int | None = None
) -> System | Spectrum:
    """Return whichever of `factorise` and `decompose` is quicker for that many penalties: see `SPECTRUM_FROM`."""
    chosen = decompose if n_alphas >= SPECTRUM_FROM else factorise
    return chosen(X, stimulus, brain, n_threads=n_threads)


def checked_alpha(alpha: float) -> float:
    """Return the penalty if it is finite and above 0, else raise a DataError."""
    if not (math.isfinite(alpha) and alpha > 0):
        raise DataError(f"alpha must be a finite number above 0, got {alpha}; use a small one for weak shrinkage")
    return float(alpha)


def _slices(n: int) -> list[slice]:
    """Return pieces of a constant size, whatever the number of threads."""
    return [slice(start, min(start + COLUMNS_AT_ONCE, n)) for start in range(0, n, COLUMNS_AT_ONCE)]


def _piece(X: Array, brain: BrainStatistics, columns: slice) -> Array:
    """Return some voxels z-scored in float64, which are there for as long as they are needed, and never all."""
    return standardise(X[:, columns], mean=brain.mean[columns], scale=brain.scale[columns], dtype=np.float64)


def _on_threads(function: Callable[[Item], Result], items: Sequence[Item], like: Array, n_threads: int) -> list[Result]:
    """Return the results for all items; on a GPU one after the other."""
    return for_each(function, items, n_threads=n_threads if namespace(like) is np else 1)


def _summed(function: Callable[[slice], Array], pieces: Sequence[slice], like: Array, n_threads: int) -> Array:
    """Return the sum of what `function` makes of each piece, added in their order; `n_threads` results at a time."""
    total: Array | None = None
    for first in range(0, len(pieces), n_threads):
        for part in _on_threads(function, pieces[first : first + n_threads], like, n_threads):
            total = part if total is None else np.add(total, part, out=total)
    assert total is not None, "a matrix has at least one piece"
    return total


def _solved(matrix: Array, rows: Array, alpha: float) -> Array:
    """Return B (A + alpha I)^-1 in float64, B being (m, n) `rows`; neither argument is changed."""
    (_, solution), *_ = _solved_in_blocks(matrix, lambda _: rows, [slice(None)], alpha)
    return solution


def _solved_in_blocks(
    matrix: Array, rows_of: Callable[[slice], Array], blocks: Sequence[slice], alpha: float
) -> Iterator[tuple[slice, Array]]:
    """Yield each block with B (A + alpha I)^-1 in float64, B being its `rows_of` (m, n): one factorisation for all."""
    xp = namespace(matrix)
    A = matrix.copy()
    A.reshape(-1)[:: len(A) + 1] += checked_alpha(alpha)
    for i, block in enumerate(blocks):
        if xp is not np:
            solution: Array = xp.linalg.solve(A, rows_of(block).T.astype(xp.float64)).T
            failed = not bool(xp.isfinite(solution).all())
        else:
            solution = np.array(rows_of(block), dtype=np.float64, order="C")
            failed = _posv_rows(A, solution, factorised=i > 0)
        if failed:
            raise DataError(
                f"the ridge penalty must make the system of {len(A)} unknowns positive definite, but {alpha=} is too "
                f"small beside its trace of {float(xp.trace(matrix)):.3g}; take a larger alpha"
            )
        yield block, solution


def _posv_rows(A: Array, rows: Array, *, factorised: bool) -> bool:
    """Solve x A = b for every row b, in place and without Python's lock (see `lapack`); return whether it failed.

    A becomes its Cholesky factor, which it is already if `factorised`.
    """
    assert A.flags.c_contiguous
    assert rows.flags.c_contiguous
    order, count, status = ctypes.c_int(len(A)), ctypes.c_int(len(rows)), ctypes.c_int(0)
    at, triangle = ctypes.addressof, ctypes.c_char(b"U")
    routine = routine_of("float64", factorised=factorised)
    routine(at(triangle), at(order), at(count), A.ctypes.data, at(order), rows.ctypes.data, at(order), at(status))
    return status.value != 0


def _require_match(X: Array, stimulus: Array, brain: BrainStatistics) -> None:
    n_stimuli, n_voxels = brain.sums.shape
    if X.shape != (brain.n_samples, n_voxels) or stimulus.shape != (brain.n_samples,):
        raise DataError(
            f"samples and stimuli must be those of the brain statistics, {brain.n_samples} x {n_voxels} voxels, "
            f"got {X.shape} and {stimulus.shape}; compute the statistics of these samples"
        )
    if not bool((namespace(X).bincount(stimulus, minlength=n_stimuli) == brain.counts).all()):
        raise DataError("the samples of each stimulus must be those of the brain statistics; compute them anew")
