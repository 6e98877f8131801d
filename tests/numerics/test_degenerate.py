"""The rules for degenerate input, on random problems that are made of it: every estimator against plain numpy.

Voxels and units that are constant, nearly constant, equal to others, far from zero, tiny or huge; few samples, few
voxels, unbalanced repeats. What a unit's result may not depend on stands in `test_independence.py`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import all_voxels, ard, decoder, spatial_norm, stats
from hpc_recon.numerics.ard import ArdOptions
from hpc_recon.numerics.choice import choose, choose_nested, deal_folds
from hpc_recon.numerics.decoder import fit_decoder
from hpc_recon.numerics.factorisation import decompose, factorise
from hpc_recon.numerics.folds import make_folds, make_pairs
from hpc_recon.numerics.out_of_fold import predict as predict_out_of_fold
from hpc_recon.numerics.voxels import EQUAL_COLUMNS, products_of

EXAMPLES = settings(max_examples=60, derandomize=True)
DTYPES = [np.float32, np.float64]
#: What a column of X or Y may be. `near` varies by 3e-6 of its mean, just above what counts as constant.
KINDS = ["plain", "constant", "zero", "near", "nearly_constant", "far", "tiny", "huge", "subnormal", "twin", "opposite"]


@dataclass
class Problem:
    X: np.ndarray
    Y: np.ndarray
    stimulus: np.ndarray
    k: int
    alpha: float
    penalize_bias: bool
    dtype: type


def column(values, kind, before):
    """Return a column of one kind, from standard normal values and the column before it."""
    return {
        "plain": values,
        "constant": np.full_like(values, 0.1),
        "zero": np.zeros_like(values),
        "near": 0.1 * (1 + 3e-6 * values / values.std(ddof=1)),
        "nearly_constant": 0.1 * (1 + 2e-7 * values / np.abs(values).max()),
        "far": 1e6 + 30 * values,
        "tiny": 1e-20 * values,
        "huge": 1e20 * values,
        "subnormal": 1e-41 * values,
        "twin": before,
        "opposite": -before,
    }[kind]


def matrix(values, kinds):
    columns = [values[:, 0]]
    for j, kind in enumerate(kinds):
        columns.append(column(values[:, j], kind, columns[-1]))
    return np.stack(columns[1:], axis=1)


@st.composite
def problems(draw, dtype=None, kinds=KINDS):
    """Draw a problem whose first voxel is plain, so that there is one to select."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    n_stimuli = draw(st.one_of(st.integers(3, 12), st.sampled_from([40, 270])))
    voxels = ["plain", *draw(st.lists(st.sampled_from(kinds), max_size=14))]
    units = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5))
    most = draw(st.integers(1, 3))
    counts = rng.integers(1, most + 1, n_stimuli)
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    signal = rng.normal(size=(n_stimuli, 3))
    noise = rng.normal(size=(len(stimulus), len(voxels)))
    X = signal[stimulus] @ rng.normal(size=(3, len(voxels))) + noise
    Y = signal @ rng.normal(size=(3, len(units))) + 0.5 * rng.normal(size=(n_stimuli, len(units)))
    dtype = dtype or draw(st.sampled_from(DTYPES))
    return Problem(
        matrix(X, voxels).astype(dtype),
        matrix(Y, units).astype(dtype),
        stimulus,
        draw(st.sampled_from([1, 2, 3, 5, 8, 500])),
        draw(st.sampled_from([1e-1, 1.0, 100.0, 1e6, 1e20, 1e300])),
        draw(st.booleans()),
        dtype,
    )


def z_scored(values):
    """Return (values - mean) / standard deviation in float64, 0 for what is constant, with both; exact sums."""
    values = values.astype(np.float64)
    mean = np.array([math.fsum(column) / len(values) for column in values.T])
    scale = np.sqrt(((values - mean) ** 2).sum(axis=0) / (len(values) - 1))
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, 0.0)
    return (values - mean) / np.where(scale > 0, scale, np.inf), mean, scale


