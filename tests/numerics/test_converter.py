"""Converters against dense solutions of the ridge problem written out, on few samples and on many."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import converter, decoder, scores
from hpc_recon.numerics.stats import brain_statistics

SHAPES = {"N>D": (60, 20, 13), "N<D": (18, 31, 9)}


def pairs(n: int, n_source: int, n_target: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return source and target samples that share signals, with a constant voxel on each side."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, 5))
    X = 3 + signal @ rng.normal(size=(5, n_source)) + rng.normal(size=(n, n_source))
    Y = -2 + signal @ rng.normal(size=(5, n_target)) + rng.normal(size=(n, n_target))
    X[:, 4], Y[:, 2] = 0.5, 0.25
    return X, Y


def z_scored(A: np.ndarray) -> np.ndarray:
    scale = np.where(np.ptp(A, axis=0) == 0, np.inf, A.std(axis=0, ddof=1))
    return (A - A.mean(axis=0)) / scale


def closed_form(X: np.ndarray, Y: np.ndarray, alpha: float, new: np.ndarray) -> np.ndarray:
    """Predict new samples with an explicit inverse of the normal equations, in the raw scale."""
    Z, T = z_scored(X), z_scored(Y)
    W = np.linalg.inv(Z.T @ Z + alpha * np.eye(Z.shape[1])) @ Z.T @ T
    scale = np.where(np.ptp(X, axis=0) == 0, np.inf, X.std(axis=0, ddof=1))
    return ((new - X.mean(axis=0)) / scale) @ W * Y.std(axis=0, ddof=1) * (np.ptp(Y, axis=0) > 0) + Y.mean(axis=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_voxels_against_the_closed_form(shape, dtype, tolerance) -> None:
    X, Y = (A.astype(dtype) for A in pairs(*SHAPES[shape]))
    new = pairs(*SHAPES[shape], seed=1)[0].astype(dtype)
    block = converter.fit_block(X, Y, alpha=7.0)
    expected = closed_form(X.astype(float), Y.astype(float), 7.0, new.astype(float))
    np.testing.assert_allclose(block.predict(new), expected, atol=tolerance * np.abs(expected).max())
    assert block.weight.dtype == dtype
    np.testing.assert_array_equal(block.predict(new)[:, 2], dtype(0.25))


@pytest.mark.parametrize("shape", SHAPES)
def test_gains_are_a_penalty_of_each_voxels_own(shape) -> None:
    """A z-scored voxel times g, penalised by alpha, is a voxel penalised by alpha / g^2; with g = 0 it is left out."""
    X, Y = pairs(*SHAPES[shape])
    new = pairs(*SHAPES[shape], seed=1)[0]
    gain = np.linspace(0.2, 2, X.shape[1])
    gain[[1, 6]] = 0
    block = converter.fit_block(X, Y, alpha=7.0, gain=gain)
    used = np.setdiff1d(np.arange(X.shape[1]), [1, 4, 6])  # 4 is constant
    np.testing.assert_array_equal(block.voxel[0], used)
    Z, T = z_scored(X)[:, used], z_scored(Y)
    W = np.linalg.inv(Z.T @ Z + np.diag(7.0 / gain[used] ** 2)) @ Z.T @ T
    np.testing.assert_allclose(block.weight, W.T, atol=1e-10)
    np.testing.assert_allclose(block.x_scale[used], X[:, used].std(axis=0, ddof=1))
    expected = (new[:, used] - X[:, used].mean(axis=0)) / X[:, used].std(axis=0, ddof=1) @ W
    expected = expected * Y.std(axis=0, ddof=1) * (np.ptp(Y, axis=0) > 0) + Y.mean(axis=0)
    np.testing.assert_allclose(block.predict(new), expected, atol=1e-9)
    plain = converter.fit_block(X, Y, alpha=7.0)
    np.testing.assert_allclose(converter.fit_block(X, Y, alpha=7.0, gain=np.ones(X.shape[1])).weight, plain.weight)


@pytest.mark.parametrize("shape", SHAPES)
def test_selection_reads_the_voxels_of_largest_correlation(shape) -> None:
    X, Y = pairs(*SHAPES[shape])
    new = pairs(*SHAPES[shape], seed=1)[0]
    block = converter.fit_block(X, Y, alpha=3.0, n_voxels=6)
    correlation = np.abs(z_scored(X).T @ z_scored(Y))
    for target in (0, 5):
        best = np.sort(np.argsort(-correlation[:, target])[:6])
        np.testing.assert_array_equal(block.voxel[target], best)
        expected = closed_form(X[:, best], Y[:, [target]], 3.0, new[:, best])
        np.testing.assert_allclose(block.predict(new)[:, [target]], expected, atol=1e-9)


def test_the_dense_matrix_holds_the_weights_where_they_belong() -> None:
    X, Y = pairs(*SHAPES["N>D"])
    for n_voxels in (None, 4):
        block = converter.fit_block(X, Y, alpha=3.0, n_voxels=n_voxels)
        W = block.dense()
        assert (W != 0).sum(axis=0).max() == (X.shape[1] - 1 if n_voxels is None else 4)
        z = z_scored(X) @ W + block.bias
        np.testing.assert_allclose(z * block.y_scale + block.y_mean, block.predict(X), atol=1e-9)


@pytest.mark.parametrize("n_voxels", [None, 6])
def test_predictions_are_made_to_vary_as_the_target_does(n_voxels: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "_AT_ONCE", 4)  # target voxels at a time, of 13
    X, Y = pairs(*SHAPES["N>D"])
    new = pairs(*SHAPES["N>D"], seed=1)[0]
    fitted = converter.fit_block(X, Y, alpha=300.0, n_voxels=n_voxels)
    block, factor = converter.match_variance(fitted, X)
    varies = np.arange(13) != 2
    made = block.predict(X)[:, varies].var(axis=0) / Y[:, varies].var(axis=0)
    assert made.mean() == pytest.approx(1)
    assert factor > 1.5
    np.testing.assert_allclose(block.predict(new) - Y.mean(axis=0), factor * (fitted.predict(new) - Y.mean(axis=0)))
    assert converter.match_variance(block, X)[1] == pytest.approx(1)


def test_predictions_that_do_not_vary_cannot_be_scaled_up() -> None:
    X, Y = pairs(*SHAPES["N>D"])
    block = converter.fit_block(X, np.full_like(Y, 2.0), alpha=1.0)
    with pytest.raises(DataError, match=r"the same for all 60 samples in each of 13 target voxels.*as_fitted"):
        converter.match_variance(block, X)


def test_to_oneself_with_more_samples_than_voxels_is_the_identity_as_alpha_vanishes() -> None:
    X, _ = pairs(200, 20, 5)
    new = pairs(60, 20, 5, seed=1)[0]
    new[:, 4] = 0.5
    np.testing.assert_allclose(converter.fit_block(X, X, alpha=1e-6).predict(new), new, atol=1e-6)


def test_to_oneself_with_fewer_samples_than_voxels_is_the_identity_on_training_rows_only() -> None:
    X, _ = pairs(18, 31, 5)
    new = pairs(18, 31, 5, seed=1)[0]
    block = converter.fit_block(X, X, alpha=1e-7)
    # Centred samples make ZZ' singular: of its rounding 1 / alpha times as much is left, so alpha is not smaller.
    np.testing.assert_allclose(block.predict(X), X, atol=1e-6)
    assert np.abs(block.predict(new) - new).max() > 0.5


def test_decoding_converted_samples_is_decoding_with_one_product_of_weights() -> None:
    X, Y = pairs(*SHAPES["N>D"])
    units = np.random.default_rng(3).normal(size=(60, 4))
    known = decoder.fit_decoder(Y, units, 5, 2.0)
    block = converter.fit_block(X, Y, alpha=2.0)
    D = np.zeros((Y.shape[1], 4))
    D[known.voxel.T, np.arange(4)] = known.weight.T
    composed = z_scored(X) @ (block.dense() @ np.diag(block.y_scale / known.x_scale) @ D)
    offset = ((block.y_mean + block.y_scale * block.bias - known.x_mean) / known.x_scale) @ D + known.bias
    expected = known.y_mean + known.y_scale * (composed + offset)
    np.testing.assert_allclose(known.predict(block.predict(X)), expected, atol=1e-10)


@pytest.mark.parametrize(("n_voxels", "gain"), [(None, None), (6, None), (None, np.linspace(0, 2, 20))])
def test_the_penalty_is_that_of_a_loop_over_folds_that_hold_out_stimuli(n_voxels, gain) -> None:
    X, Y = pairs(60, 20, 13)
    stimulus = np.arange(60) % 12
    options = {"n_voxels": n_voxels, "gain": gain}
    chosen = converter.choose_alpha(X, Y, stimulus, alphas=[100.0, 1.0, 10.0], n_folds=3, seed=4, **options)
    from hpc_recon.numerics.choice import deal_folds

    fold = deal_folds(12, 3, seed=4)[stimulus]
    varies = Y.std(axis=0) > 0
    weight = 1 / Y.var(axis=0)[varies]
    for alpha, found in zip(chosen.alphas, chosen.explained_variance, strict=True):
        errors = total = 0.0
        for f in range(3):
            train, test = fold != f, fold == f
            if n_voxels is gain is None:
                predicted = closed_form(X[train], Y[train], alpha, X[test])
            else:
                predicted = converter.fit_block(X[train], Y[train], alpha=alpha, **options).predict(X[test])
            errors += ((Y[test] - predicted) ** 2).sum(axis=0)[varies] @ weight
            total += ((Y[test] - Y[train].mean(axis=0)) ** 2).sum(axis=0)[varies] @ weight
        assert found == pytest.approx(1 - errors / total, abs=1e-9)
    assert chosen.alphas == (1.0, 10.0, 100.0)
    assert chosen.alpha == chosen.alphas[int(np.argmax(chosen.explained_variance))]


def test_source_samples_are_looked_at_once_a_fold_however_many_penalties(monkeypatch) -> None:
    X, Y = pairs(60, 20, 13)
    seen = []
    monkeypatch.setattr(converter, "brain_statistics", lambda X: seen.append(len(X)) or brain_statistics(X))
    converter.choose_alpha(X, Y, np.arange(60), alphas=[1.0, 10.0, 100.0], n_folds=3, seed=4, n_voxels=6)
    assert seen == [40, 40, 40]


def test_too_many_folds_name_the_option_of_converters() -> None:
    X, Y = pairs(60, 20, 13)
    for n_stimuli, remedy in ((12, "set convert.folds to at most 6"), (3, "give four training stimuli or more")):
        with pytest.raises(DataError, match=f"got {n_stimuli} training stimuli for 7 folds; {remedy}"):
            converter.choose_alpha(X, Y, np.arange(60) % n_stimuli, alphas=[1.0], n_folds=7, seed=4)


def test_published_penalties_have_an_entry_for_each_published_number_of_samples() -> None:
    assert converter.published_alpha("subareas", 6000) == 120
    with pytest.raises(DataError, match=r"there are 500; set convert.samples"):
        converter.published_alpha("whole", 500)


def test_unpaired_samples_and_other_voxels_are_refused() -> None:
    X, Y = pairs(*SHAPES["N>D"])
    with pytest.raises(DataError, match=r"same number of paired samples"):
        converter.fit_block(X[:-1], Y, alpha=1.0)
    with pytest.raises(DataError, match=r"reads 20 source voxels"):
        converter.fit_block(X, Y, alpha=1.0).predict(X[:, :-1])


def subjects(n, n_voxels, *, seed=0):
    """Return the responses of two subjects to the same n stimuli, and units of these stimuli."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 10))
    mixed = [latent @ np.random.default_rng(k).normal(size=(10, n_voxels)) for k in (1, 2)]
    X, Y = (side + rng.normal(size=side.shape) for side in mixed)
    return X, Y, latent @ np.random.default_rng(3).normal(size=(10, 25))


