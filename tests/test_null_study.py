"""A simulated brain without any signal, through every command: nothing may be identified above chance.

This fails if anything of the test images leaks into the decoders, the baselines or the scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hpc_recon import decode, evaluate, extract, fit, reconstruct, simulate
from hpc_recon.stores import images

STUDY = {
    "name": "null",
    "subjects": ["S1", "S2"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "shapes": {"role": "test"},
        "letters": {"role": "test"},
    },
    "simulate": {
        "preset": "null",
        "image_size": 16,
        "n_training": 120,
        "n_natural": 40,
        "n_shapes": 30,
        "n_letters": 26,
        "n_voxels": 200,
        "training_repeats": 2,
    },
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 50, "alpha": 10.0},
    "reconstruct": {"direct": {"method": "pixels", "network": "image", "images_per_tile": 40}},
}


def identification(made: np.ndarray, seen: np.ndarray) -> float:
    """Return the mean share of distractors that correlate less with each image than its own stimulus does."""
    r = np.corrcoef(made, seen)[: len(made), len(made) :]
    wins = (r < np.diag(r)[:, None]).sum(axis=1)
    return float((wins / (len(made) - 1)).mean())


def test_no_signal_means_chance_within_two_standard_errors(make_study, run_verb) -> None:
    study = make_study(STUDY)
    for verb in (simulate, extract, fit, decode, reconstruct, evaluate):
        run_verb(verb, study)
    workspace: Path = study.workspace
    scores = pd.read_csv(workspace / "scores" / "images.csv")
    scores = scores[(scores.variant == "direct") & (scores.metric == "identification")]
    table = images.read_table(workspace)
    rng = np.random.default_rng(0)
    for (subject, dataset), rows in scores.groupby(["subject", "dataset"]):
        folder = workspace / "images" / "direct" / str(subject) / "VC" / str(dataset)
        made = np.stack([np.load(folder / f"{label}.npy").ravel() for label in rows.image])
        place = [table.labels.index(label) for label in rows.image]
        seen = images.read_images(workspace, np.array(place)).reshape(len(place), -1) / 255.0
        measured = float(rows.value.mean())
        assert abs(measured - identification(made, seen)) < 1e-6, "the score is what it says"
        # The standard error of chance: the same images, dealt to the stimuli at random.
        dealt = [identification(made[rng.permutation(len(made))], seen) for _ in range(400)]
        assert abs(np.mean(dealt) - 0.5) < 0.02
        assert abs(measured - 0.5) < 2 * np.std(dealt), f"{subject} {dataset}: {measured:.3f} +- {np.std(dealt):.3f}"
