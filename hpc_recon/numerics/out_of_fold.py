"""Honest predictions of the training stimuli: each by decoders that were fitted without it.

What decoders predict for their own training stimuli says little: with more voxels than samples they fit them nearly
perfectly. Out-of-fold predictions are what new stimuli would get, from slightly fewer samples, and so serve for the
calibration and the reliability of units, and as inputs of methods that learn from decoded features.

A penalty that the same folds chose has seen the stimuli that it is now judged on. With candidates, give the choices
of `choice.choose_nested`, one for each fold, made without it, to `predict_chosen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.memory import array_bytes
from hpc_recon.numerics.choice import require_held_out
from hpc_recon.numerics.decoder import fit_units, predict_units
from hpc_recon.numerics.fold_scores import deviations
from hpc_recon.numerics.folds import Fold
from hpc_recon.numerics.needs import UNITS_AT_ONCE, fit_bytes, fit_seconds, predict_bytes, predict_seconds
from hpc_recon.numerics.stats import require_finite_units
from hpc_recon.numerics.xp import namespace, to_numpy

#: From a fold, the training rows of a block of units (n_train, n_units), n_voxels and alpha to predictions of the
#: held-out stimuli (n_test, n_units), raw scale.
PredictFold: TypeAlias = Callable[[Fold, Array, int, float | Array], Array]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of each stimulus, its repeats averaged, by the fold that held it out; in the library of Y."""

    #: (n_stimuli, n_units), raw scale, in the dtype of computation.
    predictions: Array
    #: Mean over stimuli of (y - prediction)^2, float64 (n_units,): variance and bias of what is left.
    residual_variance: Array
    #: Correlation of truth and prediction, float64 (n_units,), both as deviations from their mean over the held-out
    #: stimuli of a fold; 0 where a unit or its predictions do not vary. Without that, predictions of nothing would
    #: correlate negatively: the mean of the training stimuli is low where that of the held-out ones is high.
    correlation: Array


def predict(
    folds: Iterable[Fold],
    Y: Array,
    *,
    n_voxels: int,
    alpha: float | Array,
    penalize_bias: bool = False,
    n_threads: int | None = None,
    predict_fold: PredictFold | None = None,
) -> OutOfFold:
    """Predict each stimulus by decoders fitted without it, with a number of voxels and a penalty known beforehand.

    Parameters
    ----------
    folds
        See `numerics.folds.make_folds`; together they hold out every row of Y once. One is looked at at a time.
    Y : (n_stimuli, n_units), raw, finite
        The same library as the folds.
    n_voxels, penalize_bias, n_threads
        As in `decoder.fit_units`.
    alpha
        One penalty, or one of each unit (n_units,).
    predict_fold
        Another estimator, for which `penalize_bias` and `n_threads` mean nothing. Default: the best voxels of each
        unit, ridge.

    Returns
    -------
    OutOfFold
        A unit that is constant over the training stimuli of a fold is predicted by its mean over them.

    Raises
    ------
    DataError
        If values of Y are not finite, a row of Y is held out never or twice, or `alpha` has another length.

    Notes
    -----
    Memory: `out_of_fold_bytes`, time: `out_of_fold_seconds`. The result does not depend on `n_threads`.
    """
    own = predict_fold or _ridge(penalize_bias=penalize_bias, n_threads=n_threads)
    return _predict(folds, Y, repeat((n_voxels, alpha)), own)


def predict_chosen(
    folds: Iterable[Fold],
    Y: Array,
    *,
    settings: Sequence[tuple[int, float | Array]],
    penalize_bias: bool = False,
    n_threads: int | None = None,
    predict_fold: PredictFold | None = None,
) -> OutOfFold:
    """Predict each stimulus with the number of voxels and the penalty that were chosen without its fold.

    Parameters
    ----------
    settings
        Number of voxels and penalty (one, or one of each unit) for each fold, in their order: `Choice.setting` of
        each of the choices of `choice.choose_nested`. The other parameters are those of `predict`.

    Raises
    ------
    DataError
        As `predict`, and if there are not as many settings as folds.
    """
    left = iter(settings)
    own = predict_fold or _ridge(penalize_bias=penalize_bias, n_threads=n_threads)
    result = _predict(folds, Y, left, own)
    if next(left, None) is not None:
        raise DataError(f"there must be a setting for each fold, but {len(settings)} are more; choose with these folds")
    return result


