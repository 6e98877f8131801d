"""Sparse Bayesian linear regression of units (automatic relevance determination), the decoder of Shen et al. 2019.

Each unit's k best voxels by correlation, and a constant column, get weights with priors N(0, sigma^2 a_d) whose
variances are estimated from the data; most shrink to nothing, and their voxels are pruned. `numerics.ard_kernel` holds
the formulas. Source: KamitaniLab/slir (Python) and its MATLAB ancestor, restated: only the products of the samples are
used, never the samples, and Cholesky factors in place of singular values.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import StudyError
from hpc_recon.numerics import ard_compiled, ard_kernel
from hpc_recon.numerics.decoder import UNIT_BLOCK, UnitDecoders, scores, standardised_targets
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.ridge import SAMPLES_A_VOXEL
from hpc_recon.numerics.stats import BrainStatistics, require_finite_units
from hpc_recon.numerics.voxels import top_voxels
from hpc_recon.numerics.xp import Namespace, namespace

logger = logging.getLogger(__name__)

#: Numbers in one array of systems on a GPU: 1 GiB of float64, 536 systems of 500 voxels.
_DEVICE_NUMBERS = 1 << 27
#: float64 matrices of k x k numbers, and vectors, that a thread holds at most.
_MATRICES, _VECTORS = 6, 64
#: Speed of one core, three quarters of what was measured at 100, 250 and 500 voxels (`benchmarks/bench_ard.py`):
#: multiplications and additions of the factorisation and inversion, numbers of a matrix that are scaled, copied and
#: summed, and what an iteration costs beside both.
_FACTOR_PER_SECOND = 3e10
_NUMBERS_PER_SECOND = 2e8
_ITERATION_SECONDS = 3e-5


@dataclass(frozen=True)
class ArdOptions:
    """How the prior variances are iterated. The defaults are those of the published Python code.

    Raises
    ------
    StudyError
        Names every option that is wrong.
    """

    #: At most this many iterations; the study of 2019 ran 2,000.
    iterations: int = 200
    #: `geometric`: the new variance is the geometric mean of the old one and MacKay's fixed point; `mackay`: the fixed
    #: point; `geometric_then_mackay`: geometric for the first `switch_after` iterations, as the MATLAB code.
    update: Literal["geometric", "mackay", "geometric_then_mackay"] = "geometric"
    switch_after: int = 100
    #: What is compared with its largest value over the unit's voxels: the prior `variance`, or the squared `weight`.
    prune_by: Literal["variance", "weight"] = "variance"
    #: Voxels at or below this fraction are pruned, for good.
    prune_threshold: float = 1e-10
    #: A unit is ready when, after more than this many iterations, one prunes nothing and changes no variance by
    #: `tolerance` (variances are in units of the noise's, for z-scored voxels).
    converge_after: int = 100
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be a whole number of at least {least}, got {value!r}"
            for name, least, value in (
                ("iterations", 1, self.iterations),
                ("switch_after", 0, self.switch_after),
                ("converge_after", 0, self.converge_after),
            )
            if isinstance(value, bool) or not isinstance(value, int) or value < least
        ]
        for name, value, known in (
            ("update", self.update, ("geometric", "mackay", "geometric_then_mackay")),
            ("prune_by", self.prune_by, ("variance", "weight")),
        ):
            if value not in known:
                problems.append(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not 0 <= self.prune_threshold < 1:
            problems.append(f"prune_threshold must be at least 0 and below 1, got {self.prune_threshold!r}")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            problems.append(f"tolerance must be a finite number of at least 0, got {self.tolerance!r}")
        if problems:
            raise StudyError("the options of estimator ard", problems)

    def rules(self) -> ard_kernel.Rules:
        """Return the options as the iterations take them."""
        geometric = {"geometric": self.iterations, "mackay": 0, "geometric_then_mackay": self.switch_after}
        return ard_kernel.Rules(
            iterations=self.iterations,
            geometric=geometric[self.update],
            prune_by_weight=self.prune_by == "weight",
            prune_threshold=self.prune_threshold,
            converge_after=self.converge_after,
            tolerance=self.tolerance,
        )


def fit_units(
    brain: BrainStatistics,
    Y: Array,
    *,
    n_voxels: int,
    options: ArdOptions | None = None,
    n_threads: int | None = None,
) -> UnitDecoders:
    """Fit sparse decoders of units to known brain statistics.

    Parameters
    ----------
    brain
        Of the training samples, with as many stimuli as Y has rows.
    Y : (n_stimuli, n_units), raw, finite, n_stimuli >= 2
    n_voxels
        Voxels that each unit begins with; all usable ones if they are fewer.
    options
        Default: `ArdOptions()`.
    n_threads
        Default: what the worker may use; 1 with cupy.

    Returns
    -------
    UnitDecoders
        Voxels as `decoder.fit_units` selects them; pruned ones keep their number and have weight exactly 0. The bias is
        the weight of the constant column, 0 if that was pruned. Constant units have weights and bias 0. `n_redone`
        is 0.

    Raises
    ------
    DataError
        If values of Y are not finite.

    Notes
    -----
    Computed in float64 whatever the data. With one sample a stimulus and fewer than three samples a voxel, products of
    float32 samples are formed anew in float64; otherwise they are read from the Gram matrix as it is stored. A unit
    whose system cannot be factorised, or whose numbers overflow, has weights and bias 0, as in the published code;
    their number is logged as a warning. On the CPU the result does not depend on `n_threads`, nor a unit's on the
    other units. Memory: `ard_bytes` beside the results and n_units x k float64.
    """
    options = options or ArdOptions()
    xp = namespace(brain.sums, Y)
    require_finite_units(Y)
    k = min(n_voxels, brain.n_usable)
    n_units, dtype = Y.shape[1], brain.sums.dtype
    count = 1 if xp is not np else n_threads or threads.available()
    chosen = _select(brain, Y, k, n_threads=count)
    weight, bias = xp.zeros((n_units, k), dtype=dtype), xp.zeros(n_units, dtype=dtype)
    varying = xp.flatnonzero(chosen.y_scale > 0)
    in_step = _in_step(xp)
    size = max(1, _DEVICE_NUMBERS // (k * k)) if in_step else 1
    grams, rules = _Grams(brain, k), options.rules()

    def regress(start: int) -> int:
        units = varying[start : start + size]
        gram = grams.of(chosen.voxel[units])
        if in_step:
            own = {"squares": chosen.squares[units], "total": chosen.total[units], "n_samples": brain.n_samples}
            batch = ard_kernel.systems(gram, chosen.right[units], **own)
            solved, broken = ard_kernel.iterate(batch, n_samples=brain.n_samples, rules=rules)
            n_broken = int(broken.sum())
        else:
            unit = int(units[0])
            own = {"squares": chosen.squares[unit], "total": chosen.total[unit], "n_samples": brain.n_samples}
            solved, n_broken = ard_compiled.regress(gram[0], chosen.right[unit], rules=rules, **own)
        weight[units], bias[units] = solved[..., :k], solved[..., k]
        return n_broken

    n_failed = sum(for_each(regress, range(0, len(varying), size), n_threads=count))
    if n_failed:
        logger.warning(
            "%d of %d units could not be regressed (a singular or overflowing system) and predict their mean; "
            "fewer iterations or more samples may help",
            n_failed,
            n_units,
        )
    return UnitDecoders(chosen.voxel, weight, bias, chosen.y_mean, chosen.y_scale, 0)


@dataclass(frozen=True)
class _Selection:
    """The selected voxels of all units and the products of their targets; float64."""

    #: (n_units, k) int32, ascending.
    voxel: Array
    #: (n_units, k) X'y of them.
    right: Array
    #: (n_units,) y'y and the sum of y over samples.
    squares: Array
    total: Array
    #: (n_units,) of the rows of Y.
    y_mean: Array
    y_scale: Array


def _select(brain: BrainStatistics, Y: Array, k: int, *, n_threads: int) -> _Selection:
    """Select the voxels of all units, in blocks of constant size."""
    xp = namespace(Y)
    n_units = Y.shape[1]
    voxel, right = xp.empty((n_units, k), dtype=xp.int32), xp.empty((n_units, k))
    squares, total, y_mean, y_scale = (xp.empty(n_units) for _ in range(4))
    shown = brain.counts.astype(xp.float64)

    def select(start: int) -> None:
        units = slice(start, start + UNIT_BLOCK)
        targets, y_mean[units], y_scale[units] = standardised_targets(Y[:, units], dtype=brain.sums.dtype)
        score, products = scores(brain, targets)
        voxel[units] = chosen = top_voxels(score, k)
        right[units] = xp.take_along_axis(products, chosen, axis=1)
        doubled = targets.astype(xp.float64)
        weighted = doubled * shown
        # Not products with `shown`: the bits of a unit would vary with its place in the block.
        squares[units], total[units] = (weighted * doubled).sum(axis=1), weighted.sum(axis=1)

    for_each(select, range(0, n_units, UNIT_BLOCK), n_threads=n_threads)
    return _Selection(voxel, right, squares, total, y_mean, y_scale)


def _in_step(xp: Namespace) -> bool:
    """Return whether many units are iterated in step, as a GPU needs it, or each by itself."""
    return xp is not np


class _Grams:
    """The products of any units' voxels, from the samples where those are few, else from the Gram matrix."""

    def __init__(self, brain: BrainStatistics, k: int) -> None:
        single = bool((brain.counts == 1).all())
        precise = single and brain.sums.dtype == np.float32 and brain.n_samples < SAMPLES_A_VOXEL * k
        self.gram = None if precise else brain.gram
        self.samples = brain.sums.T if self.gram is None else None  # (n_voxels, n_samples)

    def of(self, voxel: Array) -> Array:
        """Return X'X of each unit's voxels (u, k, k) float64, zeros not yet written above the diagonals."""
        xp = namespace(voxel)
        if self.samples is not None:
            patterns = self.samples[voxel].astype(xp.float64)  # (u, k, n_samples)
            products: Array = patterns @ patterns.transpose(0, 2, 1)
            return products
        assert self.gram is not None
        gathered: Array = self.gram[voxel[:, :, None], voxel[:, None, :]].astype(xp.float64)
        return gathered


def ard_bytes(k: int, n_threads: int) -> int:
    """Return the peak bytes of the iterations of units of k voxels on the CPU, without results and selection.

    Each thread holds a unit's products in float64 with the two matrices of the factorisation, 3 k^2 numbers; before
    that, with few samples (up to three a voxel), also those, in their type and in float64: 4.5 k^2 (measured).
    """
    return n_threads * (_MATRICES * 8 * k * k + _VECTORS * 8 * k)


def ard_seconds(k: int, iterations: int) -> float:
    """Return the seconds of one unit on one thread of the CPU, as if no voxel were pruned.

    With pruning, 200 iterations from 500 voxels took a third to two thirds of this.
    """
    return iterations * (_ITERATION_SECONDS + k * k / _NUMBERS_PER_SECOND + 2 / 3 * k**3 / _FACTOR_PER_SECOND)
