"""The command `convert`, and the chain that follows it: two simulated subjects."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from hpc_recon import convert, decode, evaluate, export, extract, fit, pipeline, simulate
from hpc_recon.conversion import blocks
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.loading import load_study
from hpc_recon.exchange import given_decoders
from hpc_recon.formats import decoder_trees, matlab
from hpc_recon.reporting import conversion
from hpc_recon.stores import arrays, brain, images, items, layout, shapes

CONTENT = {
    "name": "two",
    "subjects": ["S1", "S2"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test", "title": "Photographs"}},
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 6, "n_voxels": 80, "training_repeats": 2},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 30, "alpha": 10.0},
    "convert": {"pairs": ["S1-S2"], "alpha": 300, "pool": [1], "growth": [60], "permutations": 100},
    "evaluate": {"resamples": 100},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("two")
    (made / "study.yaml").write_text(yaml.safe_dump(CONTENT | {"workspace": str(made / "runs")}))
    return made


@pytest.fixture(scope="module")
def study(folder, run_verb):
    """The study through `evaluate`."""
    made = load_study(folder / "study.yaml", [])
    for verb in (simulate, extract, convert, fit, decode, evaluate):
        run_verb(verb, made)
    return made


def test_converted_samples_are_decoded_with_the_targets_decoders(study):
    """Averaged, converted, z-scored with the target's statistics, and decoded: written out."""
    workspace, name = study.workspace, study.decoded_name("image")
    made = brain.read_brain(workspace, "S2.from-S1", "natural")
    items = sorted(set(made.labels), key=list(images.read_table(workspace).labels).index)
    mean = np.stack([made.samples[[x == label for x in made.labels]].mean(axis=0) for label in items])
    own = brain.read_brain(workspace, "S2", "training").samples.astype(np.float64)
    Z = (mean - own.mean(axis=0)) / own.std(axis=0, ddof=1)
    parts = (arrays.read(workspace, layout.decoder("S2", "VC", name, "pixels", part)) for part in ("voxel", "weight"))
    expected = np.stack([Z[:, voxels] @ weights for voxels, weights in zip(*parts, strict=True)], axis=1)
    found = arrays.read(workspace, layout.decoded("S2.from-S1", "VC", "natural", name, "pixels"))
    correlations = [np.corrcoef(found[:, unit], expected[:, unit])[0, 1] for unit in range(768)]
    assert min(correlations) > 0.9999, "equal up to the scale and the mean of each unit"


