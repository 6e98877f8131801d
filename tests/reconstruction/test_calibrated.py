"""Latents of a dataset: true ones by their stimuli (the decoded ones are in test_latent, from brain to image)."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon import decode, evaluate, extract, fit, ingest, reconstruct, train
from hpc_recon.core.errors import MissingStore
from hpc_recon.evaluation import latents as scored
from hpc_recon.reconstruction import calibrated
from hpc_recon.stores import arrays, items, layout


def test_true_latents_come_in_the_order_asked_for(latent_study, run_verb):
    entry = {"method": "latent", "network": "z", "generator": {"kind": "pggan", "weights": "g.pt"}}
    study = latent_study({"faces": {**entry, "source": "true"}})
    run_verb(ingest, study)
    run_verb(extract, study)
    stored = arrays.read(study.workspace, layout.features("z", "z"))
    rows = np.array([41, 3, 41])
    np.testing.assert_array_equal(items.true_features(study, "z", "z", rows), stored[rows])

    (place,) = study.image_sets("faces")
    found = calibrated.latents(study, study.reconstruct["faces"], place)
    shown = items.read_shown(study, place[0], place[2]).rows
    np.testing.assert_array_equal(found, stored[shown[shown >= 0]])


def test_a_trained_layer_s_latents_are_rendered_and_scored(latent_study, run_verb, tmp_path):
    """Trained to its end the layer is ridge; its latents are those beside the images, and they are calibrated."""
    generator = {"kind": "pggan", "weights": "g.pt"}
    layer = {
        "method": "latent_layer",
        "network": "z",
        "generator": generator,
        "inputs": "z_scored",
        "learning_rate": 0.01,
        "weight_decay": 0.02,
        "batch": 40,
        "steps": 900,
        "steps_per_tile": 500,
        "log_every": 90,
    }
    entry = {"method": "latent", "network": "z", "generator": generator, "model": "layer", "images_per_tile": 6}
    entries = {
        "own": entry,
        "long": {**entry, "calibration": "norm"},
        "across": {**entry, "calibration": "test_statistics"},
    }
    study = latent_study(entries, train={"layer": layer})
    for verb in (ingest, extract):
        run_verb(verb, study)
    with pytest.raises(MissingStore, match="train/layer/S1/VC was not trained to step 900"):
        reconstruct.prepare(study)
    run_verb(train, study)
    run_verb(reconstruct, study)
    found = {
        name: calibrated.latents(study, options, ("S1", "VC", "natural")) for name, options in study.reconstruct.items()
    }
    file, test = np.load(tmp_path / "lab.npz"), np.load(tmp_path / "test.npy")
    X, T = file["X"], file["T"]
    mean, scale = X.mean(axis=0), X.std(axis=0)
    Z, new = (X - mean) / scale, (file["X_test"] - mean) / scale
    ones = np.column_stack([Z, np.ones(40)])  # the bias decays too
    W = np.linalg.solve(ones.T @ ones + 0.02 * 40 * 6 * np.eye(21), ones.T @ T)
    np.testing.assert_allclose(found["own"], np.column_stack([new, np.ones(6)]) @ W, atol=0.01)
    assert np.corrcoef(found["own"].ravel(), test.ravel())[0, 1] > 0.8
    np.testing.assert_allclose(np.linalg.norm(found["long"], axis=1), 6**0.5, rtol=1e-5)
    np.testing.assert_allclose(found["across"].std(axis=0), T.std(axis=0), rtol=1e-4)
    for verb in (fit, decode, evaluate):
        run_verb(verb, study)
    summary = scored.read(study)["own", ("S1", "VC", "natural")]
    assert summary["mean"]["cosine"] > 0.7
