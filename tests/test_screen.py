"""Networks and layers ranked from a sample of units and from training data alone."""

from __future__ import annotations

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from hpc_recon import extract, screen, simulate
from hpc_recon.core.errors import StudyError
from hpc_recon.core.sampling import seed_of, unit_sample
from hpc_recon.decoding import inputs, screening
from hpc_recon.extraction import sampled
from hpc_recon.numerics.choice import deal_folds
from hpc_recon.stores import arrays, images, layout, shapes

CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 40, "n_natural": 3, "n_voxels": 60, "training_repeats": 2},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 20, "alpha": 10},
    "screen": {
        "units": 30,
        "resamples": 100,
        "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}},
    },
}


@pytest.fixture
def study(make_study, run_verb):
    made = make_study(CONTENT)
    run_verb(simulate, made)
    return made


def test_layers_are_ranked_without_test_data_or_extraction(study, run_verb, capsys):
    for subject in study.subjects:  # nothing may ask for them
        shutil.rmtree(study.workspace / "brain.zarr" / subject / "natural")
    tiles = run_verb(screen, study)
    assert [tile.stage for tile in tiles] == ["features", "features", *["fit"] * 4, "tables"]
    assert not (study.workspace / "features.zarr").exists()
    found = json.loads((study.workspace / "screen" / "screen.json").read_text())["layers"]
    means = {}
    for row in found:
        assert row["low"] <= row["mean"] <= row["high"]
        assert (row["n_units"], row["n_stimuli"]) == (30, 40)
        means.setdefault((row["rank"], row["layer"]), []).append(row["mean"])
    assert sorted(rank for rank, _ in means) == [1, 2, 3]
    order = [np.mean(values) for _, values in sorted(means.items())]
    assert order == sorted(order, reverse=True)
    assert order[0] > 0.3  # preset easy
    with (study.workspace / "screen" / "screen.csv").open(newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == [row["layer"] for row in found]

    options = SimpleNamespace(study=study.workspace.parent / "study.yaml", assignments=(), only=None, limit=None)
    assert screen._show(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:6] == ["rank", "network", "layer", "subject", "roi", "r"]
    assert [line.split()[2] for line in lines[2:-1]] == [row["layer"] for row in found]


def test_a_partial_run_says_that_there_is_no_ranking(study, capsys):
    options = SimpleNamespace(study=study.workspace.parent / "study.yaml", assignments=(), only=None, limit=None)
    assert screen._show(options) == 0
    assert "no ranking before all tiles are done" in capsys.readouterr().out


def test_sampled_features_are_those_that_extract_writes(study, run_verb, make_study):
    run_verb(screen, study)
    whole = make_study(CONTENT | {"networks": CONTENT["networks"] | CONTENT["screen"]["networks"], "screen": {}})
    run_verb(extract, whole)
    rows = screening.training_rows(study)
    assert len(rows) == 40
    size = shapes.read(study).image_size()
    for name, network in screening.candidates(study).items():
        wanted = sampled.candidate(study, name, network, size)
        for layer, units in wanted.units.items():
            every = arrays.read(study.workspace, layout.features(name, layer), rows, units)
            found = arrays.read(study.workspace, layout.screened(name, layer))
            np.testing.assert_allclose(found, every, rtol=1e-5, atol=1e-6)
            n_all = shapes.read(whole).n_units(name, layer)
            few = whole.model_copy(update={"units": 30})
            np.testing.assert_array_equal(units, unit_sample(few, name, layer, n_all))


def test_scores_are_those_of_decoders_fitted_without_the_fold(study, run_verb):
    """Ridge on the voxels that correlate most, written out for single units."""
    run_verb(screen, study)
    found = inputs.training(study, "S1", "VC")
    dealt = deal_folds(len(found.rows), 5, seed=seed_of(study.seed, "screen", "S1"))
    samples = np.asarray(found.samples, np.float64)
    Y = arrays.read(study.workspace, layout.screened("image", "pixels")).astype(np.float64)
    from hpc_recon.stores import tables

    columns = tables.read_checked(study.workspace, screening.units_table("image", "S1", "VC"))
    for unit in (0, 7, 21):
        predicted = np.empty(len(Y))
        for fold in range(5):
            kept = dealt[found.codes] != fold
            X, mean, deviation = samples[kept], samples[kept].mean(axis=0), samples[kept].std(axis=0, ddof=1)
            X = (X - mean) / deviation
            y = Y[found.codes[kept], unit]
            spread = y.std(ddof=1)
            z = (y - y.mean()) / spread
            best = np.argsort(-np.abs(X.T @ z), kind="stable")[:20]
            weights = np.linalg.solve(X[:, best].T @ X[:, best] + 10 * np.eye(20), X[:, best].T @ z)
            held = np.flatnonzero(dealt == fold)
            shown = np.stack([samples[found.codes == i].mean(axis=0) for i in held])
            predicted[held] = ((shown - mean) / deviation)[:, best] @ weights * spread + y.mean()
        p, t = (
            np.concatenate([v[dealt == f] - v[dealt == f].mean() for f in range(5)]) for v in (predicted, Y[:, unit])
        )
        oracle = (p @ t) / np.sqrt((p @ p) * (t @ t))
        assert columns["correlation"][unit] == pytest.approx(oracle, abs=1e-3)  # float32 systems


def test_what_screen_cannot_fit_is_refused(make_study):
    study = make_study(CONTENT | {"fit": {"n_voxels": "all", "alpha": 1}})
    with pytest.raises(StudyError, match=r"fit\.n_voxels=500"):
        screening.require_ridge(study)
    study = make_study(CONTENT | {"fit": {"n_voxels": "all", "estimator": "gradient"}})
    with pytest.raises(StudyError, match=r"estimator: gradient; add --set fit\.estimator=ridge"):
        screening.require_ridge(study)
    twice = make_study(CONTENT | {"screen": {"networks": CONTENT["networks"]}})
    with pytest.raises(StudyError, match="'image' is a network of the study already"):
        screening.candidates(twice)


def test_features_in_arrays_are_screened_too(make_study, run_verb, tmp_path):
    """Files of single stimuli were looked for: every stimulus was said to have none."""
    features = {"arrays": {"z": [{"file": "z.npy", "labels": "labels.txt"}]}}
    latents = {"z": {"architecture": "features", "features": features, "layers": ["z"]}}
    study = make_study(CONTENT | {"subjects": ["S1"], "networks": latents, "screen": {"units": 3, "resamples": 100}})
    run_verb(simulate, study)
    labels = images.read_table(study.workspace).labels
    (tmp_path / "labels.txt").write_text("\n".join(reversed(labels)) + "\n")
    values = np.random.default_rng(0).normal(size=(len(labels), 5)).astype(np.float32)
    np.save(tmp_path / "z.npy", values[::-1])
    run_verb(screen, study)
    own = sampled.candidate(study, "z", study.networks["z"], (16, 16))
    stored = arrays.read(study.workspace, layout.screened("z", "z"))
    np.testing.assert_array_equal(stored, values[screening.training_rows(study)][:, own.units["z"]])