def correlations(problem):
    """Return |Z'y| of each unit and voxel in float64, one by one, -1 for constant voxels; equal voxels tie."""
    Z, _, scale = z_scored(problem.X)
    T = z_scored(problem.Y)[0][problem.stimulus]
    score = np.array([[abs((Z[:, v] * T[:, j]).sum()) for v in range(Z.shape[1])] for j in range(T.shape[1])])
    return np.where(scale > 0, score, -1.0)


def expected(problem, voxel):
    """Return the predictions of the samples in standard deviations of each unit: the formula, one unit at a time."""
    Z = z_scored(problem.X)[0]
    targets, _, scale = z_scored(problem.Y)
    targets = targets[problem.stimulus]
    n = len(Z)
    predicted = np.zeros((n, targets.shape[1]))
    for j in np.flatnonzero(scale > 0):
        A = np.column_stack([Z[:, voxel[j]], np.ones(n)])
        penalty = np.full(A.shape[1], min(problem.alpha, 1e30))
        penalty[-1] = min(problem.alpha, 1e30) if problem.penalize_bias else 0.0
        weight = np.linalg.solve(A.T @ A + np.diag(penalty), A.T @ targets[:, j])
        predicted[:, j] = A @ weight
    return predicted


def fit(problem):
    return fit_decoder(
        problem.X, problem.Y, problem.k, problem.alpha, problem.penalize_bias, problem.stimulus
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_formula_and_the_rules(dtype, caplog) -> None:
    """float32: 2e-5 of a unit's standard deviation, and what rounding the mean of a unit far from zero leaves."""
    tolerance = 2e-5 if dtype == np.float32 else 1e-9

    @EXAMPLES
    @given(problem=problems(dtype))
    def check(problem) -> None:
        with caplog.at_level(logging.CRITICAL):
            d = fit(problem)
        score = correlations(problem)
        usable = np.flatnonzero(score[0] >= 0)
        k = min(problem.k, len(usable))
        assert d.voxel.shape == (problem.Y.shape[1], k)
        assert np.isin(d.voxel, usable).all()
        assert (np.diff(d.voxel, axis=1) > 0).all()
        assert bool(d.warnings) == (k < problem.k)
        for j in range(len(score)):
            least, left = score[j, d.voxel[j]].min(), np.delete(score[j], d.voxel[j])
            assert left.max(initial=-1) <= least + tolerance * len(problem.X)
        predicted = d.predict(problem.X)
        assert predicted.dtype == dtype
        assert np.isfinite(predicted).all()
        _, mean, scale = z_scored(problem.Y)
        np.testing.assert_array_equal(d.y_scale == 0, scale == 0)
        constant = scale == 0
        assert not d.weight[constant].any()
        resolution = np.finfo(dtype)
        flat = np.tile(mean[constant], (len(predicted), 1))
        np.testing.assert_allclose(predicted[:, constant], flat, rtol=resolution.eps)
        rounding = resolution.eps * np.abs(mean) + resolution.smallest_subnormal
        wanted = expected(problem, d.voxel) * scale + mean
        assert (np.abs(predicted - wanted) <= tolerance * scale + rounding).all()

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_voxels_tie_and_the_lower_number_wins(dtype) -> None:
    """Also at the end of a row, where BLAS computes products in another way: sizes on both sides of `EQUAL_COLUMNS`."""

    @EXAMPLES
    @given(
        seed=st.integers(0, 2**32 - 1),
        n=st.integers(3, 330),
        n_different=st.integers(1, 20),
        copies=st.integers(2, 12),
        k=st.integers(1, 30),
    )
    def check(seed, n, n_different, copies, k) -> None:
        rng = np.random.default_rng(seed)
        which = rng.permutation(np.arange(n_different * copies) % n_different)
        different = rng.normal(size=(n, n_different)).astype(dtype)
        X, Y = different[:, which], rng.normal(size=(n, 3)).astype(dtype)
        k = min(k, X.shape[1])
        d = fit_decoder(X, Y, k, 1.0)
        for chosen in d.voxel:
            for voxel in range(n_different):
                equal = np.flatnonzero(which == voxel)
                taken = np.isin(equal, chosen)
                assert (np.diff(taken.astype(int)) <= 0).all(), "the first ones of equal voxels"
            partly = [v for v in range(n_different) if 0 < np.isin(np.flatnonzero(which == v), chosen).sum() < copies]
            assert len(partly) <= 1, "all copies of a better voxel come first"

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_voxels", [1, EQUAL_COLUMNS - 1, EQUAL_COLUMNS, EQUAL_COLUMNS + 1, 5 * EQUAL_COLUMNS - 7])
def test_products_of_units_and_voxels(n_voxels, dtype) -> None:
    rng = np.random.default_rng(n_voxels)
    targets, sums = rng.normal(size=(decoder.UNIT_BLOCK, 70)), rng.normal(size=(70, n_voxels))
    found = products_of(targets.astype(dtype), sums.astype(dtype))
    wanted = np.einsum("us,sv->uv", targets.astype(dtype).astype(float), sums.astype(dtype).astype(float))
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, wanted, rtol=0, atol=70 * 4 * np.finfo(dtype).eps)


