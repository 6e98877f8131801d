"""What the study model derives from its fields."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hpc_recon.core.config import Grid, Study, base_subject


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


def test_a_grid_or_a_number() -> None:
    fit = study(fit={"alpha": {"grid": [1, 10]}, "n_voxels": 30}).fit
    assert isinstance(fit.alpha, Grid)
    assert fit.alpha.grid == (1.0, 10.0)
    assert fit.n_voxels == 30


def test_studies_are_frozen() -> None:
    with pytest.raises(ValidationError):
        study().fit.alpha = 3.0  # type: ignore[misc]
