"""Batched L-BFGS in a box: every row has its own history, step size and line search.

One shared line search would stop all rows where the worst one stops, so rows only share the
evaluation of the function, which is where a batch saves time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: `evaluate(x (m, d), rows (m,)) -> loss (m,), gradient (m, d)`; `rows` says which problems are asked.
Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
#: A symmetric positive linear map of rows (m, d).
Precondition = Callable[[Tensor], Tensor]
#: `observe(iteration, x (n, d))` sees the place of every row after an iteration.
Observe = Callable[[int, Tensor], None]

#: Pairs of steps and gradient changes that are remembered; the usual value.
HISTORY = 10
#: Sufficient decrease of a step, relative to the linear prediction (Armijo); the usual value.
_SUFFICIENT = 1e-4
#: Halvings (or stronger) of a step before a line search is given up.
_TRIALS = 8
#: A pair is remembered if the cosine between its step and gradient change exceeds this: curvature must be positive.
_MIN_COSINE = 1e-6
#: Largest change of any coordinate in a row's first step, as a share of the box's mean width (1 without bounds).
_FIRST_STEP = 0.1


@dataclass(frozen=True)
class Minimum:
    """Where each row ended: `x` (n, d), and the loss after each iteration, `losses` (n, iterations)."""

    x: Tensor
    losses: Tensor


class _Memory:
    """The last steps and gradient changes of each row, oldest first; a pair with `rho` 0 counts for nothing."""

    def __init__(self, like: Tensor, size: int, precondition: Precondition | None) -> None:
        self._size, self._precondition = size, precondition
        self._steps: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._rho: list[Tensor] = []
        self._gamma = like.new_zeros(len(like))

    def empty(self) -> Tensor:
        """Return which rows remember nothing, (n,) bool."""
        nothing = torch.ones_like(self._gamma, dtype=torch.bool)
        for rho in self._rho:
            nothing &= rho == 0
        return nothing

    def forget(self, rows: Tensor) -> None:
        """Forget all pairs of the rows of a mask (n,)."""
        self._rho = [rho.masked_fill(rows, 0.0) for rho in self._rho]

    def push(self, step: Tensor, change: Tensor) -> None:
        """Remember a pair of every row; rows without positive curvature keep only their older pairs."""
        curvature = _dot(step, change)
        size = torch.linalg.vector_norm(step, dim=1) * torch.linalg.vector_norm(change, dim=1)
        good = curvature > _MIN_COSINE * size
        safe = torch.where(good, curvature, torch.ones_like(curvature))
        for pairs, new in ((self._steps, step), (self._changes, change), (self._rho, good / safe)):
            del pairs[: max(0, len(pairs) + 1 - self._size)]
            pairs.append(new)
        scale = curvature / _dot(change, self.scaled(change)).clamp_min(torch.finfo(step.dtype).tiny)
        self._gamma = torch.where(good, scale, self._gamma)

    def scaled(self, rows: Tensor) -> Tensor:
        """Return the inverse Hessian before anything is remembered, but for its size, times `rows`."""
        return rows if self._precondition is None else self._precondition(rows)

    def solve(self, gradient: Tensor) -> Tensor:
        """Return the inverse Hessian estimate times `gradient` (two-loop recursion), (n, d)."""
        q = gradient.clone()
        alphas = []
        for step, change, rho in reversed(list(zip(self._steps, self._changes, self._rho, strict=True))):
            alpha = rho * _dot(step, q)
            q.addcmul_(alpha[:, None], change, value=-1)
            alphas.append(alpha)
        q = self.scaled(q) * self._gamma[:, None]
        for step, change, rho in zip(self._steps, self._changes, self._rho, strict=True):
            beta = rho * _dot(change, q)
            q.addcmul_((alphas.pop() - beta)[:, None], step)
        return q


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner products of rows, (n,), in one pass."""
    return torch.bmm(a[:, None], b[:, :, None])[:, 0, 0]


