"""Coloured shapes: which stimuli are compared, and what a decoder of shape or of colour alone scores."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from hpc_recon import evaluate
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.evaluation import shapes

LABELS = [f"{colour}_{shape}" for colour in ("red", "green", "blue") for shape in ("disc", "ring")]


def test_rivals_share_one_of_both(make_study):
    study = make_study(evaluate={"shapes": {"natural": "labels"}})
    other_shape, other_colour = shapes.rivals(study, "natural", LABELS)
    for i, one in enumerate(LABELS):
        for j, two in enumerate(LABELS):
            (c1, s1), (c2, s2) = one.split("_"), two.split("_")
            assert other_shape[i, j] == (c1 == c2 and s1 != s2)
            assert other_colour[i, j] == (s1 == s2 and c1 != c2)
    assert shapes.rivals(make_study(), "natural", LABELS) is None


def test_a_decoder_of_shape_alone_scores_at_shape_alone(make_study):
    study = make_study(evaluate={"shapes": {"natural": "labels"}})
    compared = shapes.rivals(study, "natural", LABELS)
    shape = np.array([label.split("_")[1] for label in LABELS])
    rng = np.random.default_rng(0)
    total = np.zeros(2)
    for _ in range(400):
        similarity = (shape[:, None] == shape[None, :]) + 1e-3 * rng.random((6, 6))
        found = shapes.score(similarity, np.arange(6), compared)
        total += [found[name][0].mean() for name in ("shape_identification", "colour_identification")]
    # colour is guessed: 400 x 6 means of two draws, standard error below .01
    assert total[0] / 400 == 1.0
    assert total[1] / 400 == pytest.approx(0.5, abs=0.04)
    assert found["shape_identification"][1].tolist() == [1] * 6
    assert found["colour_identification"][1].tolist() == [2] * 6


def test_labels_of_another_form_are_named(make_study):
    study = make_study(evaluate={"shapes": {"natural": "labels"}})
    with pytest.raises(
        DataError, match=r"<colour>_<shape>, but 2 of the 3 stimuli of 'natural' are not \(disc, a_b_c\)"
    ):
        shapes.rivals(study, "natural", ["red_disc", "disc", "a_b_c"])


def test_a_file_gives_colours_and_shapes(make_study, tmp_path):
    path = tmp_path / "shapes.csv"
    study = make_study(evaluate={"shapes": {"natural": "shapes.csv"}})
    with pytest.raises(DataError, match=r"shapes\.csv cannot be read"):
        shapes.rivals(study, "natural", ["a", "b"])
    pd.DataFrame({"label": ["b", "a", "c"], "colour": ["red", "red", "NA"], "shape": ["x", "y", "x"]}).to_csv(path)
    other_shape, other_colour = shapes.rivals(study, "natural", ["a", "b", "c"])
    assert np.argwhere(other_shape).tolist() == [[0, 1], [1, 0]]
    assert np.argwhere(other_colour).tolist() == [[1, 2], [2, 1]]
    with pytest.raises(DataError, match=r"but 1 lack them \(d\)"):
        shapes.rivals(study, "natural", ["a", "d"])
    path.write_text("label,color,shape\na,red,x\n")
    with pytest.raises(DataError, match="must have the columns label, colour, shape, but has label, color, shape"):
        shapes.rivals(study, "natural", ["a"])


def test_images_of_a_study_are_scored(make_study, fill_workspace, run_verb, tmp_path):
    content = {"reconstruct": {"direct": {"method": "pixels", "network": "pixels"}}}
    options = {"resamples": 100, "shapes": {"natural": "shapes.csv"}}
    labels = [f"natural{i:03d}" for i in range(4)]
    pd.DataFrame({"label": labels, "colour": list("rrgg"), "shape": list("xyxy")}).to_csv(tmp_path / "shapes.csv")
    study = make_study(**content, evaluate=options)
    fill_workspace(study)
    tiles = run_verb(evaluate, study)
    summary = json.loads((study.workspace / "scores/summary.json").read_text())
    found = {e["metric"] for e in summary["images"] if e["variant"] == "direct"}
    assert {"shape_identification", "colour_identification"} <= found
    assert "shapes" in next(t.group.settings for t in tiles if t.stage == "images")
    wrong = make_study(**content, evaluate={"shapes": {"training": "labels"}})
    with pytest.raises(StudyError, match="'training' is no test dataset; there are: natural"):
        run_verb(evaluate, wrong)
    absent = make_study(**content, evaluate={"shapes": {"natural": "other.csv"}})
    with pytest.raises(StudyError, match=r"other\.csv does not exist"):
        run_verb(evaluate, absent)
