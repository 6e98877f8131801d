from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics.choice import choose, deal_folds


def cross_validated(X, Y, *, stimulus, folds, k, alpha):
    """Everything again inside each fold, written with dense arrays, one unit at a time."""
    errors = total = 0.0
    correlations = []
    for fold in np.unique(folds):
        kept = np.flatnonzero(folds != fold)
        samples = folds[stimulus] != fold
        mean, scale = X[samples].mean(0), X[samples].std(0, ddof=1)
        Z = (X[samples] - mean) / scale
        held = np.flatnonzero(folds == fold)
        Z_new = np.array([(X[stimulus == s].mean(0) - mean) / scale for s in held])
        for j in range(Y.shape[1]):
            m, s = Y[kept, j].mean(), Y[kept, j].std(ddof=1)
            t = ((Y[:, j] - m) / s)[stimulus[samples]]
            chosen = np.argsort(-np.abs([np.corrcoef(z, t)[0, 1] for z in Z.T]), kind="stable")[:k]
            A = np.column_stack([Z[:, chosen], np.ones(len(Z))])
            penalty = np.diag([alpha] * len(chosen) + [0.0])
            w = np.linalg.solve(A.T @ A + penalty, A.T @ t)
            p, truth = Z_new[:, chosen] @ w[:-1] + w[-1], (Y[held, j] - m) / s
            weight = (s / Y[:, j].std(ddof=1)) ** 2
            errors += weight * ((p - truth) ** 2).sum()
            total += weight * (truth**2).sum()
            correlations.append(np.corrcoef(p, truth)[0, 1])
    return 1 - errors / total, np.mean(correlations)


def simulated(n_stimuli, n_voxels, n_units, *, repeats=1, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_stimuli, 8))
    stimulus = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    Y = latent @ rng.normal(size=(8, n_units)) + 3
    X = signal * latent[stimulus] @ rng.normal(size=(8, n_voxels)) + 2 * rng.normal(size=(len(stimulus), n_voxels))
    return X, Y, stimulus


@pytest.mark.parametrize("repeats", [1, 2])
def test_every_score_of_the_table_against_refitting_by_hand(repeats) -> None:
    X, Y, stimulus = simulated(24, 30, 4, repeats=repeats)
    choice = choose(X, Y, stimulus=stimulus, n_voxels=[25, 5], alphas=[3.0, 100.0, 10.0], n_folds=4, seed=3)
    folds = deal_folds(24, 4, seed=3)
    assert choice.n_voxels_grid == (5, 25)
    assert choice.alpha_grid == (3.0, 10.0, 100.0)
    for i, k in enumerate(choice.n_voxels_grid):
        for j, alpha in enumerate(choice.alpha_grid):
            explained, correlation = cross_validated(X, Y, stimulus=stimulus, folds=folds, k=k, alpha=alpha)
            np.testing.assert_allclose(choice.explained_variance[i, j], explained, atol=1e-9)
            np.testing.assert_allclose(choice.correlation[i, j], correlation, atol=1e-9)
    best = np.unravel_index(choice.explained_variance.argmax(), choice.explained_variance.shape)
    assert (choice.n_voxels, choice.alpha) == (choice.n_voxels_grid[best[0]], choice.alpha_grid[best[1]])


def test_pure_noise_scores_nothing() -> None:
    """100 stimuli x 3,000 voxels of noise: selection outside the folds would score .9 here.

    The mean over 400 independent units and 5 folds of 20 stimuli has a standard error of about .005.
    """
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(100, 3000)).astype(np.float32), rng.normal(size=(100, 400)).astype(np.float32)
    choice = choose(X, Y, stimulus=np.arange(100), n_voxels=[100], alphas=[10.0, 1000.0], n_folds=5, seed=0)
    assert np.abs(choice.correlation).max() < 0.02
    assert (choice.explained_variance < 0).all()
    assert any("better than their mean" in note for note in choice.warnings)


