"""Each warning of a study, caused."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.files import write_json
from hpc_recon.evaluation import cautions
from hpc_recon.stores import brain, statistics

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
}


def kinds(study, layers=(), few=()):
    return {entry["kind"]: entry["text"] for entry in cautions.collect(study, layers, few)}


def test_a_plain_study_has_none(make_study, fill_workspace):
    study = make_study(CONTENT)
    fill_workspace(study)
    assert kinds(study) == {}


@pytest.mark.parametrize(("scale", "offset"), [(100.0, 0.0), (1.0, 60.0), (0.01, 0.0)])
def test_test_samples_in_other_units_are_told(make_study, monkeypatch, scale, offset):
    rng = np.random.default_rng(0)
    training, test = rng.standard_normal((200, 30)), rng.standard_normal((40, 30))
    found = {"mean": training.mean(axis=0), "scale": training.std(axis=0, ddof=1)}
    study = make_study(CONTENT)
    shown = brain.Brain((offset + scale * test).astype(np.float32), tuple(f"s{i}" for i in range(40)))
    monkeypatch.setattr(statistics, "has", lambda *_: True)
    monkeypatch.setattr(statistics, "read", lambda *place: found[place[-1]])
    monkeypatch.setattr(brain, "read_brain", lambda *_: shown)
    monkeypatch.setattr(cautions.tables, "read_checked", lambda *_: {"label": ["a"] * 200})
    assert "natural of S1 looks preprocessed otherwise than training" in kinds(study)["preprocessing"]
    monkeypatch.setattr(brain, "read_brain", lambda *_: brain.Brain(test.astype(np.float32), shown.labels))
    assert kinds(study) == {}


def test_other_steps_of_bold_are_told(make_study, tmp_path):
    def dataset(**steps):
        run = {"file": "x.nii.gz", "events": "x.tsv"}
        return {"bold": {"mask": "x.nii.gz", "runs": [run], "labels": {"column": "label"}, **steps}}

    ingest = {
        "subjects": {"S1": {"datasets": {"training": dataset(), "natural": dataset(linear_trend=False, window_s=9)}}},
        "stimuli": {d: {"array": {"file": "x.npy"}} for d in ("training", "natural")},
    }
    study = make_study(CONTENT, simulate=None, ingest=ingest)
    (text,) = cautions._declared(study)
    assert text == "natural is made from BOLD otherwise than training (linear_trend False, not True), S1"


def test_norms_without_reference_images_are_told(make_study):
    study = make_study(CONTENT, decode={"norm_correction": "l2_norm"})
    assert "l2_norm restores the spread of the training stimuli" in kinds(study)["norms"]


def test_a_choice_at_the_edge_of_its_grid_is_told(make_study):
    layers = ["conv1_1", "conv2_1", "conv3_1"]
    study = make_study(CONTENT, networks={"vgg": {"architecture": "vgg11_quarter", "layers": layers}})
    folder = study.workspace / "choices" / "S1" / "VC" / "vgg"
    edge = "the chosen alpha 100 is the largest of its grid of 3; a wider grid may do better"
    for layer, warned in zip((*layers, "conv4_1"), ([edge, edge], [edge], [], [edge]), strict=True):
        write_json(folder / f"{layer}.json", {"warnings": warned})  # the last is no layer of the study any more
    write_json(study.workspace / "choices" / "S1.r1f01" / "VC" / "vgg" / "conv1_1.json", {"warnings": ["of a fold"]})
    assert kinds(study)["choice"] == f"{edge} (S1/VC/vgg/conv1_1, S1/VC/vgg/conv2_1)"


def test_few_images_are_told(make_study):
    text = kinds(make_study(CONTENT), few=[{"dataset": "natural", "n_images": 12}])["few_images"]
    assert text == "fewer than 30 test images: natural 12"


def test_layers_of_which_most_units_are_at_or_below_zero_are_named(make_study):
    place = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "natural", "network": "vgg"}
    layers = [
        {**place, "layer": layer, "metric": "profile_correlation_nonpositive", "mean": share, "n": 8}
        for layer, share in (("conv1_1", 0.5), ("conv5_1", 0.625))
    ]
    assert kinds(make_study(CONTENT), layers) == {
        "below_zero": "more than half of the units have a profile correlation of 0 or less in conv5_1 of vgg (S1, VC, "
        "natural: 62%)"
    }
