"""Options of the layer: the published schedule, unknown keys, mistakes that show beside the rest of a study."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.errors import StudyError
from hpc_recon.core.latent_layer_options import LatentLayerTraining

GIVEN = {"method": "latent_layer", "network": "z", "generator": {"kind": "pggan", "weights": "random:0"}}
PGGAN = {"kind": "pggan", "weights": "random:0", "resolution": 16, "n_inputs": 6}
TRAIN = {"method": "latent_layer", "network": "z", "generator": PGGAN}
E2E = {"method": "end_to_end", "profile": "tiny"}


def test_the_default_is_the_published_schedule():
    made = LatentLayerTraining(**GIVEN)
    assert (made.learning_rate, made.weight_decay, made.batch, made.steps) == (1e-5, 0.01, 30, 1500 * 1050 // 30)
    assert made.features is None
    assert made.inputs == "stored"
    assert LatentLayerTraining(**{**GIVEN, "generator": "python:a.b:c"}).generator.kind == "python:a.b:c"


@pytest.mark.parametrize(
    "wrong", [{"rate": 1}, {"features": {"weight": 0}}, {"features": {"images_at_once": 0}}, {"batch": 0}], ids=str
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        LatentLayerTraining(**{**GIVEN, **wrong})


def entries(train=None, face=None, **keys):
    return {
        "train": {"layer": {**TRAIN, **(train or {})}, "e2e": E2E},
        "reconstruct": {
            "face": {"method": "latent", "network": "z", "generator": PGGAN, "model": "layer", **(face or {})}
        },
        **keys,
    }


def test_a_trained_layer_needs_no_decoders_of_converted_subjects(latent_study):
    study = latent_study(**entries())
    assert study.image_sets("face") == [("S1", "VC", "natural")]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (entries({"network": "y"}), "train.layer.network: unknown network 'y'"),
        (entries({"layers": ["w"]}), "'z' has no layer 'w'"),
        (entries(units=3), "train.layer: a generator needs every number"),
        (entries(face={"model": "leyer"}), "unknown name 'leyer'; did you mean 'layer'"),
        (entries(face={"model": "e2e"}), "'e2e' is trained by end_to_end; name one of method latent_layer"),
        (entries({"subjects": ["S2"]}), "S1 not trained by 'layer'"),
        (entries(face={"calibration": "train_statistics"}), "not those of training stimuli out of fold"),
        (entries(face={"source": "true"}), "not those of training stimuli out of fold"),
        (
            {
                "train": {"layer": TRAIN},
                "reconstruct": {"e": {"method": "end_to_end", "network": "z", "model": "layer"}},
            },
            "'layer' is trained by latent_layer; name one of method end_to_end",
        ),
    ],
    ids=range(9),
)
def test_mistakes_beside_the_rest_of_a_study_are_named(latent_study, given, what):
    with pytest.raises(StudyError, match=what):
        latent_study(**given)
