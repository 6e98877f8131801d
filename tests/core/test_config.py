"""What the study model derives from its fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hpc_recon.core.config import Grid, Study, base_subject
from hpc_recon.core.sampling import unit_sample


def study(**changes: Any) -> Study:
    content: dict[str, Any] = {
        "name": "x",
        "subjects": ["S1", "S2"],
        "datasets": {"natural": {"role": "test"}, "training": {"role": "training"}, "shapes": {"role": "test"}},
        "simulate": {},
        "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    }
    return Study.model_validate(content | changes)


def test_datasets_by_role() -> None:
    assert study().training_dataset == "training"
    assert study().test_datasets() == ["natural", "shapes"]


def test_source_verb() -> None:
    assert study().source_verb == "simulate"
    assert study(simulate=None, ingest={"subjects": {}, "stimuli": {}}).source_verb == "ingest"


def test_splits_of_cross_validation() -> None:
    assert study().splits() == ["S1", "S2"]
    folds = {"folds": 2, "repeats": 2}
    found = study(
        simulate=None, ingest={"subjects": {}, "stimuli": {}, "cross_validation": folds}, subjects=["S1"]
    ).splits()
    assert found == ["S1", "S1.r1f01", "S1.r1f02", "S1.r2f01", "S1.r2f02"]
    assert {base_subject(name) for name in found} == {"S1"}


def test_decoded_name() -> None:
    assert study().decoded_name("vgg") == "vgg"
    assert study(units=100).decoded_name("vgg") == "vgg@100"


def test_network_of_undoes_decoded_name() -> None:
    sampled = study(units=100)
    assert sampled.network_of(sampled.decoded_name("vgg")) == "vgg"
    assert study().network_of("vgg") == "vgg"


def test_n_decoded_counts_what_is_sampled() -> None:
    for units, n_units in ((None, 500), (100, 500), (500, 500), (900, 500)):
        given = study(units=units)
        drawn = unit_sample(given, "vgg", "conv1_1", n_units)
        assert given.n_decoded(n_units) == (n_units if drawn is None else len(drawn))


def test_layer_sets_in_the_order_of_the_file() -> None:
    networks = {
        "b": {"architecture": "vgg11_quarter", "layers": ["conv2_1", "conv1_1"]},
        "a": {"architecture": "pixels", "layers": ["pixels"]},
    }
    found = study(networks=networks, rois=["V1", "VC"]).layer_sets()
    assert len(found) == 2 * 2 * 3
    assert found[:4] == [
        ("S1", "V1", "b", "conv2_1"),
        ("S1", "V1", "b", "conv1_1"),
        ("S1", "V1", "a", "pixels"),
        ("S1", "VC", "b", "conv2_1"),
    ]


def test_a_grid_or_a_number() -> None:
    fit = study(fit={"alpha": {"grid": [1, 10]}, "n_voxels": 30}).fit
    assert isinstance(fit.alpha, Grid)
    assert fit.alpha.grid == (1.0, 10.0)
    assert fit.n_voxels == 30


def test_studies_are_frozen() -> None:
    with pytest.raises(ValidationError):
        study().fit.alpha = 3.0  # type: ignore[misc]
