"""Images of one dataset scored: what is found of each method and baseline."""

from __future__ import annotations

import json

import numpy as np

from hpc_recon import evaluate
from hpc_recon.evaluation import images


def test_a_method_and_its_baselines(make_study, fill_workspace, run_verb):
    study = make_study(reconstruct={"direct": {"method": "pixels", "network": "pixels"}}, evaluate={"resamples": 100})
    fill_workspace(study)
    run_verb(evaluate, study)
    found = images.score(study, "direct", ("S1", "VC", "natural"))
    assert [tuple(own.place.values()) for own in found.scored] == [
        ("direct", "pixels"),
        ("nearest_training_image", "pixels"),
        ("mean_training_image", ""),
        ("true_class_mean", ""),
    ]
    retrieved = study.workspace / "scores/parts/images/direct/S1/VC/natural/retrieved.json"
    assert json.loads(retrieved.read_text()) == {"images": list(found.items), "nearest": list(found.nearest)}
    for own in found.scored:
        assert own.names == found.items
        assert all(np.isfinite(values).all() for values, _ in own.metrics.values())
