"""Latents of a dataset: true ones by their stimuli (the decoded ones are in test_latent, from brain to image)."""

from __future__ import annotations

import numpy as np

from hpc_recon import extract, ingest
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
