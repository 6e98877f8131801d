"""The iterations of `numerics.ard` on batches of units in step, with cupy; `numerics.ard_compiled` is their CPU twin.

A unit's weights have the prior N(0, sigma^2 a_d), a_d being re-estimated in each iteration. With G = X'X, r = X'y,
A = diag(a), S = A^1/2 and B = I + S G S = L L', V = L^-1, everything follows from k x k matrices, whether there are
more samples T than voxels or fewer:

    w       = S B^-1 S r = S V' V S r
    g_d     = 1 - (B^-1)_dd, how well the data determine w_d, between 0 and 1
    sigma^2 = (y'y - w'r) / T
    a_d    <- sqrt(a_d w_d^2 / (sigma^2 g_d))    or    w_d^2 / (sigma^2 g_d)

1 - (B^-1)_dd would lose the digits of a small g_d: at the threshold of pruning it is about 1e-9. With t_d = a_d G_dd -
sum_{j<d} L_dj^2 (so L_dd^2 = 1 + t_d) the same number is g_d = t_d / (1 + t_d) - sum_{i>d} V_id^2, whose terms are all
proportional to a_d.

The constant column is orthogonal to z-scored voxels, so it is one more unknown with a system of its own, the number T.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.numerics.xp import namespace

#: Smallest g_d, and smallest sigma^2 as a fraction of mean(y^2), as in the published code.
SMALLEST = 1e-15
#: Systems are copied to a smaller size when at most this fraction of their columns is left.
_SHRINK = 0.97
#: Up to this many unknowns the library's factorisation is called, which is made for small systems; larger are halved.
_LEAF = 32
#: A pivot that differs by more than this fraction from what its row sums to was not factorised.
_PIVOT_ERROR = 1e-6


@dataclass
class Systems:
    """The regressions of a batch of units; all float64, `u` units, `m` voxels that are still in use by any of them.

    Arrays of m + 1 columns have the constant column last. Voxels that a unit has pruned have variance 0, and so no
    effect; they are removed when all units of the batch have enough of them.
    """

    #: (u,) the caller's numbers of the units.
    unit: Array
    #: (u, m) the caller's numbers of the columns.
    column: Array
    #: (u, m, m) lower triangles of X'X, zeros above.
    gram: Array
    #: (u, m + 1) diagonal of X'X and the number of samples.
    diagonal: Array
    #: (u, m + 1) X'y and the sum of y.
    right: Array
    #: (u,) y'y.
    squares: Array
    #: (u, m + 1) a, the prior variances in units of sigma^2.
    variance: Array

    def of(self, units: Array) -> Systems:
        """Return the systems of some of the units."""
        return Systems(*(getattr(self, field.name)[units] for field in fields(self)))


@dataclass(frozen=True)
class Rules:
    """How the variances are iterated; `numerics.ard.ArdOptions` documents them."""

    iterations: int
    #: Iterations with the geometric update; those that follow use MacKay's.
    geometric: int
    prune_by_weight: bool
    prune_threshold: float
    converge_after: int
    tolerance: float


def systems(gram: Array, right: Array, *, squares: Array, total: Array, n_samples: int) -> Systems:
    """Return the systems of a batch before the first iteration.

    Parameters
    ----------
    gram : (u, k, k) float64
        X'X; only the lower triangles are read.
    right : (u, k) float64
        X'y.
    squares, total : (u,) float64
        y'y and the sum of y over samples.
    """
    xp = namespace(gram, right)
    u, k = right.shape
    number = xp.arange(k)
    samples = xp.full((u, 1), float(n_samples))
    diagonal = xp.concatenate([gram[:, number, number], samples], axis=1)
    # 1 / the mean square of the columns: the published starting value.
    variance = xp.repeat(n_samples * (k + 1) / diagonal.sum(axis=1, keepdims=True), k + 1, axis=1)
    return Systems(
        unit=xp.arange(u),
        column=xp.repeat(number[None], u, axis=0),
        gram=xp.tril(gram),
        diagonal=diagonal,
        right=xp.concatenate([right, total[:, None]], axis=1),
        squares=squares,
        variance=variance,
    )


def iterate(batch: Systems, *, n_samples: int, rules: Rules) -> tuple[Array, Array]:
    """Run all iterations of a batch of units.

    Parameters
    ----------
    batch
        From `systems`.

    Returns
    -------
    weight : (u, k + 1) float64
        Weights of the k voxels and the constant column; exactly 0 where pruned, and for units that failed.
    failed : (u,) bool
        Units whose matrix could not be factorised or whose numbers ceased to be finite.
    """
    xp = namespace(batch.gram)
    u, k = batch.column.shape
    weight, failed = xp.zeros((u, k + 1)), xp.zeros(u, dtype=bool)
    space: tuple[Array, Array] | None = None
    with np.errstate(all="ignore"):  # what is not finite is found below, and fails its unit
        for iteration in range(1, rules.iterations + 1):
            if space is None or space[0].shape != batch.gram.shape:
                space = xp.empty_like(batch.gram), xp.zeros_like(batch.gram)
            w, g, unsolved = _posterior(batch, *space)
            noise = _noise(batch, w, n_samples=n_samples)[:, None]
            fixed_point = w * w / (noise * xp.maximum(g, SMALLEST))
            geometric = iteration <= rules.geometric
            variance = xp.sqrt(batch.variance * fixed_point) if geometric else fixed_point
            broken = unsolved | ~(xp.isfinite(w) & xp.isfinite(variance) & xp.isfinite(noise)).all(axis=1)
            size = w * w if rules.prune_by_weight else variance
            kept = (size > rules.prune_threshold * size.max(axis=1, keepdims=True)) & (batch.variance > 0)
            w, variance = xp.where(kept, w, 0.0), xp.where(kept, variance, 0.0)
            done = broken | ~(variance > 0).any(axis=1) | (iteration == rules.iterations)
            if iteration > rules.converge_after:
                pruned = ((batch.variance > 0) & ~kept).any(axis=1)
                change = xp.abs(variance - batch.variance).max(axis=1)
                done |= ~pruned & (change < rules.tolerance)
            batch.variance = variance
            if bool(done.any()):
                failed[batch.unit[broken]] = True
                _store(weight, batch, w, chosen=done & ~broken)
                if bool(done.all()):
                    break
                batch = batch.of(xp.flatnonzero(~done))
            batch = _shrunk(batch)
    return weight, failed


def _posterior(batch: Systems, B: Array, V: Array) -> tuple[Array, Array, Array]:
    """Return w and g (u, m + 1) and which units could not be solved (u,); B and V (u, m, m) are overwritten.

    Above the diagonals V must be 0; B becomes so.
    """
    xp = namespace(B)
    m = batch.column.shape[1]
    number = xp.arange(m)
    s = xp.sqrt(batch.variance[:, :m])
    xp.multiply(batch.gram, s[:, :, None], out=B)
    xp.multiply(B, s[:, None, :], out=B)
    own = batch.variance * batch.diagonal  # a_d G_dd; for the constant column the whole system
    B[:, number, number] = 1.0 + own[:, :m]
    unsolved = factor_and_invert(B, V)
    B[:, number, number] = 0.0
    t = own[:, :m] - xp.einsum("uij,uij->ui", B, B)
    pivot = V[:, number, number].copy()
    V[:, number, number] = 0.0
    g = t / (1.0 + t) - xp.einsum("uij,uij->uj", V, V)
    V[:, number, number] = pivot
    half = V @ (s * batch.right[:, :m])[:, :, None]  # (u, m, 1)
    w = s * (half.transpose(0, 2, 1) @ V)[:, 0]
    constant = own[:, m:] / (1.0 + own[:, m:])
    weight_of_constant = batch.variance[:, m:] * batch.right[:, m:] / (1.0 + own[:, m:])
    return xp.concatenate([w, weight_of_constant], axis=1), xp.concatenate([g, constant], axis=1), unsolved


def _noise(batch: Systems, w: Array, *, n_samples: int) -> Array:
    """Return sigma^2 (u,): (y'y - w'r) / T, or, where that vanishes, (|y - Xw|^2 + sum w^2/a) / T, floored."""
    xp = namespace(w)
    explained = (w * batch.right).sum(axis=1)
    noise: Array = (batch.squares - explained) / n_samples
    exact = ~(noise >= SMALLEST * batch.squares / n_samples)
    if bool(exact.any()):
        m = batch.column.shape[1]
        half = (batch.gram @ w[:, :m, None])[:, :, 0]  # the lower triangle's part of Gw
        fitted = 2.0 * (w[:, :m] * half).sum(axis=1) - (w[:, :m] ** 2 * batch.diagonal[:, :m]).sum(axis=1)
        fitted += w[:, m] ** 2 * n_samples
        prior = xp.where(batch.variance > 0, w * w / xp.where(batch.variance > 0, batch.variance, 1.0), 0.0).sum(axis=1)
        residual = xp.maximum(batch.squares - 2.0 * explained + fitted, 0.0)
        noise = xp.where(exact, xp.maximum((residual + prior) / n_samples, SMALLEST), noise)
    return noise


def _store(weight: Array, batch: Systems, w: Array, *, chosen: Array) -> None:
    """Write the weights of the chosen units to their places."""
    xp = namespace(w)
    rows = xp.flatnonzero(chosen)
    unit = batch.unit[rows]
    weight[unit[:, None], batch.column[rows]] = w[rows, :-1]
    weight[unit, -1] = w[rows, -1]


def _shrunk(batch: Systems) -> Systems:
    """Return the batch without columns that are pruned: as many as the unit with the most voxels can spare."""
    xp = namespace(batch.gram)
    u, m = batch.column.shape
    active = batch.variance[:, :m] > 0
    left = max(1, int(active.sum(axis=1).max()))
    if left > _SHRINK * m:
        return batch
    order = xp.argsort(~active, axis=1, kind="stable")[:, :left]  # active voxels in their order, then pruned ones
    gram = batch.gram[xp.arange(u)[:, None, None], order[:, :, None], order[:, None, :]]
    with_constant = xp.concatenate([order, xp.full((u, 1), m)], axis=1)
    columns = {name: getattr(batch, name) for name in ("diagonal", "right", "variance")}
    taken = {name: xp.take_along_axis(array, with_constant, axis=1) for name, array in columns.items()}
    column = xp.take_along_axis(batch.column, order, axis=1)
    return Systems(unit=batch.unit, column=column, gram=gram, squares=batch.squares, **taken)


def factor_and_invert(A: Array, V: Array) -> Array:
    """Factorise `A[i] = L L'` and invert L by matrix products over the whole batch, in place.

    Parameters
    ----------
    A : (u, m, m) float64
        Symmetric positive definite; only the lower triangles are read. Overwritten by L, with zeros above.
    V : (u, m, m) float64
        Overwritten by L^-1, with zeros above.

    Returns
    -------
    (u,) bool
        Where the factorisation failed: cupy does not say, so each row of L must have the length that A says.
    """
    xp = namespace(A)
    number = xp.arange(A.shape[1])
    diagonal = A[:, number, number].copy()
    _halves(A, V)
    error = xp.abs(xp.einsum("uij,uij->ui", A, A) - diagonal)
    failed: Array = ~(error <= _PIVOT_ERROR * diagonal).all(axis=1)
    return failed


def _halves(A: Array, V: Array) -> None:
    """The recursion of `factor_and_invert`."""
    m = A.shape[1]
    if m <= _LEAF:
        _leaf(A, V)
        return
    upper, lower = slice(0, m // 2), slice(m // 2, m)
    _halves(A[:, upper, upper], V[:, upper, upper])
    L21 = A[:, lower, upper] @ V[:, upper, upper].transpose(0, 2, 1)
    A[:, lower, upper] = L21
    A[:, lower, lower] -= L21 @ L21.transpose(0, 2, 1)
    _halves(A[:, lower, lower], V[:, lower, lower])
    V[:, lower, upper] = -(V[:, lower, lower] @ (L21 @ V[:, upper, upper]))
    A[:, upper, lower] = V[:, upper, lower] = 0.0


def _leaf(A: Array, V: Array) -> None:
    """Factorise and invert small systems with the array library's own routines."""
    xp: Any = namespace(A)
    below = xp.tril(A, -1)
    diagonal = A * xp.eye(A.shape[1])
    A[...] = xp.tril(xp.linalg.cholesky(below + below.transpose(0, 2, 1) + diagonal))
    V[...] = xp.tril(xp.linalg.inv(A))
