"""Folds of a cross-validation over whole stimuli: statistics without some stimuli, and these as patterns to predict.

Everything about the brain is fitted again in each fold, z-scoring as well as the Gram matrix, by taking the sums of the
held-out samples from those of all samples (`numerics.additive`): all folds together cost one more Gram matrix. A
`Fold` depends on the brain alone, so folds are made once and serve all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics.additive import (
    SampleSums,
    additive_bytes,
    loss,
    mean_and_scale_of,
    reference,
    sample_sums,
    sums_of,
    to_brain,
)
from hpc_recon.numerics.needs import SLACK_BYTES, statistics_seconds
from hpc_recon.numerics.parallel import for_each
from hpc_recon.numerics.stats import (
    COLUMNS_AT_ONCE,
    DIRECT_SAMPLES,
    ROWS_AT_ONCE,
    BrainStatistics,
    average_by,
    brain_statistics,
    mean_and_scale,
    require_finite,
    standardise,
)
from hpc_recon.numerics.xp import namespace, to_numpy

#: Entries of a Gram matrix that one core subtracts and scales: three quarters of the measured speed.
ENTRIES_PER_SECOND = 2.5e8
#: Voxels that vary less than 1 / LOSS as much as the samples that went through their sums are computed again by
#: `make_folds`: an entry of the Gram matrix then has at most LOSS^2 times the rounding error that it would have
#: otherwise (16 x 6e-8, relative to n, in float32). Ordinary voxels have 1 to 2.
LOSS = 4.0


@dataclass(frozen=True)
class Fold:
    """Everything that fitting without the held-out stimuli, and predicting these, needs of the brain."""

    #: Of the training samples; row i of its sums belongs to row `train_rows[i]` of Y.
    brain: BrainStatistics
    #: Rows of Y, int64, ascending.
    train_rows: Array
    test_rows: Array
    #: (n_test, n_voxels): held-out samples, z-scored with the training statistics, repeats averaged.
    test_patterns: Array


def make_fold(
    X: Array, stimulus: Array, *, held_out: Array, brain: BrainStatistics, n_threads: int | None = None
) -> Fold:
    """Return one fold, from the known statistics of all samples.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    stimulus : (n_samples,) int in [0, n_stimuli)
        The row of Y that each sample shows; every row is shown.
    held_out : (n_stimuli,) bool, numpy
        Two folds together make a fold of `choice.choose_nested`.
    brain
        Statistics of all these samples, a row of sums for each row of Y; the Gram matrix may be mapped.
    n_threads
        Default: what the worker may use. The result does not depend on it.

    Raises
    ------
    DataError
        If X, `held_out` and the statistics are not of the same samples and stimuli, no samples are held out, fewer
        than two are left, or all voxels are constant without the held-out ones.

    Notes
    -----
    Memory and time: `fold_bytes`; time: a share of `folds_seconds`.
    """
    xp = namespace(X, stimulus)
    counts = to_numpy(xp.bincount(stimulus, minlength=len(held_out)))
    if X.shape != (brain.n_samples, len(brain.mean)) or not np.array_equal(counts, to_numpy(brain.counts)):
        raise DataError(
            f"statistics must be those of the samples, but they are of {brain.n_samples} samples, {len(brain.mean)} "
            f"voxels, {len(brain.counts)} stimuli, and there are {X.shape[0]}, {X.shape[1]}, {len(held_out)}, or the "
            "stimuli are shown another number of times; compute the statistics again"
        )
    held = np.asarray(held_out, bool)
    n_held = int(counts[held].sum())
    if not 1 <= n_held <= len(X) - 2:
        raise DataError(
            f"a fold must hold out samples and leave two or more to train on, but holds out {n_held} of {len(X)}"
        )
    require_finite(X, name="X", rows="sample", columns="voxel")
    few = _few(counts, held)
    return _fold(X, stimulus, xp.asarray(held), total=None if few else sums_of(brain), n_threads=n_threads)


def _few(counts: Array, held: Array) -> bool:
    """Return whether the statistics without the held-out stimuli have no Gram matrix: see `stats.DIRECT_SAMPLES`."""
    left = counts[~held]
    return bool(left.sum() <= DIRECT_SAMPLES and left.max() == 1)


def make_folds(
    X: Array,
    stimulus: Array,
    *,
    n_stimuli: int,
    fold_of_stimulus: Array,
    total: SampleSums | None = None,
    n_threads: int | None = None,
) -> Iterator[Fold]:
    """Yield each fold: the statistics without its stimuli, and its stimuli as patterns to predict.

    Parameters
    ----------
    X : (n_samples, n_voxels), raw, finite
    stimulus : (n_samples,) int in [0, n_stimuli)
        The row of Y that each sample shows.
    fold_of_stimulus : (n_stimuli,) int, 0 to n_folds - 1
        See `choice.deal_folds`. Whole stimuli are held out, never one repeat that another repeat trains.
    total
        Sums of all samples, where they are there already.
    n_threads
        Default: what the worker may use. The result does not depend on it.

    Raises
    ------
    DataError
        If a fold has no samples, fewer than two are left without it, or all voxels are constant without it.

    Notes
    -----
    All folds together cost the products of each sample once, beside those of the total. Time: `folds_seconds`; peak
    memory: `folds_bytes`. Let go of a fold (`del fold`) before the next one is taken: else both Gram matrices exist.
    """
    folds = np.asarray(fold_of_stimulus)
    sets = [(fold,) for fold in range(int(folds.max()) + 1)]
    return _left_out(X, stimulus, sets, n_stimuli=n_stimuli, folds=folds, total=total, n_threads=n_threads)


def make_pairs(
    X: Array,
    stimulus: Array,
    *,
    n_stimuli: int,
    fold_of_stimulus: Array,
    total: SampleSums | None = None,
    n_threads: int | None = None,
) -> Iterator[Fold]:
    """Yield what is fitted without each two folds: the inner folds of `choice.choose_nested`.

    Without folds i and j, fold j is predicted to choose for fold i, and fold i to choose for fold j: so
    n_folds (n_folds - 1) / 2 fits serve all inner folds. Order: (0, 1), (0, 2), ..., (1, 2), ...
    Parameters, errors and memory are those of `make_folds`; there must be at least three folds.
    """
    folds = np.asarray(fold_of_stimulus)
    n_folds = int(folds.max()) + 1
    if n_folds < 3:
        raise DataError(f"a choice inside each fold needs at least three folds, got {n_folds}; set fit.folds to 3")
    sets = [(i, j) for i in range(n_folds) for j in range(i + 1, n_folds)]
    return _left_out(X, stimulus, sets, n_stimuli=n_stimuli, folds=folds, total=total, n_threads=n_threads)


def _left_out(
    X: Array,
    stimulus: Array,
    sets: Sequence[tuple[int, ...]],
    *,
    n_stimuli: int,
    folds: Array,
    total: SampleSums | None,
    n_threads: int | None,
) -> Iterator[Fold]:
    """Check everything at once, then yield what is fitted without each set of folds."""
    xp = namespace(X, stimulus)
    if folds.shape != (n_stimuli,) or folds.min() < 0:
        raise DataError(
            f"fold_of_stimulus must hold one fold, 0 or larger, for each of the {n_stimuli} stimuli, "
            f"got shape {folds.shape} with smallest value {folds.min()}"
        )
    require_finite(X, name="X", rows="sample", columns="voxel")
    shown = to_numpy(xp.bincount(stimulus, minlength=n_stimuli))  # samples of each stimulus
    samples = np.bincount(folds, weights=shown)
    if not samples.all() or max(samples[list(held)].sum() for held in sets) > len(X) - 2:
        raise DataError(
            "every fold must hold out samples and leave two or more to train on, but the folds have "
            f"{', '.join(str(int(n)) for n in samples)} of {len(X)} samples; deal the stimuli to fewer folds"
        )

    def made() -> Iterator[Fold]:
        sums = total
        for held_folds in sets:
            held = np.isin(folds, held_folds)
            few = _few(shown, held)
            if sums is None and not few:
                centre, unit = reference(X)
                sums = sample_sums(X, stimulus, n_stimuli=n_stimuli, centre=centre, unit=unit, n_threads=n_threads)
            yield _fold(X, stimulus, xp.asarray(held), total=None if few else sums, n_threads=n_threads)

    return made()


def _fold(X: Array, stimulus: Array, held: Array, *, total: SampleSums | None, n_threads: int | None) -> Fold:
    """Return one fold; without a total (few samples) its statistics come from the samples."""
    xp = namespace(X, stimulus, held)
    out = held[stimulus]
    train, test = xp.flatnonzero(~out), xp.flatnonzero(out)
    train_rows, test_rows = xp.unique(stimulus[train]), xp.unique(stimulus[test])
    if total is None:
        codes = xp.searchsorted(train_rows, stimulus[train])
        brain = brain_statistics(X[train], codes, n_stimuli=len(train_rows), n_threads=n_threads)
    else:
        part = sample_sums(
            X[test],
            stimulus[test],
            n_stimuli=len(held),
            centre=total.centre,
            unit=total.unit,
            n_threads=n_threads,
        )
        brain, train_rows = to_brain(total, without=part, out=part.products, n_threads=n_threads)
        ever = mean_and_scale_of(total)[1] > 0  # what is constant over all samples is so over some
        lost = xp.flatnonzero((loss(total, without=part) > LOSS) & ever)
        if len(lost):
            codes = xp.searchsorted(train_rows, stimulus[train])
            brain = _from_samples(brain, X, train, codes=codes, voxels=lost)
    Z = standardise(X[test], mean=brain.mean, scale=brain.scale, dtype=brain.sums.dtype)
    patterns, _ = average_by(Z, xp.searchsorted(test_rows, stimulus[test]), n=len(test_rows))
    return Fold(brain, train_rows, test_rows, patterns)


def _from_samples(brain: BrainStatistics, X: Array, train: Array, *, codes: Array, voxels: Array) -> BrainStatistics:
    """Return the statistics with those of a few voxels computed from the training samples; changes `brain.gram`."""
    xp = namespace(X)
    mean, scale, sums = brain.mean.copy(), brain.scale.copy(), brain.sums.copy()
    pieces = range(0, len(voxels), COLUMNS_AT_ONCE)
    for start in pieces:
        at = voxels[start : start + COLUMNS_AT_ONCE]
        mean[at], scale[at] = mean_and_scale(X[train[:, None], at])

    def fill(start: int) -> None:
        at = voxels[start : start + COLUMNS_AT_ONCE]
        own = standardise(X[train[:, None], at], mean=mean[at], scale=scale[at], dtype=sums.dtype)
        sums[:, at] = average_by(own, codes, n=len(sums), average=False)[0]
        assert brain.gram is not None, "few samples without repeats take another way"
        total = xp.zeros((len(mean), len(at)), dtype=xp.float64)
        for first in range(0, len(train), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            total += standardise(X[train[rows]], mean=mean, scale=scale, dtype=sums.dtype).T @ own[rows]
        total[at] = xp.tril(total[at]) + xp.tril(total[at], -1).T
        brain.gram[:, at] = total
        brain.gram[at] = total.T

    # One item at a time: what they write overlaps.
    for_each(fill, pieces, n_threads=1)
    return replace(brain, mean=mean, scale=scale, sums=sums)


def fold_bytes(n_samples: int, n_voxels: int, *, n_held: int, n_stimuli: int, n_threads: int, itemsize: int = 4) -> int:
    """Return the peak bytes of `make_fold`, without X and the statistics of all samples.

    `additive.additive_bytes` of the held-out samples, whose products become the fold's Gram matrix, with their raw
    copy and the sums of the fold; or, without these samples, what computing 1,024 voxels again takes: their training
    samples in float64 and twice in `itemsize`, and three float64 pieces of n_voxels x 1,024.
    """
    own = additive_bytes(n_held, n_voxels, n_stimuli=n_stimuli, n_threads=n_threads, itemsize=itemsize)
    again = min(COLUMNS_AT_ONCE, n_voxels) * (n_samples * (8 + 2 * itemsize) + 3 * 8 * n_voxels)
    again += itemsize * n_voxels * (n_voxels + 2 * n_stimuli) + 3 * 8 * min(ROWS_AT_ONCE, n_samples) * n_voxels
    return max(own + itemsize * n_voxels * (n_held + n_stimuli), again + SLACK_BYTES)


def folds_bytes(
    n_samples: int, n_voxels: int, *, n_held: int, n_stimuli: int, n_threads: int, itemsize: int = 4
) -> int:
    """Return the peak bytes of `make_folds` or `make_pairs`, without X, while each fold is dropped before the next.

    `additive.additive_bytes` of all samples; or what is kept of that, products and sums, with `fold_bytes`. A fold
    that is kept adds n_voxels x (n_voxels + n_stimuli).

    Parameters
    ----------
    n_held
        Samples that are held out at a time: n_samples / n_folds, twice that for pairs.
    """
    whole = additive_bytes(n_samples, n_voxels, n_stimuli=n_stimuli, n_threads=n_threads, itemsize=itemsize)
    one = fold_bytes(
        n_samples, n_voxels, n_held=n_held, n_stimuli=n_stimuli, n_threads=n_threads, itemsize=itemsize
    )  # fmt: skip
    return max(whole, itemsize * n_voxels * (n_voxels + n_stimuli) + one)


def folds_seconds(n_samples: int, n_voxels: int, *, n_folds: int, n_threads: int, pairs: bool = False) -> float:
    """Return the seconds of `make_folds` (or `make_pairs`): products of the total and the parts, and algebra.

    Each sample is held out once in the folds, and n_folds - 1 times in the pairs.
    """
    n_sets = n_folds * (n_folds - 1) // 2 if pairs else n_folds
    passes = 1 + (n_folds - 1 if pairs else 1)
    algebra = n_sets * n_voxels**2 / ENTRIES_PER_SECOND
    return passes * statistics_seconds(n_samples, n_voxels, n_threads=n_threads) + algebra / n_threads
