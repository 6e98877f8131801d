"""fit_units of ARD against the published iterations written with the samples themselves, and its edges."""

from __future__ import annotations

import dataclasses
import logging
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hpc_recon.core.errors import StudyError
from hpc_recon.numerics import ard, ard_kernel, decoder
from hpc_recon.numerics.ard import ArdOptions, fit_units
from hpc_recon.numerics.decoder import predict_units
from hpc_recon.numerics.stats import brain_statistics

REPEATS = ["none", "balanced", "unbalanced"]
#: (n_stimuli, n_voxels, k): more samples than unknowns; fewer, at the start at least (30 to 90 samples, 96 unknowns).
SHAPES = {"T>D": (90, 60, 30), "T<D": (30, 150, 95)}
UPDATES = ["geometric", "mackay", "geometric_then_mackay"]


@pytest.fixture(autouse=True)
def one_blas_thread():
    """The matrices are small: BLAS threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


def simulated(n_stimuli, n_voxels, repeats, *, n_units=3, seed=0, dtype=np.float64, n_signal=6):
    """A few latent numbers of each stimulus, read out by a fifth of the voxels each; units are sparse sums of them."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_stimuli, n_signal))
    counts = {
        "none": np.ones(n_stimuli, int),
        "balanced": np.full(n_stimuli, 3),
        "unbalanced": np.where(latent[:, 0] > 0, 4, 1),  # so that the mean over samples is not that over stimuli
    }[repeats]
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    readout = rng.normal(size=(n_signal, n_voxels)) * (rng.random((n_signal, n_voxels)) < 0.2)
    X = latent[stimulus] @ readout + rng.normal(size=(len(stimulus), n_voxels)) + 10 * rng.normal(size=n_voxels)
    Y = latent @ rng.normal(size=(n_signal, n_units)) + rng.normal(size=(n_stimuli, n_units)) + 5.0
    return X.astype(dtype), Y.astype(dtype), stimulus


def published(X, y, options):
    """The published iterations for one unit: X (T, D) with the constant column, y (T,), both branches, no shortcuts.

    Returns the weights, and the smallest distance of any log10(size / largest size) to the threshold of pruning.
    """
    T, D = X.shape
    used, a = np.arange(D), np.full(D, 1 / np.mean(X**2))
    noise0, margin = np.mean(y**2), np.inf
    for iteration in range(1, options.iterations + 1):
        x = X[:, used]
        xy = x.T @ y
        if len(used) > T:
            C = (x * a) @ x.T + np.eye(T)
            xc = np.linalg.solve(C, x).T  # (D, T): X' C^-1
            w = a * xy - (xy * a) @ xc @ (x * a)
            g = a * (x.T * xc).sum(axis=1)
        else:
            inverse = np.linalg.inv(x.T @ x + np.diag(1 / a))
            w = inverse @ xy
            g = np.diag(x.T @ x @ inverse)
        noise = (y @ y - w @ xy) / T
        if noise / noise0 < 1e-15:
            noise = max((((y - x @ w) ** 2).sum() + (w**2 / a).sum()) / T, 1e-15)
        old, fixed_point = a, w**2 / (noise * np.maximum(g, 1e-15))
        switch = {"geometric": options.iterations, "mackay": 0}.get(options.update, options.switch_after)
        a = np.sqrt(old * fixed_point) if iteration <= switch else fixed_point
        size = w**2 if options.prune_by == "weight" else a
        keep = size / size.max() > options.prune_threshold
        with np.errstate(divide="ignore"):
            margin = min(margin, np.abs(np.log10(size / size.max()) - np.log10(options.prune_threshold)).min())
        change = np.abs(a - old).max()
        used, a, w = used[keep], a[keep], w[keep]
        if iteration > options.converge_after and keep.all() and change < options.tolerance:
            break
    weight = np.zeros(D)
    weight[used] = w
    return weight, margin


def expected(X, Y, *, stimulus, k, options):
    """Select and fit unit by unit in float64, repeats expanded; voxel numbers, weights, biases, smallest margin."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    z = (X - X.mean(0)) / X.std(0, ddof=1)
    t = ((Y - Y.mean(0)) / Y.std(0, ddof=1))[stimulus]
    voxel, weight, margins = [], [], []
    for j in range(Y.shape[1]):
        r = np.abs([np.corrcoef(z[:, v], t[:, j])[0, 1] for v in range(z.shape[1])])
        chosen = np.sort(np.argsort(-r, kind="stable")[:k])
        w, margin = published(np.column_stack([z[:, chosen], np.ones(len(z))]), t[:, j], options)
        voxel.append(chosen)
        weight.append(w)
        margins.append(margin)
    weight = np.array(weight)
    return np.array(voxel), weight[:, :-1], weight[:, -1], min(margins)


def difference(actual, wanted):
    """The largest difference relative to each unit's largest weight."""
    return (np.abs(actual - wanted).max(axis=-1) / np.abs(wanted).max(axis=-1)).max()


