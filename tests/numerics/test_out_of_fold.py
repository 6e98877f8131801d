"""Out-of-fold predictions, against dense refits by hand, and on noise."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import out_of_fold
from hpc_recon.numerics.choice import choose_nested, deal_folds
from hpc_recon.numerics.decoder import fit_decoder
from hpc_recon.numerics.folds import make_folds, make_pairs
from hpc_recon.numerics.needs import SLACK_BYTES
from hpc_recon.numerics.out_of_fold import predict, predict_chosen


def simulated(n_stimuli, n_voxels, n_units, *, repeats=3, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, repeats + 1, n_stimuli) if repeats > 1 else 1
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), counts))
    latent = rng.normal(size=(n_stimuli, 6))
    Y = latent @ rng.normal(size=(6, n_units)) + rng.normal(size=(n_stimuli, n_units)) + 20 * rng.normal(size=n_units)
    X = latent[stimulus] @ rng.normal(size=(6, n_voxels)) + rng.normal(size=(len(stimulus), n_voxels)) + 50
    return X, Y, stimulus


def by_hand(X, Y, *, stimulus, dealt, k, alpha, penalize_bias):
    """`k` and `alpha` are functions of fold and unit; everything else as in the formula, unit by unit."""
    predicted = np.empty(Y.shape)
    for fold in range(dealt.max() + 1):
        kept, held, samples = dealt != fold, np.flatnonzero(dealt == fold), dealt[stimulus] != fold
        mean, scale = X[samples].mean(0), X[samples].std(0, ddof=1)
        Z = (X[samples] - mean) / scale
        Z_new = np.array([((X[stimulus == s] - mean) / scale).mean(0) for s in held])
        for j in range(Y.shape[1]):
            m, s = Y[kept, j].mean(), Y[kept, j].std(ddof=1)
            if s < 1e-12:
                predicted[held, j] = m
                continue
            t = ((Y[:, j] - m) / s)[stimulus[samples]]
            chosen = np.argsort(-np.abs(Z.T @ t), kind="stable")[: k(fold, j)]
            A = np.column_stack([Z[:, chosen], np.ones(len(Z))])
            penalty = np.diag([alpha(fold, j)] * len(chosen) + [alpha(fold, j) if penalize_bias else 0.0])
            w = np.linalg.solve(A.T @ A + penalty, A.T @ t)
            predicted[held, j] = (Z_new[:, chosen] @ w[:-1] + w[-1]) * s + m
    return predicted


@pytest.mark.parametrize("penalize_bias", [False, True])
def test_against_refitting_each_fold_by_hand(penalize_bias) -> None:
    X, Y, stimulus = simulated(40, 30, 6)
    Y[:, 2] = 3.3
    dealt = deal_folds(40, 4, seed=0)
    found = predict(
        make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt), Y,
        n_voxels=12, alpha=7.0, penalize_bias=penalize_bias,
    )  # fmt: skip
    expected = by_hand(
        X, Y, stimulus=stimulus, dealt=dealt, k=lambda *_: 12, alpha=lambda *_: 7.0, penalize_bias=penalize_bias
    )
    np.testing.assert_allclose(found.predictions, expected, atol=1e-9)
    np.testing.assert_allclose(found.residual_variance, ((Y - expected) ** 2).mean(0), atol=1e-9)
    centred = [np.concatenate([a[dealt == f] - a[dealt == f].mean(0) for f in range(4)]) for a in (Y, expected)]
    for j in range(6):
        if j != 2:
            product = (centred[0][:, j] * centred[1][:, j]).sum()
            norm = np.linalg.norm(centred[0][:, j]) * np.linalg.norm(centred[1][:, j])
            np.testing.assert_allclose(found.correlation[j], product / norm, atol=1e-9)
    assert found.correlation[2] == 0
    assert found.residual_variance[2] < 1e-20
    assert found.residual_variance.dtype == np.float64


def test_each_unit_with_its_own_penalty_equals_that_unit_alone() -> None:
    X, Y, stimulus = simulated(40, 30, 300)
    alpha = np.random.default_rng(0).choice([1.0, 10.0, 1000.0], 300)
    made = list(make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=deal_folds(40, 4, seed=0)))
    found = predict(made, Y, n_voxels=12, alpha=alpha)
    for value in (1.0, 10.0, 1000.0):
        alone = predict(made, Y, n_voxels=12, alpha=value)
        own = alpha == value
        for name in ("predictions", "residual_variance", "correlation"):
            a, b = (getattr(result, name)[..., own] for result in (found, alone))
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)  # float64; intercepts may differ in the last bit


@pytest.mark.parametrize("per", ["layer", "unit"])
def test_a_penalty_chosen_without_the_fold(per) -> None:
    X, Y, stimulus = simulated(40, 30, 6)
    dealt = deal_folds(40, 4, seed=0)
    options = {"n_stimuli": 40, "fold_of_stimulus": dealt}
    choices = choose_nested(
        make_pairs(X, stimulus, **options),
        Y,
        fold_of_stimulus=dealt,
        n_voxels=[5, 20],
        alphas=[0.1, 3.0, 100.0],
        per=per,
    )
    found = predict_chosen(make_folds(X, stimulus, **options), Y, settings=[choice.setting for choice in choices])
    expected = by_hand(
        X, Y, stimulus=stimulus, dealt=dealt, penalize_bias=False,
        k=lambda fold, _: choices[fold].n_voxels, alpha=lambda fold, j: np.broadcast_to(choices[fold].penalty, 6)[j],
    )  # fmt: skip
    np.testing.assert_allclose(found.predictions, expected, atol=1e-9)


def test_another_estimator_predicts_each_fold() -> None:
    """One that knows the means only."""
    X, Y, stimulus = simulated(40, 30, 6)
    dealt = deal_folds(40, 4, seed=0)

    def mean_of(fold, own, n_voxels, alpha):
        assert (n_voxels, alpha, len(own)) == (7, 2.0, len(fold.train_rows))
        return np.repeat(own.mean(axis=0)[None], len(fold.test_rows), axis=0)

    made = make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt)
    found = predict(made, Y, n_voxels=7, alpha=2, predict_fold=mean_of)
    np.testing.assert_allclose(found.predictions, [Y[dealt != dealt[i]].mean(0) for i in range(40)])
    assert not found.correlation.any()


def test_what_a_held_out_stimulus_is_has_no_influence_on_its_prediction() -> None:
    """Another truth for one stimulus changes predictions of all others' folds, and not its own."""
    X, Y, stimulus = simulated(40, 30, 20)
    other = Y.copy()
    other[5] += 10 * np.random.default_rng(0).normal(size=20)
    dealt = deal_folds(40, 4, seed=0)
    options = {"n_stimuli": 40, "fold_of_stimulus": dealt}
    results = []
    for truth in (Y, other):
        choices = choose_nested(
            make_pairs(X, stimulus, **options), truth, fold_of_stimulus=dealt, n_voxels=[5, 20], alphas=[1.0, 100.0],
            per="unit",
        )  # fmt: skip
        results.append(
            predict_chosen(
                make_folds(X, stimulus, **options), truth, settings=[choice.setting for choice in choices]
            ).predictions
        )
    same = dealt == dealt[5]
    np.testing.assert_array_equal(results[0][same], results[1][same])
    assert (results[0][~same] != results[1][~same]).all()


