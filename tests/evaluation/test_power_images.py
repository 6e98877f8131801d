"""Images from parts of the data: the derived study, run to its end, against the study's own images."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from hpc_recon import control, decode, extract, fit, power, reconstruct, report, simulate
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.evaluation import images, power_images
from hpc_recon.stores import brain, shapes
from hpc_recon.stores import images as stimuli

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "shapes": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 24, "n_natural": 5, "n_shapes": 4, "n_voxels": 50,
                 "training_repeats": 2},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 20, "alpha": 10},
    "reconstruct": {"direct": {"method": "pixels", "network": "image"}},
    "power": {"reconstruct": {"stimuli": 4, "draws": 1, "images": [0.5], "repeats": [1], "voxels": [0.5],
                              "trials": [1]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def study(make_study, run_verb, kept):
    made = make_study(CONTENT, workspace=str(kept / "runs"))
    if not made.workspace.exists():
        for verb in (simulate, extract):
            run_verb(verb, made)
        for verb in (control, fit, decode, reconstruct):
            run_verb(verb, power_images.derive(made))
    return made


def test_a_derived_study_is_an_ordinary_one(study, tmp_path):
    derived = power_images.derive(study)
    path = tmp_path / "derived.yaml"
    path.write_text(save_study(derived))
    assert load_study(path) == derived
    assert derived.subjects == ("S1-all", "S1-images12-1", "S1-repeats1-1", "S1-voxels50-1")
    assert derived.image_sets("direct") == [
        ("S1-all", "VC", "natural"), ("S1-all", "VC", "natural-trials1-1"),
        *((name, "VC", "natural") for name in derived.subjects[1:]),
    ]  # fmt: skip
    assert list(power_images.announced(study, derived)) == [
        "power --images: direct makes 4 images of natural from 5 parts of the data (20 images); 4 fits of all units of "
        "1 layers"
    ]


def test_all_there_is_makes_the_images_of_the_study(study, run_verb):
    for verb in (fit, decode, reconstruct):
        run_verb(verb, study)
    derived = power_images.derive(study)
    items = brain.read_item_table(derived, "S1-all", "natural")
    size = {"size": (16, 16)}
    own = images.reconstructions(study, "direct", ("S1", "VC", "natural"), items.names, **size)
    found = images.reconstructions(derived, "direct", ("S1-all", "VC", "natural"), items.names, **size)
    np.testing.assert_allclose(found, own, atol=1e-5)

    curves = {curve.curve: curve for curve in power_images.collect(study, "S1", "VC")}
    assert {name: curve.x for name, curve in curves.items()} == {
        "images": (12, 24), "repeats": (1, 2), "voxels": (25, 50), "trials": (1, 24),
    }  # fmt: skip
    true = stimuli.read_images(study.workspace, items.rows) / 255
    r = np.array([[np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in true] for a in own])
    wins = [np.mean([r[i, i] > r[i, j] for j in range(4) if j != i]) for i in range(4)]
    for curve in curves.values():
        assert curve.values["pixel_correlation"].shape == (1, 2, 4)
        np.testing.assert_allclose(curve.values["pixel_correlation"][0, -1], np.diagonal(r), atol=1e-4)
        np.testing.assert_allclose(curve.values["identification"][0, -1], wins, atol=1e-9)
    assert np.abs(np.diff(curves["trials"].values["pixel_correlation"], axis=1)).max() > 0.01
    training = stimuli.read_images(study.workspace, np.arange(24)).mean(axis=0)
    floor = np.mean([np.corrcoef(training.ravel(), image.ravel())[0, 1] for image in true])
    assert power_images.floor(study, "S1") == pytest.approx(floor, abs=1e-4)


def test_files_of_a_lab_stay_mapped_for_the_dataset_alone(study, make_study, tmp_path):
    names = ("training", "natural", "shapes")
    own = {"S1": {"datasets": {d: {"samples": {"file": "x.npy"}} for d in names}}}
    ingest = {"subjects": own, "stimuli": {d: {"array": {"file": "x.npy"}} for d in names}}
    lab = make_study({**CONTENT, "simulate": None}, ingest=ingest, workspace=str(study.workspace))
    derived = power_images.derive(lab)
    assert set(derived.ingest.subjects["S1-all"].datasets) == {"training", "natural"}
    path = tmp_path / "derived.yaml"
    path.write_text(save_study(derived))
    assert load_study(path) == derived
    assert derived.test_datasets("S1-all") == ["natural", "natural-trials1-1"]


def test_what_makes_no_images_is_said(make_study):
    study = make_study(CONTENT | {"power": {"reconstruct": {"variant": "dirct", "dataset": "faces"}}})
    with pytest.raises(StudyError, match=r"power\.reconstruct\.variant.*'dirct' is not.*did you mean") as caught:
        power_images.choose(study)
    assert "'faces' is no test dataset with identification: true; there are natural, shapes" in str(caught.value)
    with pytest.raises(StudyError, match="the study has none; add one"):
        power_images.choose(make_study({k: v for k, v in CONTENT.items() if k not in ("power", "reconstruct")}))


def test_the_verb_writes_curves_that_the_report_shows(study, capsys):
    (before,) = report.plan(study, shapes.read(study))
    assert report._power_images(study, before, roi="VC") is None
    assert power._write_images(study, power_images.derive(study)) == 0
    printed = capsys.readouterr().out
    assert "direct, natural: mean of 4 images and 1 draw, from decoders of all units" in printed
    assert "the mean training image correlates" in printed
    assert "48 instead of 24 trials" in printed
    with (study.workspace / "power" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["curve"], row["metric"]) for row in rows} == {
        (curve, metric) for curve in ("images", "repeats", "voxels", "trials") for metric in power_images.METRICS
    }
    measured = [row for row in rows if (row["kind"], row["curve"]) == ("measured", "images")]
    assert [row["x"] for row in measured] == ["12.0", "24.0"] * 2
    assert len(list((study.workspace / "power" / "figures").glob("images-direct-*.png"))) == 4
    (after,) = report.plan(study, shapes.read(study))
    assert after.group.settings != before.group.settings, "a finished page is made anew"
    shown = report._power_images(study, after, roi="VC")
    assert len(shown.panels) == 4
    assert shown.sentences[0].startswith("direct, natural: mean of 4 images")
    other = study.model_copy(update={"subjects": ("S2",)})
    assert "run power --images again" in report._power_images(other, after, roi="VC").sentences[0]
