from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import choice as choices
from hpc_recon.numerics import fold_scores
from hpc_recon.numerics.choice import choose_nested, deal_folds
from hpc_recon.numerics.folds import make_folds, make_pairs
from hpc_recon.numerics.needs import SLACK_BYTES


def choose(X, Y, *, stimulus, n_folds, seed, **options):
    """Deal the folds, make them, and choose."""
    dealt = deal_folds(Y.shape[0], n_folds, seed=seed)
    return choices.choose(make_folds(X, stimulus, n_stimuli=len(Y), fold_of_stimulus=dealt), Y, **options)


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


def noise():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(100, 10_000)).astype(np.float32), rng.normal(size=(100, 512)).astype(np.float32)
    return X, Y, {"stimulus": np.arange(100), "n_voxels": [500], "alphas": [10.0, 1000.0], "n_folds": 5, "seed": 0}


def test_pure_noise_scores_nothing() -> None:
    """100 samples of 10,000 voxels: the mean over 512 units and 5 folds of 20 stimuli has a standard error of .005."""
    X, Y, options = noise()
    choice = choose(X, Y, **options)
    assert np.abs(choice.correlation).max() < 0.02
    assert (choice.explained_variance < 0).all()
    assert any("better than their mean" in note for note in choice.warnings)


def test_selection_outside_the_folds_would_be_noticed(monkeypatch) -> None:
    """The same, with voxels selected with the held-out stimuli: noise seems to be decoded nearly perfectly."""
    X, Y, options = noise()
    Z, T = (X - X.mean(0)) / X.std(0), (Y - Y.mean(0)) / Y.std(0)
    leaked = np.argsort(-np.abs(T.T @ Z), axis=1)[:256, :500]
    monkeypatch.setattr(fold_scores, "ranked_voxels", lambda score, k: leaked)
    choice = choose(X, Y[:, :256], **options)
    assert (choice.correlation > 0.8).all()


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


def explained_by_hand(X, Y, *, stimulus, dealt, k, alpha, units):
    return [
        cross_validated(X, Y[:, [j]], stimulus=stimulus, folds=dealt, k=k, alpha=alpha)[0] for j in units
    ]  # fmt: skip


def test_each_unit_gets_its_own_best_penalty() -> None:
    """At the number of voxels that is best with a common penalty; against refitting each unit by hand."""
    X, Y, stimulus = simulated(24, 30, 6, repeats=2)
    Y[:, :3] += 6 * np.random.default_rng(1).normal(size=(24, 3))  # half of the units are hardly decodable
    alphas = [1.0, 10.0, 100.0, 1000.0, 1e4]
    options = {"stimulus": stimulus, "n_voxels": [5, 25], "alphas": alphas, "n_folds": 4, "seed": 3}
    whole, own = choose(X, Y, **options), choose(X, Y, per="unit", **options)
    dealt = deal_folds(24, 4, seed=3)
    assert (own.n_voxels, own.alpha) == (whole.n_voxels, whole.alpha)
    np.testing.assert_array_equal(own.explained_variance, whole.explained_variance)
    table = [
        explained_by_hand(X, Y, stimulus=stimulus, dealt=dealt, k=own.n_voxels, alpha=alpha, units=range(6))
        for alpha in alphas
    ]
    np.testing.assert_array_equal(own.unit_alpha, np.array(alphas)[np.argmax(table, axis=0)])
    assert len(np.unique(own.unit_alpha)) > 1
    assert own.penalty is own.unit_alpha
    assert (whole.penalty, whole.unit_alpha) == (whole.alpha, None)


