"""One block of one pair: what is read, chosen and fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hpc_recon.conversion import applying, blocks, checking, fitting, pairing, reading
from hpc_recon.core.errors import DataError
from hpc_recon.core.sampling import seed_of
from hpc_recon.numerics import voxel_weights
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.numerics.converter import choose_alpha, fit_block, match_variance
from hpc_recon.stores import brain, layout


def chosen(study, block="VC"):
    path = layout.conversion_file(study, "S2.from-S1", name=f"chosen-{block}.json")
    return json.loads(path.read_text())


def test_what_was_chosen_is_written_beside_the_weights(converted):
    assert chosen(converted) == {
        "pair": "S2.from-S1",
        "block": "VC",
        "n_samples": 60,
        "n_pairs": 60,
        "method": "ridge",
        "weighting": "equal",
        "alpha": 20.0,
    }


def test_a_list_of_penalties_is_judged_on_held_out_stimuli(fit):
    study = fit(alpha=[1e-2, 1e3, 1e9], pairs=["S1-S2"], folds=3)
    found = chosen(study)
    paired = fitting.pairs(study, "S2.from-S1")
    X, Y = (
        brain.read_brain(study.workspace, s, "training").samples[rows].astype(np.float64)
        for s, rows in (("S1", paired.source), ("S2", paired.target))
    )
    fold = deal_folds(30, 3, seed=seed_of(study.seed, "convert-folds", "S2.from-S1"))[paired.stimulus]
    explained = []
    for alpha in found["alphas"]:
        error, total = np.zeros(Y.shape[1]), np.zeros(Y.shape[1])
        for number in range(3):  # both samples of a stimulus are held out together
            kept, held_out = fold != number, fold == number
            mean, scale = X[kept].mean(axis=0), X[kept].std(axis=0, ddof=1)
            Z, centre, spread = (X - mean) / scale, Y[kept].mean(axis=0), Y[kept].std(axis=0, ddof=1)
            W = np.linalg.solve(Z[kept].T @ Z[kept] + alpha * np.eye(60), Z[kept].T @ ((Y[kept] - centre) / spread))
            error += ((Y[held_out] - centre - spread * (Z[held_out] @ W)) ** 2).sum(axis=0)
            total += ((Y[held_out] - centre) ** 2).sum(axis=0)
        explained.append(1 - (error / Y.var(axis=0)).sum() / (total / Y.var(axis=0)).sum())
    np.testing.assert_allclose(found["explained_variance"], explained, atol=1e-3)
    assert found["alpha"] == found["alphas"][int(np.argmax(explained))] == 1e3


def test_a_converter_of_a_curve_is_that_of_a_study_with_so_many_samples(fit, with_options):
    study = fit(growth=[20], pairs=["S1-S2"])
    paired = fitting.pairs(with_options(samples=20, pairs=["S1-S2"]), "S2.from-S1")
    X, Y = (
        brain.read_brain(study.workspace, s, "training").samples[rows]
        for s, rows in (("S1", paired.source), ("S2", paired.target))
    )
    assert X.shape == (20, 60)
    ((_, few),) = blocks.read(study, "S2.from-S1.n20")
    np.testing.assert_array_equal(few.weight, fit_block(X, Y, alpha=20).weight)
    ((_, whole),) = blocks.read(study, "S2.from-S1")
    assert not np.array_equal(whole.weight, few.weight)


def test_means_of_repeats_are_weighed_by_their_reliability(fit):
    study = fit(average=True, pairs=["S1-S2"], alpha=[5, 50], folds=3)
    paired = fitting.pairs(study, "S2.from-S1")
    sides = [
        brain.read_brain(study.workspace, s, "training").samples[rows]
        for s, rows in (("S1", paired.source), ("S2", paired.target))
    ]
    gain = voxel_weights.gains(voxel_weights.reliability(sides[0], paired.stimulus, of_means=True))
    X, Y = (pairing.averaged(side, paired.stimulus) for side in sides)
    assert chosen(study)["weighting"] == "reliability"
    seed = seed_of(study.seed, "convert-folds", "S2.from-S1")
    best = choose_alpha(X, Y, np.arange(30), alphas=[5, 50], n_folds=3, seed=seed, gain=gain)
    assert chosen(study)["explained_variance"] == list(best.explained_variance)
    plain = choose_alpha(X, Y, np.arange(30), alphas=[5, 50], n_folds=3, seed=seed)
    assert plain.explained_variance != best.explained_variance
    ((_, block),) = blocks.read(study, "S2.from-S1")
    fitted = fit_block(X, Y, alpha=best.alpha, gain=gain)
    matched, factor = match_variance(fitted, X)
    np.testing.assert_array_equal(block.weight, matched.weight)
    assert chosen(study)["variance_factor"] == factor > 1


@pytest.mark.parametrize(("variance", "expected"), [("matched", 1.0), ("as_fitted", 0.0)])
def test_converted_samples_vary_as_much_as_the_targets_if_that_is_asked_for(fit, variance, expected):
    study = fit(variance=variance, pairs=["S1-S2"], alpha=5000)
    own, source = (brain.read_brain(study.workspace, s, "training").samples for s in ("S2", "S1"))
    made = applying.convert(study, "S2.from-S1", source)
    assert np.mean(made.var(axis=0) / own.var(axis=0)) == pytest.approx(expected, abs=0.2)


def test_reliability_that_is_asked_for_needs_repeats(with_options):
    study = with_options(weighting="reliability", samples=30, pairs=["S1-S2"])
    with pytest.raises(DataError, match=r"each of the 30 paired samples of S2\.from-S1 shows another; set equal"):
        checking.require(study)
    checking.require(with_options(average=True, samples=30, pairs=["S1-S2"]))


@pytest.mark.parametrize("method", ["procrustes", "hyperalignment"])
def test_orthogonal_maps_have_no_bias_and_singular_values_of_one(fit, method):
    study = fit(method=method, alpha="published", pairs=["S1-S2"])
    assert "alpha" not in chosen(study)
    ((_, block),) = blocks.read(study, "S2.from-S1")
    assert not block.bias.any()
    values = np.linalg.svd(block.dense().astype(np.float64), compute_uv=False)
    assert values.max() == pytest.approx(1, abs=1e-5)


def test_hyperalignment_never_reads_test_responses(fit, monkeypatch):
    """The published alignment had the test responses among its samples; here they are not even opened."""
    from hpc_recon.stores import arrays

    opened, original = [], arrays.read

    def noted(workspace, ref, *selection):
        opened.append(ref.path)
        return original(workspace, ref, *selection)

    monkeypatch.setattr(arrays, "read", noted)
    fit(method="hyperalignment", alpha="published", pairs=["S1-S2"])
    assert any("training" in path for path in opened)
    assert not any("natural" in path for path in opened)


def test_to_oneself_predicts_training_samples_as_the_penalty_vanishes(fit):
    """60 pairs and 60 voxels: after centring fewer samples than voxels."""
    study = fit(alpha=1e-6, pairs=["S1-S1"], pool=[])
    samples = brain.read_brain(study.workspace, "S1", "training").samples
    found = applying.convert(study, "S1.from-S1", samples)
    # Training rows are kept; the residual of ridge is alpha / (s^2 + alpha) of each direction, and float32.
    assert np.abs(found - samples).max() < 1e-3 * samples.std()


def test_shuffled_pairs_show_other_stimuli(fit):
    study = fit(shuffle=True, pairs=["S1-S2"])
    paired = fitting.pairs(study, "S2.from-S1")
    labels = [reading.presented(study, s).labels for s in ("S1", "S2")]
    assert not any(labels[0][i] == labels[1][j] for i, j in zip(paired.source, paired.target, strict=True))


def test_penalties_are_those_given_or_published(with_options):
    assert fitting.penalties(with_options(alpha=[3, 1]), 60) == (3, 1)
    assert fitting.penalties(with_options(alpha="published"), 2400) == (420.0,)
    assert fitting.penalties(with_options(alpha="published", blocks=["V1", "VC"]), 2400) == (280.0,)
    assert fitting.penalties(with_options(alpha="published", method="procrustes"), 60) == ()
    with pytest.raises(DataError, match=r"but there are 60; set convert.samples"):
        fitting.penalties(with_options(alpha="published"), 60)


def test_repeats_are_averaged_before_fitting_where_that_is_asked_for(fit):
    study = fit(average=True, weighting="equal", pairs=["S1-S2"], alpha=7)
    means = []
    for subject in ("S1", "S2"):
        found = brain.read_brain(study.workspace, subject, "training")
        labels = np.array(found.labels)
        means.append(np.stack([found.samples[labels == x].mean(axis=0, dtype=np.float64) for x in sorted(set(labels))]))
    Z, T = ((M - M.mean(axis=0)) / M.std(axis=0, ddof=1) for M in means)
    W = np.linalg.solve(Z.T @ Z + 7 * np.eye(60), Z.T @ T)
    W /= np.sqrt((Z @ W).var(axis=0, ddof=1).mean())
    ((_, block),) = blocks.read(study, "S2.from-S1")
    np.testing.assert_allclose(block.dense(), W, atol=2e-5)
    assert (chosen(study)["n_samples"], chosen(study)["n_pairs"]) == (60, 30)
