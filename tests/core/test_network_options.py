"""Networks and the files of their features."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from hpc_recon.core.errors import StudyError
from hpc_recon.core.network_options import Network

FILES: dict[str, Any] = {"architecture": "features", "features": {"folders": "lab"}, "layers": ["fc"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": None}, "needs features: {folders: ...}"),
        ({"weights": "a.pt", "image_size": 64}, "nothing to run, so weights, image_size would have no effect"),
        ({"architecture": "pixels"}, "pixels is the stimulus itself"),
        ({"features": {"folders": []}}, "give either folders or arrays"),
    ],
)
def test_features_from_files_need_what_they_need_and_nothing_else(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Network.model_validate({**FILES, **change})


def test_an_array_has_one_source_of_labels(latent_study):
    for more in ({}, {"labels": "a.txt", "dataset": "training"}):
        arrays = {"z": [{"file": "test.npy", **more}]}
        network = {"architecture": "features", "features": {"arrays": arrays}, "layers": ["z"]}
        with pytest.raises(StudyError, match="give either labels"):
            latent_study(networks={"z": network})


def test_folders_and_arrays_exclude_each_other_and_arrays_hold_every_layer(latent_study):
    array = {"file": "test.npy", "dataset": "natural"}
    for features, what in (
        ({}, "either folders or arrays"),
        ({"folders": "a", "arrays": {"z": [array]}}, "either folders or arrays"),
        ({"arrays": {"w": [array]}}, "no layer 'z'"),
    ):
        with pytest.raises(StudyError, match=what):
            latent_study(networks={"z": {"architecture": "features", "features": features, "layers": ["z"]}})