def noise():
    rng = np.random.default_rng(2)
    return rng.normal(size=(100, 10_000)).astype(np.float32), rng.normal(size=(100, 512)).astype(np.float32)


def test_pure_noise_is_not_predicted() -> None:
    """100 samples of 10,000 voxels: the mean correlation of 512 units has a standard error of .005."""
    X, Y = noise()
    folds = make_folds(X, np.arange(100), n_stimuli=100, fold_of_stimulus=deal_folds(100, 5, seed=0))
    found = predict(folds, Y, n_voxels=500, alpha=100.0)
    assert abs(found.correlation.mean()) < 0.02
    assert (found.residual_variance > 0.9 * Y.var(axis=0)).mean() > 0.9
    assert found.predictions.dtype == np.float32


def test_decoders_that_saw_the_stimuli_predict_noise() -> None:
    """What the test above would find if samples were predicted by decoders that were fitted with them."""
    X, Y = noise()
    predicted = fit_decoder(X, Y[:, :64], 500, 100.0).predict(X)
    correlation = [np.corrcoef(predicted[:, j], Y[:, j])[0, 1] for j in range(64)]
    assert np.mean(correlation) > 0.9


def test_bytes_do_not_depend_on_threads_or_on_how_many_units_there_are(monkeypatch) -> None:
    X, Y, stimulus = simulated(40, 30, 700)
    made = list(make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=deal_folds(40, 4, seed=0)))
    one, three = (predict(made, Y, n_voxels=12, alpha=7.0, n_threads=n) for n in (1, 3))
    monkeypatch.setattr(out_of_fold, "UNITS_AT_ONCE", 256)
    pieces = predict(made, Y, n_voxels=12, alpha=7.0)
    for other in (three, pieces):
        assert one.predictions.tobytes() == other.predictions.tobytes()
        assert one.correlation.tobytes() == other.correlation.tobytes()