@pytest.mark.parametrize("prune_by", ["variance", "weight"])
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float64_equals_the_published_iterations(shape, repeats, update, prune_by) -> None:
    """Specified: 1e-8 of the unit's largest weight after 200 iterations, and the same voxels pruned.

    A size within rounding of the threshold could be pruned an iteration earlier here than there; `margin` says that
    none of these came so near.
    """
    n_stimuli, n_voxels, k = SHAPES[shape]
    X, Y, stimulus = simulated(n_stimuli, n_voxels, repeats)
    options = ArdOptions(update=update, prune_by=prune_by, switch_after=30)
    voxel, weight, bias, margin = expected(X, Y, stimulus=stimulus, k=k, options=options)
    assert margin > 1e-6
    assert 0.1 < (weight == 0).mean() < 0.9
    assert bias.any() == (repeats == "unbalanced")
    fitted = fit_units(brain_statistics(X, stimulus), Y, n_voxels=k, options=options)
    np.testing.assert_array_equal(fitted.voxel, voxel)
    np.testing.assert_array_equal(fitted.weight == 0, weight == 0)
    assert difference(fitted.weight, weight) < 1e-8
    np.testing.assert_allclose(fitted.bias, bias, atol=1e-8)
    assert fitted.weight.dtype == fitted.bias.dtype == np.float64
    assert fitted.n_redone == 0


@pytest.mark.parametrize("update", UPDATES)
def test_units_stop_when_they_have_converged(update) -> None:
    X, Y, stimulus = simulated(60, 30, "balanced")
    brain = brain_statistics(X, stimulus)
    short = ArdOptions(update=update, switch_after=8, converge_after=10, tolerance=2e-4, prune_threshold=1e-4)
    _, weight, _, _ = expected(X, Y, stimulus=stimulus, k=20, options=short)
    fitted = fit_units(brain, Y, n_voxels=20, options=short)
    assert difference(fitted.weight, weight) < 1e-8
    never = dataclasses.replace(short, tolerance=0.0)
    assert difference(fit_units(brain, Y, n_voxels=20, options=never).weight, weight) > 1e-6  # so all had stopped


@pytest.mark.parametrize("iterations", [1, 2, 20])
@pytest.mark.parametrize("update", UPDATES)
def test_few_iterations(iterations, update) -> None:
    X, Y, stimulus = simulated(60, 30, "unbalanced")
    options = ArdOptions(iterations=iterations, update=update, switch_after=1)
    _, weight, bias, _ = expected(X, Y, stimulus=stimulus, k=20, options=options)
    fitted = fit_units(brain_statistics(X, stimulus), Y, n_voxels=20, options=options)
    assert difference(fitted.weight, weight) < 1e-11
    np.testing.assert_allclose(fitted.bias, bias, atol=1e-12)


@pytest.mark.parametrize("prune_by", ["variance", "weight"])
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_batches_of_a_device_give_the_same(shape, update, prune_by, monkeypatch) -> None:
    """The path of cupy, run by numpy: three units in step, masks, factors by matrix products."""
    n_stimuli, n_voxels, k = SHAPES[shape]
    X, Y, stimulus = simulated(n_stimuli, n_voxels, "unbalanced", n_units=7)
    Y[:, 4] = 2.0
    options = ArdOptions(update=update, prune_by=prune_by, switch_after=30, tolerance=1e-6)
    brain = brain_statistics(X, stimulus)
    one = fit_units(brain, Y, n_voxels=k, options=options)
    calls, factorise = [], ard_kernel.factor_and_invert

    def counted(A, V):
        calls.append(A.shape)
        return factorise(A, V)

    monkeypatch.setattr(ard, "_in_step", lambda xp: True)
    monkeypatch.setattr(ard, "_DEVICE_NUMBERS", 3 * k * k)
    monkeypatch.setattr(ard_kernel, "factor_and_invert", counted)
    many = fit_units(brain, Y, n_voxels=k, options=options)
    assert {shape[0] for shape in calls} >= {3}
    assert min(shape[1] for shape in calls) < k
    np.testing.assert_array_equal(many.weight == 0, one.weight == 0)
    np.testing.assert_allclose(many.weight, one.weight, atol=1e-9 * np.abs(one.weight).max())
    np.testing.assert_allclose(many.bias, one.bias, atol=1e-10)


