"""Scores gathered block by block equal those of the whole layer at once."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.numerics import layer_scores as module
from hpc_recon.numerics import scores


@pytest.fixture
def layer():
    rng = np.random.default_rng(3)
    true = rng.normal(2, 1, size=(5, 60))
    target = np.array([0, 1, 2, 3, 4, 4, 0])
    decoded = true[target] + rng.normal(size=(7, 60))
    decoded[:, 11] = 0.1  # a constant prediction
    scale = rng.uniform(0.5, 2, size=60)
    scale[7] = 0
    return {"decoded": decoded, "true": true, "target": target, "mean": rng.normal(size=60), "scale": scale}


def blocks(layer, size):
    found = None
    for start in range(0, 60, size):
        part = slice(start, start + size)
        block = module.layer_scores(
            layer["decoded"][:, part],
            layer["true"][:, part],
            layer["target"],
            mean=layer["mean"][part],
            scale=layer["scale"][part],
        )
        found = block if found is None else found + block
    return found


@pytest.mark.parametrize("size", [1, 7, 60])
def test_blocks_of_units_add_up_to_the_whole_layer(layer, size):
    found = blocks(layer, size)
    shown = layer["true"][layer["target"]]
    np.testing.assert_allclose(found.profile, scores.profile_correlation(layer["decoded"], shown), atol=1e-12)
    varies = layer["scale"] > 0
    z = [((x - layer["mean"]) / np.where(varies, layer["scale"], 1))[:, varies] for x in (layer["decoded"], shown)]
    pattern = [np.corrcoef(a, b)[0, 1] for a, b in zip(*z, strict=True)]
    np.testing.assert_allclose(found.pattern(), pattern, atol=1e-12)
    similarity = np.corrcoef(layer["decoded"], layer["true"])[:7, 7:]
    oracle = [
        np.mean([similarity[i, j] < similarity[i, t] for j in range(5) if j != t])
        for i, t in enumerate(layer["target"])
    ]
    np.testing.assert_allclose(found.identification().accuracy, oracle, atol=1e-15)
    assert found.zscored.n_units == 59


def test_the_profile_summary_leaves_out_constant_units(layer):
    summary, n_defined = blocks(layer, 20).profile_summary()
    profile = np.delete([np.corrcoef(a, b)[0, 1] for a, b in _columns(layer)], 11)
    assert n_defined == 59
    assert summary[""] == pytest.approx(profile.mean())
    assert summary["_q25"] == pytest.approx(np.quantile(profile, 0.25))
    assert summary["_nonpositive"] == sum(r <= 0 for r in profile) / len(profile)


def _columns(layer):
    with np.errstate(invalid="ignore", divide="ignore"):
        shown = layer["true"][layer["target"]]
        jitter = np.zeros((7, 60))
        jitter[0, 11] = 1e-3  # only so that the oracle of the constant unit is a number
        return list(zip((layer["decoded"] + jitter).T, shown.T, strict=True))


def test_a_layer_of_constant_units_has_no_profile():
    empty = module.layer_scores(np.ones((3, 4)), np.ones((3, 4)), np.arange(3), mean=np.zeros(4), scale=np.zeros(4))
    summary, n_defined = empty.profile_summary()
    assert n_defined == 0
    assert np.isnan(list(summary.values())).all()
    assert np.isnan(empty.pattern()).all()
    assert empty.identification().accuracy.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("size", [1, 7, 60])
def test_categories_are_compared_by_their_mean_features(layer, size):
    """Oracle: scipy on the whole layer, a category's mean row by row."""
    from scipy.spatial.distance import cdist

    category, found = np.array([1, 0, 1, 2, 0]), None
    for start in range(0, 60, size):
        part = slice(start, start + size)
        own = {key: layer[key][part] for key in ("mean", "scale")}
        arrays = (layer["decoded"][:, part], layer["true"][:, part], layer["target"])
        block = module.layer_scores(*arrays, **own, category=category)
        found = block if found is None else found + block
    means = np.stack([layer["true"][category == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(
        found.categories.correlation(), 1 - cdist(layer["decoded"], means, "correlation"), atol=1e-12
    )
    assert blocks(layer, size).categories is None


def test_categories_without_gaps(layer):
    with pytest.raises(ValueError, match=r"without gaps, but 1 has no stimulus"):
        module.category_means(np.ones((2, 3)), np.array([0, 2]))
    with pytest.raises(ValueError, match=r"one number a stimulus"):
        module.category_means(np.ones((2, 3)), np.array([0]))


def test_identification_on_z_scores_is_not_helped_by_the_mean_pattern(layer):
    from scipy.spatial.distance import cdist

    keep = layer["scale"] > 0
    z = [((layer[key] - layer["mean"]) / np.where(keep, layer["scale"], 1))[:, keep] for key in ("decoded", "true")]
    similarity = 1 - cdist(*z, "correlation")
    own = similarity[np.arange(7), layer["target"]]
    oracle = [(np.delete(similarity[i], layer["target"][i]) < own[i]).mean() for i in range(7)]
    assert blocks(layer, 60).identification_zscored().accuracy.tolist() == oracle
