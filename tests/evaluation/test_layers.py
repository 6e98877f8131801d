"""One layer scored from its stores, whatever the number of units held at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hpc_recon.evaluation import layers, truth

PLACE = ("S1", "VC", "vgg", "conv2_1")
NETWORKS = {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}}


def test_scores_do_not_depend_on_how_many_units_are_held_at_once(make_study, fill_workspace, monkeypatch):
    study = make_study(networks=NETWORKS)
    fill_workspace(study)
    whole = layers.score(study, PLACE)
    monkeypatch.setattr(layers, "TEST_UNITS", 7)
    monkeypatch.setattr(truth, "TRAINING_UNITS", 3)
    parts = layers.score(study, PLACE)
    assert parts.n_stored == whole.n_stored == 40
    for one, other in zip(whole.scored, parts.scored, strict=True):
        assert (one.place, one.names) == (other.place, other.names)
        for name, (values, n) in one.metrics.items():
            # sums of 40 numbers in float64 in another order
            np.testing.assert_allclose(other.metrics[name][0], values, atol=1e-12, err_msg=name)
            assert np.array_equal(other.metrics[name][1], n)
        assert other.whole.keys() == one.whole.keys()
        for name, value in one.whole.items():
            assert other.whole[name] == pytest.approx(value)
    np.testing.assert_allclose(parts.similarity["natural"], whole.similarity["natural"], atol=1e-12)
    np.testing.assert_allclose(parts.profiles["natural"], whole.profiles["natural"], atol=1e-12)


def _stored(study, dataset="natural"):
    """Return what is decoded, what is true of all stimuli, and the rows of the items, in float64."""
    from hpc_recon.stores import arrays, layout
    from hpc_recon.stores.items import read_shown

    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", dataset, "vgg", "conv2_1")).astype(float)
    true = arrays.read(study.workspace, layout.features("vgg", "conv2_1")).astype(float)
    return decoded, true, read_shown(study, "S1", dataset).rows


def _won(similarity, own):
    """Return the share of rivals below the own similarity, row by row; `own` numbers the own column."""
    return [(np.delete(row, t) < row[t]).mean() for row, t in zip(similarity, own, strict=True)]


def test_every_identification_is_that_of_a_plain_loop(make_study, fill_workspace):
    study = make_study(networks=NETWORKS)
    fill_workspace(study, noise=12.0, per_dataset=6)
    (found,) = layers.score(study, PLACE).scored
    decoded, true, rows = _stored(study)
    training, n = true[:12], len(rows)
    raw = 1 - cdist(decoded, true[rows], "correlation")
    metrics = {name: values for name, (values, _) in found.metrics.items()}
    assert metrics["identification"].tolist() == _won(raw, range(n))
    assert metrics["identification_stimulus_anchored"].tolist() == _won(raw.T, range(n))
    mean, scale = training.mean(axis=0), training.std(axis=0, ddof=1)
    z = [(x - mean) / scale for x in (decoded, true[rows], training)]
    zscored = 1 - cdist(z[0], z[1], "correlation")
    assert metrics["identification_zscored"].tolist() == _won(zscored, range(n))
    # own stimulus among 5 other test stimuli and 12 training stimuli
    everything = np.hstack([zscored, 1 - cdist(z[0], z[2], "correlation")])
    rank = [int((row >= row[i]).sum()) for i, row in enumerate(everything)]
    assert metrics["identification_top1"].tolist() == [float(r <= 1) for r in rank]
    assert metrics["identification_top5"].tolist() == [float(r <= 5) for r in rank]
    assert found.metrics["identification_top5"][1].tolist() == [17] * n
    means = np.stack([true[rows[c::2]].mean(axis=0) for c in range(2)])
    category = 1 - cdist(decoded, means, "correlation")
    assert metrics["category_identification"].tolist() == _won(category, [i % 2 for i in range(n)])
    # three of a category of six: 3 rivals of the other category are won, 2 of its own half
    np.testing.assert_allclose(metrics["identification_by_category_alone"], 0.8)
    assert 0 < metrics["identification_top5"].mean() < 1
    assert not [name for name in found.whole if name.endswith("_undefined")]


def test_repeated_presentations_are_no_rivals_of_each_other(make_study, fill_workspace):
    study = make_study(networks=NETWORKS, decode={"average": False})
    fill_workspace(study, noise=3.0, per_dataset=3)
    (found,) = layers.score(study, PLACE).scored
    decoded, true, rows = _stored(study)
    similarity = 1 - cdist(decoded, true, "correlation")
    values, n = found.metrics["identification_stimulus_anchored"]
    assert n.tolist() == [4] * 6
    for i, row in enumerate(rows):
        rivals = [similarity[k, row] for k in range(6) if rows[k] != row]
        assert values[i] == np.mean(np.array(rivals) < similarity[i, row])


def test_a_stimulus_that_was_also_trained_on_has_no_twin_among_the_candidates():
    from hpc_recon.evaluation.layers import _zero_shot
    from hpc_recon.numerics.layer_scores import layer_scores

    rng = np.random.default_rng(0)
    true = rng.normal(size=(3, 20))
    own = truth.Truth(np.arange(3), np.arange(3), (np.array([1]), np.array([7]), np.array([2, 4])))
    found = layer_scores(true, true, own.target, mean=np.zeros(20), scale=np.ones(20))
    # training rows 1 (shown by item 0), 2 (part of what item 2 shows) and 5, as like to every item as can be
    metrics = _zero_shot(found, own, np.array([1, 2, 5]), np.ones((3, 3)))
    assert list(metrics) == ["identification_top1"]
    assert metrics["identification_top1"][1].tolist() == [4, 4, 3]


def test_flat_patterns_count_one_half_and_are_counted(make_study, fill_workspace, monkeypatch):
    study = make_study(networks=NETWORKS)
    fill_workspace(study)
    read = truth.LayerReader.decoded

    def flat(*args, **kwargs):
        decoded = read(*args, **kwargs)
        decoded[2] = 3.0
        return decoded

    monkeypatch.setattr(truth.LayerReader, "decoded", flat)
    (found,) = layers.score(study, PLACE).scored
    assert found.metrics["identification"][0][2] == 0.5
    assert found.whole["identification_undefined"] == (3.0, 12)
    # the flat item, and its one comparison with each other item
    assert found.whole["identification_stimulus_anchored_undefined"] == (6.0, 12)