def test_units_that_voxels_explain_without_noise_stay_finite() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 30))
    Y = X[:, :4] @ rng.normal(size=(4, 3)) + 7.0
    for update in UPDATES:
        fitted = fit_units(brain_statistics(X), Y, n_voxels=30, options=ArdOptions(update=update, switch_after=20))
        Z = (X - X.mean(0)) / X.std(0, ddof=1)
        np.testing.assert_allclose(predict_units(Z, fitted), Y, atol=1e-5)
        assert not fitted.weight[:, 4:].round(5).any()


@pytest.mark.parametrize("repeats", ["none", "balanced"])
def test_float32_is_close_to_float64(repeats) -> None:
    """2e-5 of the largest weight: what rounding X and Y to float32 before the z-scoring leaves (measured: 4e-6)."""
    X, Y, stimulus = simulated(150, 60, repeats)
    options = ArdOptions(iterations=60)
    exact = fit_units(brain_statistics(X, stimulus), Y, n_voxels=30, options=options)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    fitted = fit_units(brain_statistics(X, stimulus), Y, n_voxels=30, options=options)
    assert fitted.weight.dtype == fitted.bias.dtype == np.float32
    np.testing.assert_array_equal(fitted.voxel, exact.voxel)
    assert difference(fitted.weight, exact.weight) < 2e-5


def test_few_float32_samples_are_multiplied_in_float64() -> None:
    """300 samples are too many for the direct form of the statistics, and fewer than three a voxel."""
    X, Y, stimulus = simulated(300, 160, "none", dtype=np.float32)
    brain = brain_statistics(X, stimulus)
    assert brain.gram is not None
    without = dataclasses.replace(brain, gram=np.full_like(brain.gram, np.nan))
    options = ArdOptions(iterations=5)
    fitted = fit_units(without, Y, n_voxels=120, options=options)
    np.testing.assert_allclose(fitted.weight, fit_units(brain, Y, n_voxels=120, options=options).weight)
    assert fitted.weight.any(axis=1).all()


@pytest.mark.parametrize("repeats", ["none", "balanced"])
def test_bytes_do_not_depend_on_threads_or_position(repeats) -> None:
    X, Y, stimulus = simulated(60, 40, repeats, n_units=decoder.UNIT_BLOCK + 40, dtype=np.float32)
    brain, options = brain_statistics(X, stimulus), ArdOptions(iterations=12)
    one = fit_units(brain, Y, n_voxels=15, options=options, n_threads=1)
    three = fit_units(brain, Y, n_voxels=15, options=options, n_threads=3)
    part = fit_units(brain, Y[:, 37:281], n_voxels=15, options=options, n_threads=2)
    for name in ("voxel", "weight", "bias", "y_mean", "y_scale"):
        assert getattr(one, name).tobytes() == getattr(three, name).tobytes()
        assert getattr(one, name)[37:281].tobytes() == getattr(part, name).tobytes()


def test_constant_units_and_voxels() -> None:
    X, Y, stimulus = simulated(40, 20, "balanced")
    X[:, [0, 5]] = 3.0
    Y[:, 1] = 0.1
    fitted = fit_units(brain_statistics(X, stimulus), Y, n_voxels=50)
    assert fitted.voxel.tolist() == [[v for v in range(20) if v not in (0, 5)]] * 3
    assert not fitted.weight[1].any()
    assert fitted.bias[1] == fitted.y_scale[1] == 0
    assert fitted.weight[[0, 2]].any(axis=1).all()
    only = fit_units(brain_statistics(X, stimulus), Y[:, [1]], n_voxels=5)
    assert not only.weight.any()


def test_a_unit_that_nothing_predicts_is_all_zero() -> None:
    """Targets orthogonal to every voxel: all weights and variances become 0, which is no failure."""
    X = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]] * 5)
    y = X[:, :1] * X[:, 1:]
    fitted = fit_units(brain_statistics(X), y, n_voxels=2)
    assert not fitted.weight.any()
    assert not fitted.bias.any()