def test_a_sensible_penalty_is_recovered() -> None:
    """Of unit weights and noise sd s on orthogonal voxels the best penalty is about s^2 / w^2 = 25."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 40))
    Y = X @ rng.normal(size=(40, 60)) + 5 * rng.normal(size=(200, 60))
    choice = choose(
        X, Y, stimulus=np.arange(200), n_voxels=[40], alphas=[0.01, 1.0, 5.0, 25.0, 125.0, 5e3, 1e5], n_folds=5, seed=0
    )
    assert choice.alpha in (5.0, 25.0, 125.0)
    assert choice.warnings == ()


def test_repeats_of_a_stimulus_never_stand_on_both_sides() -> None:
    """Each stimulus has its own random pattern: nothing generalises, but a leaked repeat would score near 1."""
    rng = np.random.default_rng(0)
    stimulus = np.repeat(np.arange(60), 4)
    X = rng.normal(size=(60, 200))[stimulus] + 0.01 * rng.normal(size=(240, 200))
    Y = rng.normal(size=(60, 200))
    choice = choose(X, Y, stimulus=stimulus, n_voxels=[100], alphas=[1.0], n_folds=5, seed=0)
    assert abs(choice.correlation[0, 0]) < 0.05


def test_a_choice_at_the_edge_says_so() -> None:
    X, Y, stimulus = simulated(40, 30, 5)
    choice = choose(X, Y, stimulus=stimulus, n_voxels=[10], alphas=[1e4, 1e5, 1e6], n_folds=4, seed=0)
    assert choice.alpha == 1e4
    assert "the chosen alpha 10000 is the smallest of its grid of 3" in choice.warnings[0]


def test_bytes_do_not_depend_on_threads() -> None:
    X, Y, stimulus = simulated(40, 30, 600)
    one, three = (
        choose(X, Y, stimulus=stimulus, n_voxels=[5, 20], alphas=[1, 10], n_folds=3, seed=0, n_threads=n)
        for n in (1, 3)
    )
    assert one.explained_variance.tobytes() == three.explained_variance.tobytes()
    assert one.correlation.tobytes() == three.correlation.tobytes()


def test_a_unit_that_hardly_varies_in_training_does_not_outweigh_the_others() -> None:
    """One stimulus lights a pixel that is otherwise dark: with it held out, it stands 1,000 SD from the mean."""
    X, Y, stimulus = simulated(40, 30, 5)
    rare = 1e-3 * np.random.default_rng(0).normal(size=40)
    rare[7] = 1.0
    a, b = (
        choose(X, y, stimulus=stimulus, n_voxels=[10, 20], alphas=[1, 10], n_folds=4, seed=0)
        for y in (Y, np.column_stack([Y, rare]))
    )
    assert (b.explained_variance > a.explained_variance / 2).all()  # and not nearly 0


def test_constant_units_do_not_count() -> None:
    X, Y, stimulus = simulated(40, 30, 5)
    with_constant = np.column_stack([Y, np.full(40, 2.0)])
    a, b = (
        choose(X, y, stimulus=stimulus, n_voxels=[10], alphas=[1, 10], n_folds=4, seed=0) for y in (Y, with_constant)
    )
    np.testing.assert_allclose(a.explained_variance, b.explained_variance, atol=1e-12)
    assert a.n_units == b.n_units == 5


def test_the_table_is_plain_json() -> None:
    X, Y, stimulus = simulated(20, 10, 3)
    choice = choose(X, Y, stimulus=stimulus, n_voxels=[5, 8], alphas=[1.0, 10.0], n_folds=2, seed=0)
    content = json.loads(json.dumps(choice.as_dict()))
    assert len(content["table"]) == 4
    assert (content["n_voxels"], content["alpha"]) == (choice.n_voxels, choice.alpha)


def test_unusable_input_is_refused() -> None:
    X, Y, stimulus = simulated(20, 10, 3)
    options = {"n_voxels": [5], "alphas": [1.0], "seed": 0}
    with pytest.raises(DataError, match=r"20 training stimuli for 11 folds; set fit.folds to at most 10"):
        choose(X, Y, stimulus=stimulus, n_folds=11, **options)
    with pytest.raises(DataError, match="1 of 21 are not"):
        choose(X, np.r_[Y, Y[:1]], stimulus=stimulus, n_folds=2, **options)
    with pytest.raises(DataError, match="none of the 3 units varies"):
        choose(X, np.ones_like(Y), stimulus=stimulus, n_folds=2, **options)