def test_scores_are_told_within_converted_and_pooled(study):
    with (study.workspace / "scores" / "features.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "profile_correlation"]
    assert {(r["subject"], r["split"]) for r in rows} == {
        ("S1", "all"),
        ("S2", "all"),
        ("S2", "from-S1"),
        ("S2", "from-S1.n60"),
        ("S2", "with-1"),
    }


def test_tables_of_the_report_have_a_line_for_each(study):
    summary = json.loads((study.workspace / "scores" / "summary.json").read_text())
    (table,) = conversion.tables(summary, study, roi="VC")
    assert table.title == "Photographs, decoded features, decoders of S2"
    notes = ["within", "with 1 other", "converted from S1", "converted from S1, by 60 samples"]
    assert [row.note for row in table.rows] == notes
    curves = {(e["along"], e["metric"]): e for e in summary["converters"]}
    assert {along for along, _ in curves} == {"samples", "sources"}
    by = {(e["split"], e["metric"]): e["mean"] for e in summary["layers"] if e["subject"] == "S2"}
    for metric in ("profile_correlation", "identification"):
        samples, sources = curves["samples", metric], curves["sources", metric]
        assert (samples["x"], sources["x"]) == ([60, 120], [0, 1])
        assert samples["mean"] == pytest.approx([by["from-S1.n60", metric], by["from-S1", metric]])
        assert sources["mean"] == pytest.approx([by["all", metric], by["with-1", metric]])
        assert samples["within"] == pytest.approx(by["all", metric])


def test_what_was_decoded_of_converted_samples_is_exported(study, folder):
    command = ["--study", str(folder / "study.yaml"), "--subject", "S2"]
    assert export.main(["decoded", "--to", str(folder / "decoded"), *command]) == 0
    place = folder / "decoded" / "pixels" / "S2" / "VC" / "from-S1" / "decoded_features"
    stored = arrays.read(study.workspace, layout.decoded("S2.from-S1", "VC", "natural", "image", "pixels"))
    labels = [path.stem for path in sorted(place.iterdir())]
    found = np.stack([matlab.read_array(place / f"{label}.mat", "feat").ravel() for label in labels])
    names = list(items.read_shown(study, "S2.from-S1", "natural").names)
    np.testing.assert_array_equal(found, stored[[names.index(label) for label in labels]])
    assert export.main(["brain", "--to", str(folder / "brain"), *command]) == 0
    assert {path.name for path in (folder / "brain").glob("*.h5")} == {
        "S2_training.h5",
        "S2_natural.h5",
        "S2.from-S1_natural.h5",
        "S2.from-S1.n60_natural.h5",
        "S2.with-1_training.h5",
    }


@pytest.fixture(scope="module")
def exported(study, folder):
    """The decoders of S1, S2 and S2.with-1 in the lab's files."""
    assert export.main(["decoders", "--to", str(folder / "lab"), "--study", str(folder / "study.yaml")]) == 0
    return folder / "lab"


def test_decoders_of_pooled_samples_are_exported(study, exported):
    """What their files predict of the target's test samples is what they decoded: bdpy's formula, in float64."""
    model = exported / "pixels" / "S2" / "VC" / "with-1" / "model"
    scaling = decoder_trees.read_scaling(model)
    pooled = brain.read_brain(study.workspace, "S2.with-1", "training").samples.astype(np.float64)
    assert len(pooled) == 240
    np.testing.assert_allclose(scaling.x_mean, pooled.mean(axis=0), rtol=1e-5, atol=1e-5)
    test = brain.read_items(study, "S2.with-1", "natural").samples
    z, found = (test - scaling.x_mean) / scaling.x_norm, []
    for rows in decoder_trees.read_rows(model):
        weights = np.zeros((len(rows.bias), test.shape[1]))
        unit, slot = np.nonzero(rows.voxel != decoder_trees.UNUSED)
        weights[unit, rows.voxel[unit, slot]] = rows.weight[unit, slot]
        found.append(z @ weights.T + rows.bias)
    predicted = np.concatenate(found, axis=1) * scaling.y_norm + scaling.y_mean
    stored = arrays.read(study.workspace, layout.decoded("S2.with-1", "VC", "natural", "image", "pixels"))
    np.testing.assert_allclose(predicted, stored, rtol=2e-5, atol=2e-5)
    own = arrays.read(study.workspace, layout.decoded("S2", "VC", "natural", "image", "pixels"))
    assert np.abs(own - stored).max() > 1e-3, "the target's own decoders are others"


def test_converted_samples_are_decoded_by_decoders_from_files(study, exported, run_verb, tmp_path):
    content = CONTENT | {"workspace": str(tmp_path / "runs"), "fit": {"files": {"image": {"folders": str(exported)}}}}
    content["convert"] = {"pairs": ["S1-S2"], "alpha": 300, "permutations": 100}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    for name in ("brain.zarr", "stimuli.zarr", "features.zarr", "norms.zarr", "receipts/simulate", "receipts/extract"):
        ignore = shutil.ignore_patterns("S2.*")
        shutil.copytree(study.workspace / name, tmp_path / "runs" / name, ignore=ignore)
    other = load_study(tmp_path / "study.yaml", [])
    run_verb(convert, other)
    place = ("S2.from-S1", "VC", "image", "pixels")
    assert given_decoders.width(other, shapes.read(other), place) == 30, "projected before anything is read"
    run_verb(fit, other)
    run_verb(decode, other)
    found, known = (
        arrays.read(made.workspace, layout.decoded("S2.from-S1", "VC", "natural", "image", "pixels"))
        for made in (other, study)
    )
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-4 * known.std())
    with pytest.raises(StudyError, match=r"convert\.pool does not go with fit\.files"):
        load_study(tmp_path / "study.yaml", ["convert.pool=[1]"])


