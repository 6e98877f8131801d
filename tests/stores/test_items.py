"""Items without samples, and training stimuli: of samples, or of a dataset's own stimuli."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.config import Dataset
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import Ingest
from hpc_recon.stores import brain, items, shapes


@pytest.mark.parametrize("average", [True, 2, False])
def test_the_items_of_read_items_without_samples(decodable, average) -> None:
    study, _ = decodable(decode={"average": average})
    for dataset in ("natural", "shapes"):
        found, whole = items.read_shown(study, "S1", dataset), brain.read_items(study, "S1", dataset)
        assert (found.names, found.labels, found.conditions) == (whole.names, whole.labels, whole.conditions)
        np.testing.assert_array_equal(found.rows, whole.rows)
        assert found.samples.shape == (len(whole.names), 0)


def test_where_features_were_decoded_elsewhere_a_datasets_stimuli_are_its_items(decodable) -> None:
    study, data = decodable(decode={"files": {"net": {"folders": "lab"}}})
    for dataset in ("natural", "shapes"):
        found = items.read_shown(study, "S1", dataset)
        assert found.rows.tolist() == np.flatnonzero(data.dataset == dataset).tolist()
        assert found.names == found.labels == tuple(data.labels[row] for row in found.rows)
        assert found.scored.tolist() == list(range(len(found.rows)))
        assert shapes.read(study).n_items("S1", dataset) == len(found.names)
    assert items.training_rows(study, "S1").tolist() == np.flatnonzero(data.dataset == "training").tolist()
    with pytest.raises(DataError, match="'imagery' has no stimuli of its own"):
        items.read_shown(study, "S1", "imagery")


def test_training_rows_are_those_that_samples_show(decodable) -> None:
    study, data = decodable()
    _, rows = data.brain["S1", "training"]
    np.testing.assert_array_equal(items.training_rows(study, "S1"), np.unique(rows))


def test_where_decoders_are_read_training_samples_and_stimuli_may_be_absent(decodable) -> None:
    study, data = decodable(fit={"files": {"net": {"folders": "lab"}}})
    assert items.has_training_samples(study, "S1")
    subject = {"datasets": {"natural": {"samples": {"file": "x.npy"}, "labels": {"file": "y.npy"}}}}
    ingest = {"subjects": {"S1": subject}, "stimuli": {}}
    study = study.model_copy(update={"simulate": None, "ingest": Ingest.model_validate(ingest)})
    assert not items.has_training_samples(study, "S1")
    assert items.training_rows(study, "S1").tolist() == np.flatnonzero(data.dataset == "training").tolist()
    without = {name: kind for name, kind in study.datasets.items() if name != "training"}
    study = study.model_copy(update={"datasets": {**without, "absent": Dataset(role="training")}})
    assert items.training_rows(study, "S1", required=False).tolist() == []
    with pytest.raises(DataError, match=r"'absent' has neither samples nor stimuli.*under ingest\.stimuli"):
        items.training_rows(study, "S1")
