"""fit_decoder against the formula of FastL2LiR written with dense arrays, and its edges."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import decoder, stats
from hpc_recon.numerics.decoder import fit_decoder, fit_units, predict_units

# (n_stimuli, n_voxels): more samples than voxels, fewer, and fewer than DIRECT_SAMPLES or more.
SHAPES = {"N<D": (60, 150), "N>D": (120, 40), "N>D, Gram": (300, 40), "N<D, Gram": (280, 400)}
REPEATS = ["none", "balanced", "unbalanced"]


def simulated(n_stimuli, n_voxels, repeats, *, n_units=7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    counts = {
        "none": np.ones(n_stimuli, int),
        "balanced": np.full(n_stimuli, 3),
        "unbalanced": rng.integers(1, 5, n_stimuli),
    }[repeats]
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    signal = rng.normal(size=(n_stimuli, n_voxels))
    Y = signal @ rng.normal(size=(n_voxels, n_units)) * 3 + 20 * rng.normal(size=n_units)
    X = signal[stimulus] + rng.normal(size=(len(stimulus), n_voxels)) + 10 * rng.normal(size=n_voxels)
    return X.astype(dtype), Y.astype(dtype), stimulus


def fast_l2lir(X, Y, *, stimulus, k, alpha, penalize_bias, X_new):
    """FastL2LiR's formula, repeats expanded, one dense system with a column of ones a unit; float64."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    z = (X - X.mean(0)) / X.std(0, ddof=1)
    t = ((Y - Y.mean(0)) / Y.std(0, ddof=1))[stimulus]
    z_new = (X_new.astype(np.float64) - X.mean(0)) / X.std(0, ddof=1)
    voxel, weight, bias, predicted, correlations = [], [], [], [], []
    for j in range(Y.shape[1]):
        r = np.array([abs(np.corrcoef(z[:, v], t[:, j])[0, 1]) for v in range(X.shape[1])])
        chosen = np.sort(np.argsort(-r, kind="stable")[:k])
        A = np.column_stack([z[:, chosen], np.ones(len(z))])
        penalty = alpha * np.eye(len(chosen) + 1)
        if not penalize_bias:
            penalty[-1, -1] = 0
        solution = np.linalg.solve(A.T @ A + penalty, A.T @ t[:, j])
        voxel.append(chosen)
        weight.append(solution[:-1])
        bias.append(solution[-1])
        scale = Y[:, j].std(ddof=1)
        predicted.append((z_new[:, chosen] @ solution[:-1] + solution[-1]) * scale + Y[:, j].mean())
        correlations.append(r)
    return (np.array(voxel), np.array(weight), np.array(bias), np.array(predicted).T, np.array(correlations))


@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float64_equals_the_formula(shape, repeats, penalize_bias) -> None:
    X, Y, stimulus = simulated(*SHAPES[shape], repeats)
    X_new = X[:9] + 0.3
    options = {"alpha": 7.0, "penalize_bias": penalize_bias, "stimulus": stimulus}
    for k in (20, SHAPES[shape][1]):
        voxel, weight, bias, predicted, _ = fast_l2lir(X, Y, k=k, X_new=X_new, **options)
        d = fit_decoder(X, Y, n_voxels=k, **options)
        np.testing.assert_array_equal(d.voxel, voxel)
        np.testing.assert_allclose(d.weight, weight, rtol=0, atol=1e-10)
        np.testing.assert_allclose(d.bias, bias, rtol=0, atol=1e-10)
        np.testing.assert_allclose(d.predict(X_new), predicted, rtol=1e-10, atol=1e-9)
        assert d.weight.dtype == d.bias.dtype == d.predict(X_new).dtype == np.float64