def test_what_learns_from_decoders_from_files_is_z_scored_as_they_are(study, exported, run_verb, tmp_path):
    """They were trained on other samples: their files have another mean and scale of each voxel."""
    shutil.copytree(exported, tmp_path / "lab")
    for name, (factor, shift) in {"x_mean": (1, 3), "x_norm": (2, 0)}.items():
        path = tmp_path / "lab" / "pixels" / "S2" / "VC" / "model" / f"{name}.mat"
        matlab.write_v73(path, {name: factor * matlab.read_array(path, name) + shift})
    content = CONTENT | {"workspace": str(tmp_path / "runs"), "fit": {"files": {"image": {"folders": "lab"}}}}
    training = {"steps": 20, "check_every": 5, "learning_rate": 0.01, "at_once": 20}
    content["convert"] = {"pairs": ["S1-S2"], "method": "content_loss", "content": training, "permutations": 100}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    for name in ("brain.zarr", "stimuli.zarr", "features.zarr", "norms.zarr", "receipts/simulate", "receipts/extract"):
        shutil.copytree(study.workspace / name, tmp_path / "runs" / name, ignore=shutil.ignore_patterns("S2.*"))
    other = load_study(tmp_path / "study.yaml", [])
    for verb in (fit, convert, decode):
        run_verb(verb, other)
    ((_, block),) = blocks.read(other, "S2.from-S1")
    own = brain.read_brain(study.workspace, "S2", "training").samples.astype(np.float64)
    np.testing.assert_allclose(block.y_mean, own.mean(axis=0) + 3, rtol=1e-5)
    np.testing.assert_allclose(block.y_scale, 2 * own.std(axis=0, ddof=1), rtol=1e-5)


def test_what_cannot_be_paired_is_said_before_anything_is_fitted(study):
    wrong = study.model_copy(update={"convert": study.convert.model_copy(update={"samples": 121})})
    with pytest.raises(DataError, match=r"asks for 121 paired samples, but S1 and S2 have 120 \(60 stimuli\)"):
        convert.prepare(wrong)
    wrong = study.model_copy(update={"convert": study.convert.model_copy(update={"alpha": "published"})})
    with pytest.raises(DataError, match="but there are 120"):
        convert.prepare(wrong)


def test_the_chain_has_the_step_only_with_the_section():
    assert "convert" not in pipeline.chain("simulate", start=None, through=None)
    found = pipeline.chain("simulate", start=None, through="fit", converts=True)
    assert found == ["simulate", "extract", "convert", "fit"]
    found = pipeline.chain("simulate", start=None, through="convert", converts=True, after_fit=True)
    assert found == ["simulate", "extract", "fit", "convert"], "what learns from decoders comes after them"


def test_killed_and_started_again(study, tmp_path, in_threads, plain_cluster, capfd):
    """The converter has its receipt when all processes die; only the rest is computed then."""
    content = CONTENT | {
        "workspace": str(tmp_path / "runs"),
        "convert": CONTENT["convert"] | {"permutations": 4000, "growth": []},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    for name in ("brain.zarr", "stimuli.zarr", "features.zarr", "receipts/simulate"):
        shutil.copytree(study.workspace / name, tmp_path / "runs" / name)
    arguments = ["--study", str(tmp_path / "study.yaml"), "--jobs", "1", *plain_cluster]
    command = [sys.executable, "-m", "hpc_recon.convert", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    done = tmp_path / "runs" / "receipts" / "convert" / "converters" / "S2.from-S1"
    until = time.monotonic() + 400
    while not list(done.glob("converters-*.json")) and time.monotonic() < until:
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    weights = layout.converter("S2.from-S1", "VC", "weight")
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs" / "converters.zarr").rglob("*") if p.is_file()}
    assert convert.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "the fitted converter is not fitted again"
    np.testing.assert_array_equal(arrays.read(tmp_path / "runs", weights), arrays.read(study.workspace, weights))
    assert "4 tiles done, 0 failed, 0 left" in capfd.readouterr().err
