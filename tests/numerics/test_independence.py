"""A unit's decoder has the same bits whatever is fitted with it, and every estimator refuses what is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import all_voxels, ard, decoder, spatial_norm, stats
from hpc_recon.numerics.ard import ArdOptions
from hpc_recon.numerics.choice import choose, choose_nested, deal_folds
from hpc_recon.numerics.decoder import UnitDecoders, fit_decoder
from hpc_recon.numerics.factorisation import decompose, factorise
from hpc_recon.numerics.folds import make_folds, make_pairs
from hpc_recon.numerics.out_of_fold import predict as predict_out_of_fold

DTYPES = [np.float32, np.float64]
ARRAYS = ("voxel", "weight", "bias", "y_mean", "y_scale")


def ingredients(dtype, n_stimuli, repeats, n_units, seed=0):
    rng = np.random.default_rng(seed)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), rng.integers(1, repeats + 1, n_stimuli)))
    X = (rng.normal(size=(len(stimulus), 90)) + 5).astype(dtype)
    Y = (3 * rng.normal(size=(n_stimuli, n_units)) + 7).astype(dtype)
    Y[:, 1] = 0.3
    brain = stats.brain_statistics(X, stimulus, n_stimuli=n_stimuli)
    Z = stats.standardise(X, mean=brain.mean, scale=brain.scale, dtype=dtype)
    return X, Y, stimulus, brain, Z


def estimators(X, stimulus, brain, Z):
    """Return functions of Y and the number of threads, by name."""
    shared = factorise(X, stimulus, brain, n_threads=1)
    short = ArdOptions(iterations=3)
    found = {
        "ridge": lambda Y, n: decoder.fit_units(brain, Y, n_voxels=40, alpha=3.0, n_threads=n),
        "ridge, more voxels": lambda Y, n: decoder.fit_units(
            brain, Y, n_voxels=85, alpha=3.0, penalize_bias=True, n_threads=n
        ),
        "ard": lambda Y, n: ard.fit_units(brain, Y, n_voxels=15, options=short, n_threads=n),
        "all voxels": lambda Y, n: all_voxels.fit_units(shared, brain, Y, alpha=3.0, n_threads=n),
    }
    for norm in ("norm1", "norm2mean0", "std1"):
        found[norm] = lambda Y, n, norm=norm: spatial_norm.fit_units(
            Z, stimulus, brain, Y, n_voxels=30, alpha=0.1, norm=norm, n_threads=n
        )
    return found


def of(units, which):
    """Return the decoders of some units."""
    return UnitDecoders(*(np.ascontiguousarray(getattr(units, name)[which]) for name in ARRAYS), 0)


def assert_same_bytes(one, other):
    for name in ARRAYS:
        assert np.ascontiguousarray(getattr(one, name)).tobytes() == getattr(other, name).tobytes(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n_stimuli", "repeats"), [(61, 1), (61, 3), (300, 1)], ids=["dual", "repeats", "Gram"])
def test_bits_of_a_unit_depend_on_nothing_else(dtype, n_stimuli, repeats) -> None:
    """Not on other units, its place among them, the order of Y in memory, or the number of threads."""
    X, Y, stimulus, brain, Z = ingredients(dtype, n_stimuli, repeats, n_units=decoder.UNIT_BLOCK + 20)
    order = np.random.default_rng(1).permutation(Y.shape[1])
    for name, fit_some in estimators(X, stimulus, brain, Z).items():
        whole = fit_some(Y, 1)
        variants = {
            "threads": (slice(None), fit_some(Y, 3)),
            "columns in memory": (slice(None), fit_some(np.asfortranarray(Y), 1)),
            "strides": (slice(None), fit_some(np.repeat(Y, 2, axis=1)[:, ::2], 1)),
            "order": (order, fit_some(np.ascontiguousarray(Y[:, order]), 2)),
            "alone": (slice(17, 18), fit_some(Y[:, 17:18], 1)),
            "alone, copied": (slice(260, 261), fit_some(Y[:, 260:261].copy(), 1)),
            "few": (slice(13, 18), fit_some(Y[:, 13:18], 2)),
        }
        for what, (which, result) in variants.items():
            try:
                assert_same_bytes(of(whole, which), result)
            except AssertionError as difference:
                raise AssertionError(f"{name}, {what}: {difference}") from difference


def test_bits_of_a_unit_do_not_depend_on_the_penalties_of_others() -> None:
    """A penalty near rounding is refined; whether that is done must not be asked of all units of a tile together."""
    _, Y, _, brain, _ = ingredients(np.float32, 300, 1, n_units=12)
    alpha = np.full(12, 3.0)
    alone = decoder.fit_units(brain, Y, n_voxels=40, alpha=alpha)
    alpha[4] = 1e-2
    beside = decoder.fit_units(brain, Y, n_voxels=40, alpha=alpha)
    others = np.arange(12) != 4
    assert_same_bytes(of(alone, others), of(beside, others))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_items", [1, 7])
def test_bits_of_a_prediction_depend_on_nothing_else(dtype, n_items) -> None:
    X, Y, stimulus, brain, Z = ingredients(dtype, 61, 2, n_units=decoder.UNIT_BLOCK + 20)
    order = np.random.default_rng(1).permutation(Y.shape[1])
    items = Z[:n_items]
    for name, fit_some in estimators(X, stimulus, brain, Z).items():
        whole = fit_some(Y, 2)

        def predicted(units, n_threads=1, name=name):
            if name in spatial_norm.NORMS:
                return spatial_norm.predict_units(items, units, norm=name, n_threads=n_threads)
            return decoder.predict_units(items, units, n_threads=n_threads)

        values = predicted(whole)
        for which in (order, slice(17, 18), slice(13, 18)):
            np.testing.assert_array_equal(predicted(of(whole, which), 3), values[:, which], err_msg=name)
    shared = decompose(X, stimulus, brain, n_threads=1)
    values = all_voxels.predict_items(shared, brain, items, Y, alpha=2.0, n_threads=1)
    for which in (order, slice(17, 18), slice(13, 18)):
        some = all_voxels.predict_items(shared, brain, items, Y[:, which], alpha=2.0, n_threads=3)
        np.testing.assert_array_equal(some, values[:, which])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite_are_refused_by_all(dtype, value) -> None:
    X, Y, stimulus, brain, Z = ingredients(dtype, 61, 1, n_units=300)
    Y[40, 280] = Y[50, 3] = value
    found = r"Y must be finite, but has 2 values .*first: row 40, unit 280, value -?(nan|inf)"
    for fit_some in estimators(X, stimulus, brain, Z).values():
        with pytest.raises(DataError, match=found):
            fit_some(Y, 1)
    shared = factorise(X, stimulus, brain)
    made = {"n_stimuli": 61, "fold_of_stimulus": deal_folds(61, 3, seed=0)}
    with pytest.raises(DataError, match=found):
        fit_decoder(X, Y, stimulus=stimulus)
    with pytest.raises(DataError, match=found):
        all_voxels.predict_items(shared, brain, Z, Y, alpha=1.0)
    with pytest.raises(DataError, match=found):
        predict_out_of_fold(make_folds(X, stimulus, **made), Y, n_voxels=5, alpha=1.0)
    with pytest.raises(DataError, match=found):
        choose(make_folds(X, stimulus, **made), Y, n_voxels=[5], alphas=[1.0])
    with pytest.raises(DataError, match=found):
        choose_nested(
            make_pairs(X, stimulus, **made), Y, fold_of_stimulus=made["fold_of_stimulus"], n_voxels=[5], alphas=[1.0]
        )
    X[7, 30] = value
    with pytest.raises(DataError, match=r"X must be finite, but has 1 values .*first: sample 7, voxel 30"):
        fit_decoder(X, Y[:, :3], stimulus=stimulus)
    with pytest.raises(DataError, match=r"X must be finite, but has 1 values .*first: sample 7, voxel 30"):
        next(make_folds(X, stimulus, **made))