@EXAMPLES
@given(problem=problems(kinds=["plain", "constant", "far", "tiny", "huge", "twin"]), seed=st.integers(0, 2**32 - 1))
def test_permuting_everything_permutes_the_result(problem, seed) -> None:
    rng = np.random.default_rng(seed)
    X, Y, stimulus = problem.X, problem.Y, problem.stimulus
    samples, voxels, units, rows = (rng.permutation(n) for n in (*X.shape, Y.shape[1], Y.shape[0]))
    other = Problem(
        X[samples][:, voxels], Y[rows][:, units], np.argsort(rows)[stimulus[samples]],
        problem.k, problem.alpha, problem.penalize_bias, problem.dtype,
    )  # fmt: skip
    a, b = fit(problem), fit(other)
    score = correlations(problem)
    tolerance = (2e-5 if problem.dtype == np.float32 else 1e-9) * len(X)
    k = a.voxel.shape[1]
    scale = z_scored(Y)[2]
    for j, unit in enumerate(units):
        ranked = -np.sort(-score[unit])
        apart = k == len(ranked) or ranked[k] < 0 or ranked[k - 1] - ranked[k] > tolerance
        if not apart or scale[unit] == 0:
            continue
        np.testing.assert_array_equal(np.sort(voxels[b.voxel[j]]), a.voxel[unit])
        p, q = a.predict(X)[samples, unit], b.predict(other.X)[:, j]
        rounding = 4 * np.finfo(problem.dtype).eps * np.abs(Y[:, unit].astype(float)).max()
        np.testing.assert_allclose(p.astype(float), q.astype(float), rtol=0, atol=4e-5 * scale[unit] + rounding)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_estimator_predicts_nan(dtype, caplog) -> None:
    @settings(max_examples=25, derandomize=True)
    @given(problem=problems(dtype))
    def check(problem) -> None:
        X, Y, stimulus = problem.X, problem.Y, problem.stimulus
        brain = stats.brain_statistics(X, stimulus, n_stimuli=len(Y))
        Z = stats.standardise(X, mean=brain.mean, scale=brain.scale, dtype=dtype)
        k = problem.k
        results = {"ard": ard.fit_units(brain, Y, n_voxels=k, options=ArdOptions(iterations=30))}
        for make in (factorise, decompose):
            shared = make(X, stimulus, brain)
            results[f"{make.__name__} units"] = all_voxels.fit_units(shared, brain, Y, alpha=problem.alpha)
            items = all_voxels.predict_items(shared, brain, Z, Y, alpha=problem.alpha)
            np.testing.assert_array_equal(np.isfinite(items), True)
        predicted = {name: decoder.predict_units(Z, units) for name, units in results.items()}
        for norm in spatial_norm.NORMS if min(k, brain.n_usable) > 1 else ("norm1", "norm2"):
            options = {"n_voxels": k, "alpha": problem.alpha, "norm": norm}
            units = spatial_norm.fit_units(Z, stimulus, brain, Y, **options)
            predicted[norm] = spatial_norm.predict_units(Z, units, norm=norm)
        constant = z_scored(Y)[2] == 0
        mean = z_scored(Y)[1][constant]
        for name, values in predicted.items():
            assert np.isfinite(values).all(), name
            np.testing.assert_allclose(
                values[:, constant], np.tile(mean, (len(Z), 1)), rtol=np.finfo(dtype).eps, err_msg=name
            )

    with caplog.at_level(logging.CRITICAL):
        check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_folds_in_which_columns_become_constant(dtype) -> None:
    """A voxel and a unit that vary in one stimulus only are constant when that is held out."""
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(30, 6)).astype(dtype), rng.normal(size=(30, 4)).astype(dtype)
    Y[:, 0] += X[:, 0]
    X[1:, 4], Y[1:, 1], Y[:, 2] = 0.0, 0.1, 5.0
    folds, stimulus = deal_folds(30, 3, seed=0), np.arange(30)
    made = {"n_stimuli": 30, "fold_of_stimulus": folds}
    held = predict_out_of_fold(make_folds(X, stimulus, **made), Y, n_voxels=500, alpha=2.0)
    assert np.isfinite(held.predictions).all()
    assert np.isfinite(held.correlation).all()
    np.testing.assert_allclose(held.predictions[:, 2], 5.0)
    np.testing.assert_allclose(held.predictions[folds == folds[0], 1], 0.1, rtol=1e-6)
    assert held.correlation[2] == 0
    for fold in range(3):
        training = Problem(X[folds != fold], Y[folds != fold], np.arange(20), 500, 2.0, False, dtype)
        usable = np.flatnonzero(z_scored(training.X)[2] > 0)
        Z, mean, scale = z_scored(training.X)
        targets, y_mean, y_scale = z_scored(training.Y)
        A = Z[:, usable]
        weight = np.linalg.solve(A.T @ A + 2.0 * np.eye(len(usable)), A.T @ targets)
        items = (X[folds == fold].astype(float) - mean)[:, usable] / scale[usable]
        wanted = items @ weight * y_scale + y_mean
        np.testing.assert_allclose(held.predictions[folds == fold], wanted, atol=1e-4 if dtype == np.float32 else 1e-9)
    for per in ("layer", "unit"):
        options = {"n_voxels": [2, 500], "alphas": [1.0, 10.0], "per": per}
        one = choose(make_folds(X, stimulus, **made), Y, **options)
        nested = choose_nested(make_pairs(X, stimulus, **made), Y, fold_of_stimulus=folds, **options)
        for choice in (one, *nested):
            assert np.isfinite(choice.explained_variance).all()
            assert np.isfinite(choice.correlation).all()
            assert choice.unit_alpha is None or choice.unit_alpha[2] == 10.0


