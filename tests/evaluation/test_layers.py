"""One layer scored from its stores, whatever the number of units held at once."""

from __future__ import annotations

import numpy as np
import pytest

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