def minimise(
    evaluate: Evaluate,
    start: Tensor,
    *,
    iterations: int,
    lower: float | Tensor,
    upper: float | Tensor,
    history: int = HISTORY,
    precondition: Precondition | None = None,
    observe: Observe | None = None,
) -> Minimum:
    """Minimise n independent functions of d variables in the box [lower, upper] by projected L-BFGS.

    Each iteration: coordinates at a bound whose gradient points outward are held; the others move along the
    L-BFGS direction, projected onto the box, with a backtracking line search (Armijo along the projected
    path, quadratic interpolation). A row whose search fails forgets its history and next takes a
    gradient step; a row that fails without history stays where it is.

    Parameters
    ----------
    evaluate
        Loss and gradient of some of the rows. A non-finite loss rejects the step.
    start
        (n, d); moved into the box first.
    iterations
        Number of iterations; each costs one evaluation, and one more for each rejected step.
    lower, upper
        One number, or one for each variable (d,); infinite where there is no bound.
    precondition
        The inverse Hessian that a row starts from, up to a factor; None: the identity. Where the loss does not say
        where to go, it says how the way is made up.

    Returns
    -------
    Minimum
        Losses never increase from one iteration to the next.
    """
    lower, upper = (torch.as_tensor(bound, dtype=start.dtype, device=start.device) for bound in (lower, upper))
    x = start.clamp(lower, upper)
    width = torch.where(torch.isfinite(upper - lower), upper - lower, torch.ones_like(upper - lower))
    reach = _FIRST_STEP * float(width.mean())
    everything = torch.arange(len(x), device=x.device)
    now = _Point(x, *evaluate(x, everything))
    memory = _Memory(x, history, precondition)
    stuck = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    curve = []
    for t in range(iterations):
        held = ((now.x <= lower) & (now.gradient > 0)) | ((now.x >= upper) & (now.gradient < 0))
        slope = now.gradient.masked_fill(held, 0.0)
        direction, plain = _direction(memory, slope, held, reach=reach)
        after, accepted = _search(evaluate, now, direction, rows=everything[~stuck], box=(lower, upper))
        stuck |= plain & ~accepted
        memory.forget(~accepted)
        memory.push(after.x - now.x, (after.gradient - now.gradient).masked_fill(held, 0.0))
        now = after
        curve.append(now.loss)
        if observe is not None:
            observe(t, now.x)
    losses = torch.stack(curve, dim=1) if curve else now.loss.new_zeros(len(x), 0)
    return Minimum(now.x, losses)


@dataclass(frozen=True)
class _Point:
    """Where each row is: `x` (n, d), `loss` (n,), `gradient` (n, d)."""

    x: Tensor
    loss: Tensor
    gradient: Tensor


def _direction(memory: _Memory, slope: Tensor, held: Tensor, *, reach: float) -> tuple[Tensor, Tensor]:
    """Return the direction of each row (n, d), and which rows take a plain gradient step (n,).

    A plain step follows the preconditioned gradient and moves no coordinate by more than `reach`.
    """
    direction = -memory.solve(slope).masked_fill(held, 0.0)
    downhill = (direction * slope).sum(dim=1) < 0
    plain = memory.empty() | ~downhill
    memory.forget(plain)
    if not plain.any():
        return direction, plain
    descent = memory.scaled(slope).masked_fill(held, 0.0)
    largest = descent.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    return torch.where(plain[:, None], -descent * (reach / largest), direction), plain


def _search(
    evaluate: Evaluate, now: _Point, direction: Tensor, *, rows: Tensor, box: tuple[Tensor, Tensor]
) -> tuple[_Point, Tensor]:
    """Backtrack each of `rows` along its projected direction until its loss decreases enough.

    Returns
    -------
    _Point
        The new places; rows that found none, and rows not asked, stay.
    Tensor
        (n,) bool, which rows moved.
    """
    place = now
    accepted = torch.zeros_like(now.loss, dtype=torch.bool)
    share = torch.ones_like(now.loss)
    for _ in range(_TRIALS):
        if len(rows) == 0:
            break
        trial, found, slope, enough, shrink = _try(evaluate, now, direction, share=share, rows=rows, box=box)
        done = rows[enough]
        accepted[done] = True
        if len(done) == len(now.loss):  # all at once, the usual case: nothing is copied
            return _Point(trial, found, slope), accepted
        if place is now:
            place = _Point(now.x.clone(), now.loss.clone(), now.gradient.clone())
        place.x[done], place.loss[done], place.gradient[done] = trial[enough], found[enough], slope[enough]
        share[rows] *= shrink
        rows = rows[~enough]
    return place, accepted


def _try(
    evaluate: Evaluate, now: _Point, direction: Tensor, *, share: Tensor, rows: Tensor, box: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Evaluate a share of the way of `rows`.

    Returns
    -------
    Tensor
        Places (m, d), losses (m,), gradients (m, d), whether each decreases enough (m,), and what to multiply the
        shares by if not (m,).
    """
    # All rows are a view, a part of them a copy.
    chosen: Tensor | slice = slice(None) if len(rows) == len(now.loss) else rows
    x, before, gradient = now.x[chosen], now.loss[chosen], now.gradient[chosen]
    trial = torch.addcmul(x, share[chosen, None], direction[chosen]).clamp(*box)
    found, slope = evaluate(trial, rows)
    predicted = _dot(gradient, trial - x)
    enough = (predicted < 0) & (found <= before + _SUFFICIENT * predicted)  # False for NaN
    # The parabola through both losses and the slope; where it says nothing, a tenth.
    bend = 2 * (found - before - predicted)
    shrink = torch.nan_to_num(-predicted / bend, nan=0.1, posinf=0.1, neginf=0.1).clamp(0.1, 0.5)
    return trial, found, slope, enough, shrink