@pytest.mark.parametrize("penalize_bias", [False, True])
@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_equals_the_formula_within_its_precision(shape, repeats, penalize_bias) -> None:
    """Specified: weights within 1e-4 in norm, predictions within 1e-4 of a unit's SD, sets up to ties of 1e-6."""
    X, Y, stimulus = simulated(*SHAPES[shape], repeats, dtype=np.float32)
    options = {"alpha": 20.0, "penalize_bias": penalize_bias, "stimulus": stimulus}
    k = 25
    voxel, weight, bias, predicted, r = fast_l2lir(X, Y, k=k, X_new=X[:9], **options)
    d = fit_decoder(X, Y, n_voxels=k, **options)
    assert d.weight.dtype == d.bias.dtype == d.predict(X[:9]).dtype == np.float32
    for j in range(Y.shape[1]):
        other = np.setxor1d(d.voxel[j], voxel[j])
        threshold = np.sort(r[j])[-k]
        assert np.abs(r[j, other] - threshold).max(initial=0) < 1e-6
        if not len(other):
            assert np.linalg.norm(d.weight[j] - weight[j]) < 1e-4 * np.linalg.norm(weight[j])
            assert np.abs(d.predict(X[:9])[:, j] - predicted[:, j]).max() < 1e-4 * Y[:, j].std(ddof=1)
    np.testing.assert_allclose(d.bias, bias, atol=1e-6)


def test_the_intercept_is_the_mean_over_samples_and_shrinks_if_penalised() -> None:
    X, Y, stimulus = simulated(30, 10, "unbalanced")
    z = (Y - Y.mean(0)) / Y.std(0, ddof=1)
    free = fit_decoder(X, Y, 5, 3.0, stimulus=stimulus)
    held = fit_decoder(X, Y, 5, 3.0, True, stimulus)
    np.testing.assert_allclose(free.bias, z[stimulus].mean(0), atol=1e-12)
    np.testing.assert_allclose(held.bias, z[stimulus].sum(0) / (len(stimulus) + 3.0), atol=1e-12)


def test_without_stimulus_each_sample_has_its_row() -> None:
    X, Y, stimulus = simulated(40, 30, "none")
    order = np.argsort(stimulus)
    a = fit_decoder(X, Y, 10, 5.0, stimulus=stimulus)
    b = fit_decoder(X[order], Y, 10, 5.0)
    np.testing.assert_array_equal(a.voxel, b.voxel)
    np.testing.assert_allclose(a.weight, b.weight, atol=1e-12)


def test_expanding_repeats_of_z_scored_units_changes_nothing() -> None:
    X, Y, stimulus = simulated(290, 20, "balanced")
    a = fit_decoder(X, Y, 8, 5.0, stimulus=stimulus)
    z = (Y - Y.mean(0)) / Y.std(0, ddof=1)
    b = fit_decoder(X, z[stimulus], 8, 5.0)
    np.testing.assert_array_equal(a.voxel, b.voxel)
    ratio = z[stimulus].std(0, ddof=1)
    np.testing.assert_allclose(a.weight, b.weight * ratio[:, None], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3.7e-8])
def test_constant_voxels_are_never_selected(value, dtype) -> None:
    X, Y, stimulus = simulated(40, 12, "balanced", dtype=dtype)
    X[:, [0, 5]] = value
    d = fit_decoder(X, Y, n_voxels=10, alpha=1.0, stimulus=stimulus)
    assert not np.isin(d.voxel, [0, 5]).any()
    assert np.isfinite(d.weight).all()
    assert np.isfinite(d.predict(X)).all()
    assert d.x_scale[0] == d.x_scale[5] == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_units_predict_their_mean(dtype) -> None:
    X, Y, stimulus = simulated(40, 12, "balanced", dtype=dtype)
    Y[:, 2] = 0.1
    Y[:, 3] = 0.0
    d = fit_decoder(X, Y, n_voxels=5, alpha=1.0, stimulus=stimulus)
    assert not d.weight[2:4].any()
    assert not d.y_scale[2:4].any()
    np.testing.assert_array_equal(d.predict(X)[:, 2], dtype(0.1))
    np.testing.assert_array_equal(d.predict(X)[:, 3], dtype(0))