def _predict(
    folds: Iterable[Fold],
    Y: Array,
    settings: Iterator[tuple[int, float | Array]],
    predict_fold: PredictFold,
) -> OutOfFold:
    """Predict each fold with its own number of voxels and penalty."""
    xp = namespace(Y)
    require_finite_units(Y)
    n_stimuli, n_units = Y.shape
    held = np.zeros(n_stimuli, np.int64)
    residual, cross, own, truth = (xp.zeros(n_units, dtype=xp.float64) for _ in range(4))
    predictions: Array | None = None
    for fold in folds:
        rows, dtype = fold.test_rows, fold.brain.sums.dtype
        predictions = xp.empty((n_stimuli, n_units), dtype=dtype) if predictions is None else predictions
        chosen = next(settings, None)
        if chosen is None:
            raise DataError("there must be a setting for each fold, but there are fewer; choose with these folds")
        n_voxels, alpha = chosen
        alphas = _checked(alpha, n_units)
        for start in range(0, n_units, UNITS_AT_ONCE):
            units = slice(start, start + UNITS_AT_ONCE)
            penalty = alphas if isinstance(alphas, float) else xp.asarray(alphas[units])
            predicted = predict_fold(fold, Y[fold.train_rows, units], n_voxels, penalty)
            predictions[rows, units] = predicted
            p, y = predicted.astype(xp.float64), Y[rows, units].astype(xp.float64)  # (n_test, units)
            residual[units] += ((y - p) ** 2).sum(axis=0)
            p, y = deviations(p), deviations(y)
            cross[units] += (p * y).sum(axis=0)
            own[units] += (p * p).sum(axis=0)
            truth[units] += (y * y).sum(axis=0)
        held[to_numpy(rows)] += 1
        del fold  # else its Gram matrix lives on while the next one is made
    require_held_out(held, times=1)
    assert predictions is not None, "every row was held out"
    norm = xp.sqrt(own * truth)
    correlation = xp.where(norm > 0, cross / xp.where(norm > 0, norm, 1.0), 0.0)
    return OutOfFold(predictions, residual / n_stimuli, correlation)


def _checked(alpha: float | Array, n_units: int) -> float | Array:
    """Return one penalty as a float, or those of all units (n_units,)."""
    alphas = to_numpy(alpha) if hasattr(alpha, "dtype") else np.asarray(alpha)
    if alphas.shape not in ((), (n_units,)) or not (np.isfinite(alphas) & (alphas > 0)).all():
        raise DataError(
            f"alpha must be one finite number above 0, or one for each of the {n_units} units, got shape "
            f"{alphas.shape}; choose with the units that are predicted"
        )
    return float(alphas) if alphas.shape == () else alphas


def _ridge(*, penalize_bias: bool, n_threads: int | None) -> PredictFold:
    """Return the predictions of the best voxels of each unit, ridge."""

    def predict_fold(fold: Fold, Y: Array, n_voxels: int, alpha: float | Array) -> Array:
        fitted = fit_units(
            fold.brain, Y, n_voxels=n_voxels, alpha=alpha, penalize_bias=penalize_bias, n_threads=n_threads
        )
        return predict_units(fold.test_patterns, fitted, n_threads=n_threads)

    return predict_fold


def out_of_fold_bytes(n_units: int, *, n_stimuli: int, n_test: int, n_voxels: int, k: int, n_threads: int) -> int:
    """Return the peak bytes of `predict`, without its inputs: the folds (`folds.folds_bytes`) and Y.

    The predictions, four float64 numbers a unit; and for `UNITS_AT_ONCE` units a copy of the training rows of Y, what
    fitting and predicting take, and six float64 copies of the predictions of a fold.
    """
    at_once = min(n_units, UNITS_AT_ONCE)
    results = array_bytes(n_stimuli, n_units) + 4 * 8 * n_units
    working = fit_bytes(at_once, n_voxels, k=k, n_stimuli=n_stimuli, n_threads=n_threads)
    working += predict_bytes(n_test, at_once, n_voxels=n_voxels, k=k, n_threads=n_threads)
    return results + working + array_bytes(n_stimuli, at_once) + 6 * array_bytes(n_test, at_once, itemsize=8)


def out_of_fold_seconds(n_units: int, *, n_stimuli: int, n_voxels: int, k: int, n_folds: int, n_threads: int) -> float:
    """Return the seconds of `predict`: one fit of all units for each fold, and one prediction of each stimulus."""
    fitting = fit_seconds(n_units, n_voxels=n_voxels, n_stimuli=n_stimuli, k=k, n_threads=n_threads)
    predicting = predict_seconds(n_stimuli, n_units, k=k, n_threads=n_threads)
    return n_folds * fitting + predicting