def test_what_numpy_allocates_stays_below() -> None:
    X, Y, stimulus = simulated(80, 600, 700)
    made = list(
        make_folds(X.astype(np.float32), stimulus, n_stimuli=80, fold_of_stimulus=deal_folds(80, 4, seed=0))
    )  # fmt: skip
    Y = Y.astype(np.float32)
    predict(made, Y, n_voxels=60, alpha=10.0, n_threads=2)  # compiles what is compiled
    tracemalloc.start()
    try:
        predict(made, Y, n_voxels=60, alpha=10.0, n_threads=2)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sizes = {"n_stimuli": 80, "n_voxels": 600, "k": 60, "n_threads": 2}
    assert (
        used < out_of_fold.out_of_fold_bytes(700, n_test=20, **sizes) - 2 * SLACK_BYTES
    )  # of fitting and of predicting
    assert out_of_fold.out_of_fold_seconds(700, n_folds=4, **sizes) > 0


def test_unusable_input_is_refused() -> None:
    X, Y, stimulus = simulated(40, 10, 3)
    dealt = deal_folds(40, 4, seed=0)
    made = list(make_folds(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt))
    with pytest.raises(DataError, match=r"each of the 3 units, got shape \(4,\)"):
        predict(made, Y, n_voxels=5, alpha=np.ones(4))
    with pytest.raises(DataError, match="finite number above 0"):
        predict(made, Y, n_voxels=5, alpha=0.0)
    with pytest.raises(DataError, match=r"every row of Y once, but 10 of 40 are not"):
        predict(made[1:], Y, n_voxels=5, alpha=1.0)
    with pytest.raises(DataError, match="every row of Y once"):
        predict([*made, made[0]], Y, n_voxels=5, alpha=1.0)
    pairs = make_pairs(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt)
    choices = choose_nested(pairs, Y, fold_of_stimulus=dealt, n_voxels=[5], alphas=[1.0, 10.0])
    settings = [choice.setting for choice in choices]
    with pytest.raises(DataError, match="there are fewer"):
        predict_chosen(made, Y, settings=settings[:3])
    with pytest.raises(DataError, match="5 are more"):
        predict_chosen(made, Y, settings=[*settings, settings[0]])
    with pytest.raises(DataError, match="every row of Y 3 times"):
        choose_nested([], Y, fold_of_stimulus=dealt, n_voxels=[5], alphas=[1.0, 10.0])
