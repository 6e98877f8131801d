"""What items are compared with: stimuli, means of categories, nothing."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.evaluation import truth
from hpc_recon.stores.brain import Items


def _items(rows, labels, conditions):
    n = len(rows)
    return Items(
        tuple(f"{label}@{i}" for i, label in enumerate(labels)),
        tuple(labels),
        np.array(rows),
        np.empty((n, 0)),
        np.ones(n, int),
        tuple(conditions),
        {},
    )


def test_stimuli_are_their_own_truth_and_nothing_has_none(decodable):
    study, _ = decodable()
    found = truth.of_items(study, _items([7, 2, 7, -1], "xyxz", ["", "", "", "nothing"]))
    assert found.scored.tolist() == [0, 1, 2]
    assert found.target.tolist() == [1, 0, 1]
    assert [rows.tolist() for rows in found.rows] == [[2], [7]]


def test_the_features_of_a_category_are_the_mean_over_its_stimuli(decodable):
    study, data = decodable()  # all 33 stimuli have the category c
    found = truth.of_items(study, _items([-1, 2, -1], "cxn", ["category", "", "nothing"]))
    assert found.scored.tolist() == [0, 1]
    assert found.target.tolist() == [1, 0]
    assert found.rows[1].tolist() == list(range(33))
    reader = truth.LayerReader(study, ("S1", "VC", "net", "fc"))
    got = reader.truth(found, 4, 30)
    features = data.features["fc"][:, 4:30].astype(float)
    np.testing.assert_allclose(got, [features[2], features.mean(0)], rtol=1e-5)
    with pytest.raises(DataError, match=r"1 categories .* of no stimulus: 'dogs'"):
        truth.of_items(study, _items([-1], ["dogs"], ["category"]))


def test_a_dataset_without_any_truth(decodable):
    study, _ = decodable()
    found = truth.of_items(study, _items([-1], ["rest"], ["nothing"]))
    assert (found.scored.size, found.target.size, found.rows) == (0, 0, ())


def test_categories_are_known_where_every_target_has_one_and_they_differ(make_study, fill_workspace):
    study = make_study()
    fill_workspace(study)  # categories c0 and c1 in turn
    assert truth.of_items(study, _items([3, 0, 2], "xyz", ["", "", ""])).category == ("c0", "c0", "c1")
    assert truth.of_items(study, _items([0, 2], "xy", ["", ""])).category is None
    mixed = truth.of_items(study, _items([2, -1, -1], ["x", "c1", "n"], ["", "category", "nothing"]))
    assert mixed.category == ("c0", "c1")