@pytest.mark.parametrize("update", UPDATES)
def test_weak_units_fade_without_failing(update, caplog) -> None:
    """The variances of noise may fall by hundreds of orders of magnitude in 2,000 iterations."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(80, 4)), rng.normal(size=(80, 30))
    with caplog.at_level(logging.WARNING):
        fitted = fit_units(brain_statistics(X), Y, n_voxels=4, options=ArdOptions(iterations=2000, update=update))
    assert np.isfinite(fitted.weight).all()
    assert not caplog.records


def test_units_that_fail_are_zero_and_counted(caplog) -> None:
    """A Gram matrix with an infinite entry for one pair of voxels fails the units that read both, and no other."""
    X, Y, stimulus = simulated(60, 12, "balanced", n_units=8)
    brain = brain_statistics(X, stimulus)
    good = fit_units(brain, Y, n_voxels=6)
    damaged = brain.gram.copy()
    pair = set(good.voxel[0, [0, -1]].tolist())
    damaged[tuple(pair)] = damaged[tuple(pair)[::-1]] = np.inf
    both = np.array([pair <= set(chosen) for chosen in good.voxel.tolist()])
    assert 0 < both.sum() < 8
    with caplog.at_level(logging.WARNING):
        fitted = fit_units(dataclasses.replace(brain, gram=damaged), Y, n_voxels=6)
    assert f"{both.sum()} of 8 units could not be regressed" in caplog.text
    assert not fitted.weight[both].any()
    assert not fitted.bias[both].any()
    np.testing.assert_array_equal(fitted.weight[~both], good.weight[~both])


def test_a_matrix_that_is_not_positive_definite_fails_its_unit(caplog) -> None:
    X, Y, stimulus = simulated(60, 12, "balanced")
    brain = brain_statistics(X, stimulus)
    with caplog.at_level(logging.WARNING):
        fitted = fit_units(dataclasses.replace(brain, gram=-brain.gram), Y, n_voxels=6)
    assert "3 of 3 units could not be regressed" in caplog.text
    assert not fitted.weight.any()


def test_inputs_are_not_changed() -> None:
    X, Y, stimulus = simulated(30, 20, "balanced", dtype=np.float32)
    brain = brain_statistics(X, stimulus)
    arrays = [Y, *(a for a in vars(brain).values() if isinstance(a, np.ndarray))]
    copies = [a.copy() for a in arrays]
    for array in arrays:
        array.setflags(write=False)
    fit_units(brain, Y, n_voxels=7)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_it_finds_the_voxels_that_carry_the_unit() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 50))
    Y = X[:, [3, 17, 40]] @ np.array([[2.0], [-1.0], [1.5]]) + rng.normal(size=(400, 1))
    fitted = fit_units(brain_statistics(X), Y, n_voxels=50, options=ArdOptions(update="mackay"))
    largest = fitted.voxel[0][np.argsort(-np.abs(fitted.weight[0]))[:3]]
    assert sorted(largest.tolist()) == [3, 17, 40]
    assert (fitted.weight[0] == 0).sum() > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations must be a whole number of at least 1, got 0"),
        ({"iterations": 2.5}, "got 2.5"),
        ({"switch_after": -1}, "switch_after must be a whole number of at least 0"),
        ({"converge_after": True}, "converge_after must be"),
        ({"update": "newton"}, "update must be one of geometric, mackay, geometric_then_mackay, got 'newton'"),
        ({"prune_by": "size"}, "prune_by must be one of variance, weight"),
        ({"prune_threshold": 1.0}, "prune_threshold must be at least 0 and below 1"),
        ({"prune_threshold": float("nan")}, "prune_threshold must be"),
        ({"tolerance": -1.0}, "tolerance must be a finite number"),
        ({"iterations": 0, "tolerance": float("inf")}, "2 mistakes"),
    ],
)
def test_wrong_options_are_refused(change, message) -> None:
    with pytest.raises(StudyError, match=message):
        ArdOptions(**change)


@pytest.mark.parametrize(("n_stimuli", "repeats"), [(1190, "none"), (200, "balanced")])
def test_memory_is_projected(n_stimuli, repeats) -> None:
    """The matrices of one thread: the samples, just below three a voxel, and the Gram matrix."""
    X, Y, stimulus = simulated(n_stimuli, 410, repeats, n_units=2, dtype=np.float32)
    brain, options = brain_statistics(X, stimulus), ArdOptions(iterations=25)
    fit_units(brain, Y, n_voxels=400, options=ArdOptions(iterations=1))
    tracemalloc.start()
    try:
        fit_units(brain, Y, n_voxels=400, options=options, n_threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.4 * ard.ard_bytes(400, 1) < peak < ard.ard_bytes(400, 1)


def test_seconds_grow_with_size_and_iterations() -> None:
    assert ard.ard_seconds(500, 2000) > 9 * ard.ard_seconds(500, 200) > 0
    assert ard.ard_seconds(1000, 200) > 4 * ard.ard_seconds(500, 200)