def test_units_at_the_edge_of_the_grid_are_counted() -> None:
    rng = np.random.default_rng(0)
    X, Y, stimulus = simulated(60, 30, 300, signal=2.0)
    Y[:, :100] = rng.normal(size=(60, 100))
    Y[:, 7] = 4.0  # constant: gets the largest penalty, and is not counted
    choice = choose(
        X, Y, stimulus=stimulus, n_voxels=[20], alphas=[10, 30, 1e3, 1e5], n_folds=4, seed=0, per="unit"
    )  # fmt: skip
    assert choice.unit_alpha is not None
    assert choice.unit_alpha.shape == (300,)
    assert choice.unit_alpha[7] == 1e5
    varies = np.arange(300) != 7
    low, high = ((choice.unit_alpha[varies] == end).sum() for end in (10, 1e5))
    assert low > 10
    assert high > 10
    assert choice.warnings == (
        f"{low} of 299 units chose the smallest alpha of the grid, 10; a wider grid may do better",
        f"{high} of 299 units chose the largest alpha of the grid, 100000; a wider grid may do better",
    )
    content = json.loads(json.dumps(choice.as_dict()))
    assert content["per"] == "unit"
    assert [entry["alpha"] for entry in content["units_of_alpha"]] == [10, 30, 1e3, 1e5]
    assert sum(entry["units"] for entry in content["units_of_alpha"]) == 300
    assert content["units_of_alpha"][0]["units"] == low


def test_units_that_are_all_constant_get_the_largest_penalty() -> None:
    X, _, stimulus = simulated(40, 30, 3)
    options = {"stimulus": stimulus, "n_voxels": [5, 20], "alphas": [1, 10], "n_folds": 4, "seed": 0, "per": "unit"}
    choice = choose(X, np.full((40, 3), 0.1), **options)
    assert (choice.n_units, choice.warnings, choice.alpha) == (0, (), 10)
    np.testing.assert_array_equal(choice.unit_alpha, [10, 10, 10])
    assert json.loads(json.dumps(choice.as_dict()))["units_of_alpha"] == [
        {"alpha": 1, "units": 0},
        {"alpha": 10, "units": 3},
    ]


def test_a_penalised_bias_counts_where_repeats_are_unbalanced() -> None:
    """Against one dense system with a penalised column of ones."""
    rng = np.random.default_rng(0)
    X, Y, _ = simulated(20, 10, 3)
    stimulus = np.r_[np.arange(20), np.zeros(40, int)]
    X = rng.normal(size=(60, 10)) + Y[stimulus] @ rng.normal(size=(3, 10))
    dealt = deal_folds(20, 4, seed=0)
    errors = total = 0.0
    for fold in range(4):
        kept, samples = dealt != fold, dealt[stimulus] != fold
        mean, scale = X[samples].mean(0), X[samples].std(0, ddof=1)
        m, s = Y[kept].mean(0), Y[kept].std(0, ddof=1)
        A = np.column_stack([(X[samples] - mean) / scale, np.ones(samples.sum())])
        w = np.linalg.solve(A.T @ A + 50 * np.eye(11), A.T @ ((Y - m) / s)[stimulus[samples]])
        for row in np.flatnonzero(~kept):
            p = ((X[stimulus == row].mean(0) - mean) / scale) @ w[:-1] + w[-1]
            errors += ((Y[row] - m - s * p) ** 2 / Y.var(0, ddof=1)).sum()
            total += ((Y[row] - m) ** 2 / Y.var(0, ddof=1)).sum()
    options = {"stimulus": stimulus, "n_voxels": [10], "alphas": [50.0], "n_folds": 4, "seed": 0}
    choice = choose(X, Y, penalize_bias=True, **options)
    np.testing.assert_allclose(choice.explained_variance, [[1 - errors / total]], atol=1e-10)
    assert abs(choose(X, Y, **options).explained_variance[0, 0] - choice.explained_variance[0, 0]) > 1e-4


