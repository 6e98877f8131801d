"""Additive brain statistics: sums of samples that can be added and taken apart.

With w = (x - centre) / unit, centre and unit fixed numbers of each voxel that all parts share, a part of the samples is
its n, sum w, sum w w' and the sum of w over the samples of each stimulus. Parts add up; the samples without a part
are a difference. From such sums the z-scored statistics are algebra: with m and s the mean and standard deviation
(ddof 1) of w over n samples, Z'Z = (sum w w' - n m m') / (s s'), and the sum of Z over the samples of a stimulus is
(sum w - count m) / s. So folds, subsets of sessions or repeats, and a new scan day need no second look at the samples.

A difference keeps the rounding errors of what it was taken from; `loss` says how large they are for each voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.needs import SLACK_BYTES
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import (
    COLUMNS_AT_ONCE,
    CONSTANT,
    DIRECT_SAMPLES,
    ROWS_AT_ONCE,
    BrainStatistics,
    average_by,
    computing_dtype,
    gram_matrix,
    mean_and_scale,
    require_finite,
)
from hpc_recon.numerics.xp import namespace, to_numpy

#: Rows of a Gram matrix that are computed together: 6 MB of float64 at 11,726 voxels.
GRAM_ROWS = 64


@dataclass(frozen=True)
class SampleSums:
    """Sums over a set of samples of w = (x - centre) / unit. `a + b` and `a - b` are those of the joint and the rest.

    Both make a third matrix of products; `combined` can write into one of the two that exist.
    """

    #: float64 (n_voxels,), unit > 0: the same in all parts that are to be added.
    centre: Array
    unit: Array
    #: N, the number of samples.
    n_samples: int
    #: sum w and sum w^2, float64 (n_voxels,).
    total: Array
    squares: Array
    #: sum w w' (n_voxels, n_voxels), in the dtype of computation.
    products: Array
    #: Sum of w over the samples of each stimulus (n_stimuli, n_voxels), in the dtype of computation.
    stimulus_sums: Array
    #: Samples of each stimulus, int64 (n_stimuli,).
    counts: Array
    #: sum w^2 of all samples that were ever added or taken, float64 (n_voxels,): what rounding errors are relative to.
    passed: Array

    def __add__(self, other: SampleSums) -> SampleSums:
        return combined(self, other, sign=1)

    def __sub__(self, other: SampleSums) -> SampleSums:
        return combined(self, other, sign=-1)


def reference(X: Array) -> tuple[Array, Array]:
    """Return centre and unit for sums of samples like these: mean and standard deviation, 1 for constant voxels.

    Take them from samples that represent all that will be added; they are kept for good. Other numbers change
    nothing but rounding errors, which grow with the distance of a part's mean from the centre, in units.
    """
    centre, scale = mean_and_scale(X)
    return centre, namespace(X).where(scale > 0, scale, 1.0)


def sums_of(brain: BrainStatistics) -> SampleSums:
    """Return the sums that statistics stand for: centre and unit are their mean and scale, the products Z'Z.

    Nothing is copied; the statistics of all samples so serve to take samples away, for folds. Constant voxels have
    unit 1 and sums of 0.

    Raises
    ------
    DataError
        If the statistics have no Gram matrix; with so few samples, start from the samples.
    """
    if brain.gram is None:
        raise DataError(
            f"statistics of {brain.n_samples} samples without repeats have no Gram matrix to take samples from; "
            "compute those of the other samples themselves"
        )
    xp = namespace(brain.mean)
    varies = brain.scale > 0
    squares = xp.where(varies, brain.n_samples - 1.0, 0.0)
    unit, total = xp.where(varies, brain.scale, 1.0), xp.zeros_like(squares)
    return SampleSums(
        brain.mean, unit, brain.n_samples, total, squares, brain.gram, brain.sums, brain.counts, squares
    )  # fmt: skip


def sample_sums(
    X: Array, stimulus: Array, *, n_stimuli: int, centre: Array, unit: Array, n_threads: int | None = None
) -> SampleSums:
    """Return the sums of samples.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
        Any number of samples, also none. float64 is kept, anything else is summed as float32 after the shift; sums
        are accumulated in float64.
    stimulus : (n_samples,) int in [0, n_stimuli)
    centre, unit : (n_voxels,) float64, unit > 0
        See `reference`.
    n_threads
        Default: what the worker may use. The result does not depend on it.

    Raises
    ------
    DataError
        If X has values that are not finite, or a unit is not a number above 0.

    Notes
    -----
    Memory: beside the result one shifted copy of X, and what `stats.gram_matrix` takes.
    """
    xp = namespace(X, stimulus, centre, unit)
    require_finite(X, name="X", rows="sample", columns="voxel")
    bad = int((~(xp.isfinite(unit) & (unit > 0) & xp.isfinite(centre))).sum())
    if bad:
        raise DataError(
            f"each voxel's reference must be a finite centre and a unit above 0, but {bad} of {len(unit)} are not; "
            "take them from additive.reference"
        )
    W: Array = xp.empty(X.shape, dtype=computing_dtype(X))
    total, squares = xp.zeros(X.shape[1], dtype=xp.float64), xp.zeros(X.shape[1], dtype=xp.float64)
    for start in range(0, X.shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        shifted = (X[rows] - centre) / unit
        W[rows] = shifted
        total += shifted.sum(axis=0)
        squares += (shifted * shifted).sum(axis=0)
    products = gram_matrix(W, n_threads=n_threads)
    sums, counts = average_by(W, stimulus, n=n_stimuli, average=False)
    return SampleSums(centre, unit, X.shape[0], total, squares, products, sums, counts, squares)


def combined(a: SampleSums, b: SampleSums, *, sign: int, out: Array | None = None) -> SampleSums:
    """Return the sums of both parts (`sign` 1), or of the samples of `a` without those of `b` (-1).

    Parameters
    ----------
    out : (n_voxels, n_voxels)
        Where the products go; may be `a.products` or `b.products`, whose owner is then used up. Default: new memory.

    Raises
    ------
    DataError
        If the references, the stimuli or the types of the parts differ, or `b` has samples that `a` has not.
    """
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1, got {sign}")
    xp = namespace(a.products, b.products)
    _require_comparable(a, b)
    if sign == -1:
        _require_part(b, a)
    products = xp.empty_like(a.products) if out is None else out
    (xp.add if sign == 1 else xp.subtract)(a.products, b.products, out=products)
    return SampleSums(
        a.centre,
        a.unit,
        a.n_samples + sign * b.n_samples,
        a.total + sign * b.total,
        a.squares + sign * b.squares,
        products,
        a.stimulus_sums + sign * b.stimulus_sums,
        a.counts + sign * b.counts,
        a.passed + b.passed,
    )


def _require_comparable(a: SampleSums, b: SampleSums) -> None:
    xp = namespace(a.products, b.products)
    if a.stimulus_sums.shape != b.stimulus_sums.shape or a.products.dtype != b.products.dtype:
        raise DataError(
            "sums must have the same stimuli and voxels (n_stimuli, n_voxels) and the same type to be combined, got "
            f"{a.stimulus_sums.shape} of {a.products.dtype} and {b.stimulus_sums.shape} of {b.products.dtype}"
        )
    differ = int(((a.centre != b.centre) | (a.unit != b.unit)).sum())
    if differ or not xp.isfinite(a.centre).all():
        raise DataError(
            f"sums must have the same reference to be combined, but centre or unit of {differ} of {len(a.centre)} "
            "voxels differ; compute both with one reference"
        )


def _require_part(part: SampleSums, whole: SampleSums) -> None:
    excess = np.flatnonzero(to_numpy(part.counts) > to_numpy(whole.counts))
    if len(excess):
        first = int(excess[0])
        raise DataError(
            f"no more samples can be taken away than there are, but {len(excess)} stimuli have fewer (first: stimulus "
            f"{first}, {int(part.counts[first])} of {int(whole.counts[first])}); take away a part of these samples"
        )


def to_brain(
    sums: SampleSums, *, without: SampleSums | None = None, out: Array | None = None, n_threads: int | None = None
) -> tuple[BrainStatistics, Array]:
    """Return the statistics that `stats.brain_statistics` computes from the samples themselves.

    Parameters
    ----------
    sums
        At least two samples.
    without
        A part of them that is left out.
    out : (n_voxels, n_voxels)
        Where the Gram matrix goes; may be the products of `sums` or `without`, whose owner is then used up.
        Default: new memory.
    n_threads
        Default: what the worker may use. The result does not depend on it.

    Returns
    -------
    brain
        Its rows of sums and counts are those of the stimuli that have samples. Voxels are constant by the rule of
        `stats.mean_and_scale`, and also if they vary less than `CONSTANT` as much as all that went through their
        sums: then nothing but rounding is left. Without repeats and with at most `DIRECT_SAMPLES` samples it has no
        Gram matrix, as in `stats`.
    rows : (n,) int64, ascending
        The stimuli that have samples.

    Raises
    ------
    DataError
        If fewer than two samples are left, all voxels are constant, or `without` is no part of `sums`.
    """
    xp = namespace(sums.products)
    part = without
    if part is not None:
        _require_comparable(sums, part)
        _require_part(part, sums)
    n = sums.n_samples - (0 if part is None else part.n_samples)
    if n < 2:
        raise DataError(f"the brain must have at least two samples, but {n} of {sums.n_samples} are left")
    m, s = _moments(sums, part)
    mean, scale = mean_and_scale_of(sums, without=part)
    if not bool((scale > 0).any()):
        raise DataError(f"all {len(scale)} voxels are constant over {n} samples; check the samples and the ROI")
    inverse = xp.where(scale > 0, 1.0 / xp.where(s > 0, s, 1.0), 0.0)
    counts = sums.counts if part is None else sums.counts - part.counts
    rows = xp.flatnonzero(counts)
    counts = counts[rows]
    stimulus_sums = xp.empty((len(rows), len(m)), dtype=sums.stimulus_sums.dtype)
    for start in range(0, len(rows), GRAM_ROWS):
        at = slice(start, start + GRAM_ROWS)
        block = sums.stimulus_sums[rows[at]].astype(xp.float64)
        if part is not None:
            block -= part.stimulus_sums[rows[at]]
        stimulus_sums[at] = (block - counts[at, None] * m) * inverse
    direct = n <= DIRECT_SAMPLES and bool((counts == 1).all())
    gram = None if direct else _gram(sums, part, n=n, mean=m, inverse=inverse, out=out, n_threads=n_threads)
    return BrainStatistics(n, mean, scale, gram, stimulus_sums, counts), rows


def loss(sums: SampleSums, *, without: SampleSums | None = None) -> Array:
    """Return how much rounding errors have grown, for each voxel (n_voxels,): at least about 1, inf if nothing is left.

    The root mean square of w over all samples that went through the sums, each counted per sample that is left, in
    standard deviations of what is left. The error of a Gram entry is that of a fresh one times the loss of both voxels.
    """
    xp = namespace(sums.products)
    n = sums.n_samples - (0 if without is None else without.n_samples)
    passed = sums.passed if without is None else sums.passed + without.passed
    _, s = _moments(sums, without)
    grown: Array = xp.where(s > 0, xp.sqrt(passed / n) / xp.where(s > 0, s, 1.0), xp.inf)
    return grown


def _moments(sums: SampleSums, part: SampleSums | None) -> tuple[Array, Array]:
    """Return mean and standard deviation (ddof 1) of w."""
    xp = namespace(sums.products)
    n, total, squares = sums.n_samples, sums.total, sums.squares
    if part is not None:
        n, total, squares = n - part.n_samples, total - part.total, squares - part.squares
    return total / n, xp.sqrt(xp.maximum(squares - total * total / n, 0.0) / (n - 1))


def mean_and_scale_of(sums: SampleSums, *, without: SampleSums | None = None) -> tuple[Array, Array]:
    """Return mean and scale on the raw scale, as `stats.mean_and_scale`; 0 also where nothing but rounding is left."""
    xp = namespace(sums.products)
    m, s = _moments(sums, without)
    mean, scale = sums.centre + sums.unit * m, sums.unit * s
    varies = (scale > CONSTANT * xp.abs(mean)) & (loss(sums, without=without) < 1 / CONSTANT)
    return mean, xp.where(varies, scale, 0.0)


def _gram(
    sums: SampleSums,
    part: SampleSums | None,
    *,
    n: int,
    mean: Array,
    inverse: Array,
    out: Array | None,
    n_threads: int | None,
) -> Array:
    """Return (sum w w' - n m m') / (s s'); each entry is rounded once, and symmetric to the last bit."""
    xp = namespace(sums.products)
    gram: Array = xp.empty_like(sums.products) if out is None else out

    def fill(start: int) -> None:
        rows = slice(start, start + GRAM_ROWS)
        block = sums.products[rows].astype(xp.float64)
        if part is not None:
            block -= part.products[rows]
        shift = mean[rows, None] * mean
        shift *= n
        block -= shift
        xp.multiply(inverse[rows, None], inverse, out=shift)
        block *= shift
        gram[rows] = block

    count = 1 if xp is not np else n_threads or threads.available()
    for_each(fill, range(0, len(mean), GRAM_ROWS), n_threads=count)
    return gram


def additive_bytes(n_samples: int, n_voxels: int, *, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `sample_sums`, or of it and `to_brain(sums, out=sums.products)`, without X itself.

    The shifted samples, the products, which become the Gram matrix, and two arrays of sums (n_stimuli x n_voxels).
    Beside them stands the largest of: three blocks of 512 rows in float64, three float64 sums of 1,024 columns, and
    for each thread four float64 pieces of 1,024 x 1,024. Without `out`, `to_brain` and `combined` add one matrix of
    n_voxels^2.
    """
    arrays = itemsize * n_voxels * (n_samples + n_voxels + 2 * n_stimuli)
    rows = 3 * 8 * min(ROWS_AT_ONCE, n_samples) * n_voxels
    columns = 3 * 8 * min(COLUMNS_AT_ONCE, n_voxels) * n_stimuli
    pieces = 4 * 8 * max(min(COLUMNS_AT_ONCE, n_voxels) ** 2, GRAM_ROWS * n_voxels) * n_threads
    return arrays + max(rows, columns, pieces) + SLACK_BYTES