def test_values_whose_squares_overflow_are_refused() -> None:
    X, Y = np.random.default_rng(0).normal(size=(2, 20, 4))
    with pytest.raises(DataError, match=r"those of 4 of 4 columns are not .*larger than 1e150"):
        fit_decoder(1e200 * X, Y, 2, 1.0)
    Y[:, 2] *= 1e200
    with pytest.raises(DataError, match=r"those of 1 of 4 columns are not \(first: column 2"):
        fit_decoder(X, Y, 2, 1.0)


@pytest.mark.parametrize("n", [40, 300])
def test_all_columns_constant_and_no_columns(n) -> None:
    X, Y = np.random.default_rng(0).normal(size=(2, n, 4))
    with pytest.raises(DataError, match=f"all 4 voxels are constant over {n} samples"):
        fit_decoder(np.full_like(X, 0.1), Y, 2, 1.0)
    with pytest.raises(DataError, match="all 0 voxels"):
        fit_decoder(X[:, :0], Y, 2, 1.0)
    assert fit_decoder(X, Y[:, :0], 2, 1.0).predict(X).shape == (n, 0)
    flat = fit_decoder(X, np.full_like(Y, 0.1), 2, 1.0)
    assert not flat.weight.any()
    np.testing.assert_allclose(flat.predict(X), 0.1, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_samples_are_enough_and_one_is_not(dtype) -> None:
    """Two samples: every voxel that varies correlates by 1 or -1, and the formula is that of one number."""
    X, Y = np.array([[1.0, 4.0], [3.0, 4.0]], dtype), np.array([[2.0], [8.0]], dtype)
    d = fit_decoder(X, Y, 5, 0.5)
    z = np.sqrt(0.5)
    assert d.voxel.tolist() == [[0]]
    np.testing.assert_allclose(d.weight, [[1 / 1.5]], rtol=1e-6)  # z'z = 1
    np.testing.assert_allclose(d.predict(X)[:, 0], 5 + np.array([-z, z]) / 1.5 * 6 * z, rtol=1e-6)
    for x, y, s in ((X[:1], Y[:1], None), (X, Y[:1], np.array([0, 0])), (X[:1], Y, np.array([1]))):
        with pytest.raises(DataError, match="at least two samples and two rows"):
            fit_decoder(x, y, 1, 1.0, stimulus=s)


@pytest.mark.parametrize("repeats", [1, 2])
def test_systems_that_fail_in_float32_are_solved_in_float64(repeats, caplog) -> None:
    """399 + 1e-6 is 399 in float32, so copies of a voxel make the system singular there; the weights are shared."""
    rng = np.random.default_rng(0)
    base = rng.choice([-1.0, 1.0], size=(300, 3))
    stimulus = np.repeat(np.arange(300), repeats)
    X = base[stimulus][:, np.arange(60) % 3].astype(np.float32)
    Y = (base @ rng.normal(size=(3, 5)) + rng.normal(size=(300, 5))).astype(np.float32)
    brain = stats.brain_statistics(X, stimulus)
    with caplog.at_level(logging.WARNING):
        fitted = decoder.fit_units(brain, Y, n_voxels=60, alpha=1e-6)
    assert fitted.n_redone == 5
    assert "5 of 5 units had to be solved again" in caplog.text
    Z = z_scored(X)[0]
    problem = Problem(X, Y, stimulus, 60, 1e-6, False, np.float32)
    scale, mean = Y.astype(float).std(axis=0, ddof=1), Y.astype(float).mean(axis=0)
    Z3 = Z[:, :3]  # 20 copies share a weight: 20 w with the penalty a twentieth
    targets = z_scored(Y)[0][stimulus]
    weight = np.linalg.solve(Z3.T @ Z3 + problem.alpha / 20 * np.eye(3), Z3.T @ targets)
    wanted = (Z3 @ weight + targets.mean(axis=0)) * scale + mean
    np.testing.assert_allclose(decoder.predict_units(Z.astype(np.float32), fitted), wanted, atol=1e-3 * scale.min())
    with pytest.raises(DataError, match="alpha=1e-20 is too small for data of type float32"):
        decoder.fit_units(brain, Y, n_voxels=60, alpha=1e-20)


def test_penalties_beyond_the_range_of_float32() -> None:
    rng = np.random.default_rng(0)
    shown = rng.permutation(np.repeat(np.arange(61), rng.integers(1, 4, 61)))
    X, Y = (rng.normal(size=(n, 20)).astype(np.float32) for n in (len(shown), 61))
    brain = stats.brain_statistics(X, shown)
    for alpha in (1e39, 1e300, np.full(20, 1e300)):
        assert np.abs(decoder.fit_units(brain, Y, n_voxels=10, alpha=alpha).weight).max() < 1e-30
    direct = stats.brain_statistics(X[:50])
    assert direct.gram is None
    assert np.abs(decoder.fit_units(direct, Y[:50], n_voxels=10, alpha=1e300).weight).max() < 1e-30
    free = decoder.fit_units(brain, Y, n_voxels=10, alpha=1e300)
    np.testing.assert_allclose(free.bias, brain.counts @ z_scored(Y)[0] / brain.n_samples, atol=1e-6)