@pytest.mark.parametrize("per", ["layer", "unit"])
def test_a_nested_choice_is_the_choice_without_the_fold(per) -> None:
    """The same as if the stimuli of the fold did not exist."""
    X, Y, stimulus = simulated(40, 30, 5, repeats=3)
    dealt = deal_folds(40, 4, seed=2)
    options = {"n_voxels": [5, 20], "alphas": [1.0, 30.0, 1000.0], "per": per}
    pairs = make_pairs(X, stimulus, n_stimuli=40, fold_of_stimulus=dealt)
    nested = choose_nested(pairs, Y, fold_of_stimulus=dealt, **options)
    assert len(nested) == 4
    for fold, choice in enumerate(nested):
        rows = np.flatnonzero(dealt != fold)
        inside = dealt[stimulus] != fold
        left = np.unique(dealt[rows], return_inverse=True)[1]
        inner = make_folds(
            X[inside], np.searchsorted(rows, stimulus[inside]), n_stimuli=len(rows), fold_of_stimulus=left
        )  # fmt: skip
        alone = choices.choose(inner, Y[rows], **options)
        np.testing.assert_allclose(choice.explained_variance, alone.explained_variance, atol=1e-10)
        np.testing.assert_allclose(choice.correlation, alone.correlation, atol=1e-10)
        assert (choice.n_voxels, choice.alpha, choice.n_folds) == (alone.n_voxels, alone.alpha, 3)
        np.testing.assert_array_equal(choice.unit_alpha, alone.unit_alpha)


def test_another_estimator_can_be_chosen_for() -> None:
    """One that knows the truth but for a factor: the factor that is chosen is 1."""
    X, Y, stimulus = simulated(40, 10, 300)

    def truth(fold):
        blocks = iter(range(0, 300, 256))

        def predict(targets):
            start = next(blocks)
            train, test = (Y[rows, start : start + 256] for rows in (fold.train_rows, fold.test_rows))
            z = (test - train.mean(0)) / train.std(0, ddof=1)
            assert targets.shape == (train.shape[1], train.shape[0])
            return np.array([[z / 2, z, 2 * z]])

        return predict

    choice = choose(
        X, Y, stimulus=stimulus, n_voxels=[10], alphas=[0.5, 1, 2], n_folds=4, seed=0, predictor=truth, n_threads=1
    )
    np.testing.assert_allclose(choice.explained_variance, [[0.75, 1, 0]], atol=1e-12)
    assert choice.alpha == 1


@pytest.mark.parametrize(("n_stimuli", "repeats", "k"), [(80, 4, 60), (160, 3, 400), (80, 1, 400)])
def test_what_numpy_allocates_stays_below(n_stimuli, repeats, k) -> None:
    X, Y, stimulus = simulated(n_stimuli, 900, 512, repeats=repeats)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    dealt = deal_folds(n_stimuli, 2, seed=0)
    made = list(make_folds(X, stimulus, n_stimuli=n_stimuli, fold_of_stimulus=dealt))
    options = {"n_voxels": [10, k], "alphas": [1.0, 10.0], "n_threads": 2}
    choices.choose(made, Y[:, :3], **options)  # compiles what is compiled
    tracemalloc.start()
    try:
        choices.choose(made, Y, **options)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    sizes = {"n_stimuli": n_stimuli, "n_voxels": 900, "n_alphas": 2, "n_threads": 2}
    assert used < choices.choose_bytes(512, n_test=n_stimuli // 2, k=k, n_k=2, **sizes) - SLACK_BYTES
    assert choices.choose_seconds(512, ks=[10, k], n_folds=2, **sizes) > 0


def test_unusable_input_is_refused() -> None:
    X, Y, stimulus = simulated(20, 10, 3)
    options = {"n_voxels": [5], "alphas": [1.0], "seed": 0}
    with pytest.raises(DataError, match=r"20 training stimuli for 11 folds; set fit.folds to at most 10"):
        choose(X, Y, stimulus=stimulus, n_folds=11, **options)
    with pytest.raises(DataError, match=r"every row of Y once, but 1 of 21 are not \(first: row 20, 0 times\)"):
        choose(X, np.r_[Y, Y[:1]], stimulus=stimulus, n_folds=2, **options)
    with pytest.raises(DataError, match="none of the 3 units varies"):
        choose(X, np.ones_like(Y), stimulus=stimulus, n_folds=2, **options)
