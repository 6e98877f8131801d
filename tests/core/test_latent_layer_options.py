"""Options of the layer: the published schedule by default, one word for a generator, unknown keys refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.latent_layer_options import LatentLayerTraining

GIVEN = {"method": "latent_layer", "network": "z", "generator": {"kind": "pggan", "weights": "random:0"}}


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