@pytest.mark.parametrize(("n", "n_voxels"), [(150, 30), (20, 30)])
def test_to_oneself_decodes_as_within_the_subject_as_the_penalty_vanishes(n, n_voxels) -> None:
    """More samples than voxels: everywhere, to 1e-6. Fewer: on training rows; elsewhere something is lost."""
    X, _, units = subjects(n + 40, n_voxels)
    within = converter.fit_block(X[:n], units[:n], alpha=1.0, n_voxels=10)
    to_itself = converter.fit_block(X[:n], X[:n], alpha=1e-6)
    expected, found = within.predict(X), within.predict(to_itself.predict(X))
    gap = np.abs(found - expected).max(axis=1) / units.std()
    assert gap[:n].max() < 1e-6
    if n > n_voxels:
        assert gap[n:].max() < 1e-6
    else:
        assert gap[n:].max() > 0.01


def test_shuffled_pairs_identify_by_chance_and_true_pairs_do_not() -> None:
    """The 95 % interval over stimuli of identification contains .5 with shuffled pairs alone."""
    n = 300
    X, Y, units = subjects(n + 60, 40)
    within = converter.fit_block(Y[:n], units[:n], alpha=10.0, n_voxels=20)
    lows, highs = [], []
    for order in (np.arange(n), np.roll(np.arange(n), 1)):
        block = converter.fit_block(X[:n][order], Y[:n], alpha=10.0)
        decoded = within.predict(block.predict(X[n:]))
        similarity = np.corrcoef(decoded, units[n:])[:60, 60:]
        accuracy = scores.pairwise_identification(similarity).accuracy
        draws = np.random.default_rng(0).integers(0, 60, (2000, 60))
        low, high = np.percentile(accuracy[draws].mean(axis=1), [2.5, 97.5])
        lows.append(low)
        highs.append(high)
    assert lows[0] > 0.8
    assert lows[1] < 0.5 < highs[1]
