"""Filters of a first convolution: raw, as absolute values, and decoded as absolute values."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from hpc_recon import evaluate
from hpc_recon.core.sampling import unit_sample
from hpc_recon.core.score_names import FILTER_COLUMNS
from hpc_recon.evaluation import filters, layers
from hpc_recon.stores import arrays, layout

NETWORKS = {
    "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]},
    "twin": {"architecture": "vgg11_quarter", "layers": ["conv1_1"], "transform": "abs"},
}
SHAPES = {("vgg", "conv1_1"): (5, 2, 3), ("twin", "conv1_1"): (5, 2, 3)}
FIELDS = {"subject": "S1", "split": "all", "roi": "VC", "layer": "conv1_1"}


def _plain(study, network, change, n_filters=5):
    """Return the mean correlation of each filter's units by a loop over units, all units decoded."""
    decoded = arrays.read(study.workspace, layout.decoded("S1", "VC", "natural", network, "conv1_1"))
    true = arrays.read(study.workspace, layout.features(network, "conv1_1"))[-len(decoded) :]  # the last dataset
    r = [np.corrcoef(change(decoded[:, i]), change(true[:, i]))[0, 1] for i in range(decoded.shape[1])]
    return np.array(r).reshape(n_filters, -1).mean(axis=1)


@pytest.fixture
def study(make_study, fill_workspace):
    made = make_study(networks=NETWORKS)
    fill_workspace(made, per_dataset=7, unit_shapes=SHAPES)
    return made


def _rows(study, network):
    found = layers.score(study, ("S1", "VC", network, "conv1_1"))
    return filters.rows(found, study, {**FIELDS, "network": network})


@pytest.mark.parametrize("at_once", [7, 1000])
def test_raw_and_absolute_values_are_those_of_a_plain_loop(study, monkeypatch, at_once):
    monkeypatch.setattr(layers, "TEST_UNITS", at_once)
    rows = _rows(study, "vgg")
    assert [(row["features"], row["filter"]) for row in rows] == [(k, f) for k in ("raw", "absolute") for f in range(5)]
    values = np.array([row["value"] for row in rows]).reshape(2, 5)
    # float32 features, correlated in float64 by both
    np.testing.assert_allclose(values[0], _plain(study, "vgg", np.float64), atol=1e-9)
    np.testing.assert_allclose(values[1], _plain(study, "vgg", lambda x: np.abs(np.float64(x))), atol=1e-9)
    assert abs(values[0] - values[1]).max() > 0.01
    assert {row["n"] for row in rows} == {6}


def test_a_network_of_absolute_values_is_scored_as_it_is_decoded(study):
    rows = _rows(study, "twin")
    assert {row["features"] for row in rows} == {"trained_absolute"}
    np.testing.assert_allclose([row["value"] for row in rows], _plain(study, "twin", np.float64), atol=1e-9)


def test_the_command_joins_the_filters_of_all_networks(study, run_verb):
    run_verb(evaluate, study)
    with (study.workspace / "scores" / "filters.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == FILTER_COLUMNS
    expected = [*_rows(study, "vgg"), *_rows(study, "twin")]
    assert found == [{key: str(row[key]) for key in FILTER_COLUMNS} for row in expected]


def test_chosen_units_count_for_the_filter_they_are_of(make_study, fill_workspace):
    study = make_study(networks={"vgg": NETWORKS["vgg"]}, units=11)
    fill_workspace(study, per_dataset=7, unit_shapes=SHAPES)
    rows = [row for row in _rows(study, "vgg") if row["features"] == "raw"]
    chosen, n = np.unique(unit_sample(study, "vgg", "conv1_1", 30) // 6, return_counts=True)
    assert [(row["filter"], row["n"]) for row in rows] == list(zip(chosen, n, strict=True))


def test_the_truth_of_a_category_is_the_mean_of_absolute_values(study):
    """Not the absolute value of the mean, which phases cancel."""
    from hpc_recon.evaluation import truth

    reader = truth.LayerReader(study, ("S1", "VC", "vgg", "conv1_1"))
    own = truth.Truth(np.array([0]), np.array([0]), (np.array([0, 1, 5]),))
    stored = np.float64(arrays.read(study.workspace, layout.features("vgg", "conv1_1")))[[0, 1, 5]]
    np.testing.assert_allclose(reader.truth(own, 0, 30, absolute=True)[0], np.abs(stored).mean(axis=0), rtol=1e-6)


def test_other_layers_have_no_filters(study):
    found = layers.score(study, ("S1", "VC", "vgg", "conv2_1"))
    assert found.filters is None
    assert found.absolute == {}
    assert filters.rows(found, study, {**FIELDS, "network": "vgg", "layer": "conv2_1"}) == []
    assert [path.parent.name for path in filters.places(study)] == ["conv1_1", "conv1_1"]