def test_more_voxels_than_usable_uses_all_and_says_so(caplog) -> None:
    X, Y, stimulus = simulated(40, 12, "none")
    X[:, 3] = 5.0
    with caplog.at_level(logging.WARNING):
        d = fit_decoder(X, Y, n_voxels=500, alpha=1.0, stimulus=stimulus)
    assert d.voxel.tolist() == [[v for v in range(12) if v != 3]] * Y.shape[1]
    assert "500 voxels a unit were asked for, but 11 of 12 are usable" in d.warnings[0]
    assert d.warnings[0] in caplog.text
    assert not fit_decoder(X, Y, n_voxels=11, alpha=1.0, stimulus=stimulus).warnings


def test_of_equal_correlations_the_lower_voxel_number_wins() -> None:
    X, Y, stimulus = simulated(40, 4, "none")
    X = np.column_stack([X[:, 3], X, X[:, 3], -X[:, 3]])  # voxels 0, 4, 5, 6 correlate equally
    Y = X[np.argsort(stimulus)][:, [4]] * 2 + 1
    assert fit_decoder(X, Y, n_voxels=2, alpha=1.0, stimulus=stimulus).voxel.tolist() == [[0, 4]]
    assert fit_decoder(X, Y, n_voxels=3, alpha=1.0, stimulus=stimulus).voxel.tolist() == [[0, 4, 5]]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n_stimuli=st.integers(6, 40), n_voxels=st.integers(2, 30), k=st.integers(1, 30))
