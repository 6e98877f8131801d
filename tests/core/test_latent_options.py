"""Options of latents: what contradicts itself is refused with its place."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.latent_options import LatentGenerator

PGGAN = {"kind": "pggan", "weights": "random:0", "resolution": 16, "n_inputs": 6}


def _entry(**keys):
    return {"face": {"method": "latent", "network": "z", "generator": PGGAN, **keys}}


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"generator": {"kind": "stylegan", "weights": "a.pt"}}, "kind must be pggan"),
        ({"generator": "pggan"}, "weights: own belongs to a python"),
        ({"generator": {"kind": "linear", "weights": "random:0"}}, "is there for pggan alone"),
        ({"generator": {**PGGAN, "output": [1, 0]}}, "black is the smaller"),
        ({"edits": {"attributes": ["smile"]}}, "'smile' is not under attributes"),
        ({"attributes": {"smile": {"file": "smile.npy", "conditions": ["smile"]}}}, "condition of itself"),
        ({"source": "true", "calibration": "norm"}, "with source: true leave it out"),
        ({"layers": ["w"]}, "layer 'w' is not decoded"),
    ],
)
def test_what_contradicts_itself_is_refused(latent_study, keys, what):
    with pytest.raises(StudyError, match=what):
        latent_study(_entry(**keys))


def test_calibration_by_training_needs_predictions_out_of_fold(latent_study):
    with pytest.raises(StudyError, match="out_of_fold: true"):
        latent_study(_entry(calibration="train_statistics"), fit={"n_voxels": 20})
    assert latent_study(_entry(calibration="train_statistics")).reconstruct["face"].method == "latent"


def test_latents_are_whole_and_not_corrected_twice(latent_study):
    with pytest.raises(StudyError, match=r"(?s)norm_correction: none.*leave out units"):
        latent_study(_entry(), units=3, decode={"norm_correction": "l2_norm"})


def test_black_and_white_follow_from_the_kind():
    assert LatentGenerator(kind="pggan", weights="random:0").levels == (-1.0, 1.0)
    assert LatentGenerator(kind="linear", weights="a.pt").levels == (0.0, 1.0)
    assert LatentGenerator(kind="pggan", weights="random:0").file is None