def test_permuting_samples_voxels_and_units_permutes_the_result(seed, n_stimuli, n_voxels, k) -> None:
    X, Y, stimulus = simulated(n_stimuli, n_voxels, "unbalanced", n_units=4, seed=seed)
    rng = np.random.default_rng(seed)
    k = min(k, n_voxels)
    samples, voxels, units = (rng.permutation(n) for n in (len(X), n_voxels, 4))
    rows = rng.permutation(n_stimuli)
    row_of = np.argsort(rows)
    a = fit_decoder(X, Y, k, 2.0, stimulus=stimulus)
    b = fit_decoder(X[samples][:, voxels], Y[rows][:, units], k, 2.0, stimulus=row_of[stimulus[samples]])
    for j in range(4):
        dense_a, dense_b = np.zeros(n_voxels), np.zeros(n_voxels)
        dense_a[a.voxel[units[j]]] = a.weight[units[j]]
        dense_b[voxels[b.voxel[j]]] = b.weight[j]
        np.testing.assert_allclose(dense_a, dense_b, atol=1e-9)
    np.testing.assert_allclose(a.predict(X)[:, units], b.predict(X[:, voxels]), rtol=1e-9, atol=1e-7)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), gain=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_units_of_measurement_do_not_matter(seed, gain, shift) -> None:
    X, Y, stimulus = simulated(20, 15, "balanced", n_units=3, seed=seed)
    a = fit_decoder(X, Y, 6, 2.0, stimulus=stimulus)
    b = fit_decoder(gain * X + shift, gain * Y + shift, 6, 2.0, stimulus=stimulus)
    np.testing.assert_array_equal(a.voxel, b.voxel)
    np.testing.assert_allclose(a.weight, b.weight, atol=1e-8)
    np.testing.assert_allclose(gain * a.predict(X) + shift, b.predict(gain * X + shift), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("repeats", ["none", "balanced"])
def test_bytes_do_not_depend_on_threads_or_position(repeats) -> None:
    X, Y, stimulus = simulated(100, 90, repeats, n_units=2 * decoder.UNIT_BLOCK + 30, dtype=np.float32)
    one, three = (stats.brain_statistics(X, stimulus, n_threads=n) for n in (1, 3))
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(three, field.name)
        assert (a is None and b is None) or np.array_equal(a, b)
    whole = fit_units(one, Y, n_voxels=30, alpha=10.0, n_threads=1)
    threaded = fit_units(one, Y, n_voxels=30, alpha=10.0, n_threads=3)
    part = fit_units(one, Y[:, 37:341], n_voxels=30, alpha=10.0, n_threads=2)
    for name in ("voxel", "weight", "bias", "y_mean", "y_scale"):
        assert getattr(whole, name).tobytes() == getattr(threaded, name).tobytes()
        assert getattr(whole, name)[37:341].tobytes() == getattr(part, name).tobytes()
    Z = np.ascontiguousarray(X[:5])
    assert predict_units(Z, whole, n_threads=1).tobytes() == predict_units(Z, whole, n_threads=3).tobytes()


def test_inputs_are_not_changed() -> None:
    X, Y, stimulus = simulated(30, 20, "balanced", dtype=np.float32)
    copies = X.copy(), Y.copy(), stimulus.copy()
    for array in (X, Y, stimulus):
        array.setflags(write=False)
    fit_decoder(X, Y, 7, 2.0, stimulus=stimulus).predict(X)
    for array, copy in zip((X, Y, stimulus), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_unused_slots_are_ignored_in_prediction() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(4, 6)).astype(np.float32)
    voxel = np.array([[0, 3, 65535], [1, 65535, 65535]], np.uint16)
    weight = np.array([[2.0, -1.0, 0.0], [0.5, 0.0, 0.0]], np.float32)
    units = decoder.UnitDecoders(voxel, weight, np.zeros(2, np.float32), np.array([1.0, 2.0]), np.array([3.0, 4.0]), 0)
    expected = np.column_stack([(2 * Z[:, 0] - Z[:, 3]) * 3 + 1, Z[:, 1] * 0.5 * 4 + 2])
    np.testing.assert_allclose(predict_units(Z, units), expected, rtol=1e-5)


def test_a_penalty_too_small_for_float32_is_redone_in_float64_and_counted(caplog) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 3))
    X = base[:, np.arange(60) % 3].astype(np.float32)  # 20 copies of each voxel: 399 + 1e-6 is 399 in float32
    brain = stats.brain_statistics(X)
    with caplog.at_level(logging.WARNING):
        fitted = fit_units(brain, X[:, :4] + 0.0, n_voxels=60, alpha=1e-6)
    assert fitted.n_redone == 4
    assert "again in float64" in caplog.text
    assert np.isfinite(fitted.weight).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((6, 3), np.nan)}, "X must be finite, but has 18 values.*sample 0, voxel 0"),
        ({"Y": np.r_[np.ones((5, 2)), [[1, np.inf]]]}, "Y must be finite, but has 1 values.*row 5, unit 1"),
        ({"Y": np.ones((5, 2))}, "5 rows for 6 samples"),
        ({"X": np.ones((6, 3))}, "all 3 voxels are constant"),
        ({"X": np.ones(6)}, "X must be a matrix"),
        ({"Y": np.ones((6, 2), complex)}, "Y must be a matrix of real numbers"),
        ({"X": np.ones((1, 3)), "Y": np.ones((1, 3))}, "at least two samples"),
        ({"n_voxels": 0}, "n_voxels must be"),
        ({"alpha": 0.0}, "alpha must be"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"stimulus": np.arange(6.0)}, "one whole number for each of the 6 samples"),
        ({"stimulus": np.arange(1, 7)}, "ranges from 1 to 6"),
        ({"stimulus": np.arange(-1, 5)}, "ranges from -1 to 4"),
        ({"stimulus": np.arange(5)}, "one whole number"),
    ],
)
def test_bad_input_is_refused(change, message) -> None:
    rng = np.random.default_rng(0)
    good = {"X": rng.normal(size=(6, 3)), "Y": rng.normal(size=(6, 2)), "n_voxels": 2, "alpha": 1.0}
    with pytest.raises(DataError, match=message):
        fit_decoder(**{**good, **change})


def test_prediction_checks_its_input() -> None:
    rng = np.random.default_rng(0)
    d = fit_decoder(rng.normal(size=(8, 3)), rng.normal(size=(8, 2)), 2, 1.0)
    with pytest.raises(DataError, match="got 4 instead of 3"):
        d.predict(np.zeros((2, 4)))
    with pytest.raises(DataError, match="X must be finite"):
        d.predict(np.full((2, 3), np.nan))


def test_integers_and_half_precision_become_float32() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 100, (20, 5)), rng.normal(size=(20, 3)).astype(np.float16)
    d = fit_decoder(X, Y, 2, 1.0)
    same = fit_decoder(X.astype(np.float32), Y.astype(np.float32), 2, 1.0)
    assert d.weight.dtype == np.float32
    np.testing.assert_array_equal(d.weight, same.weight)
