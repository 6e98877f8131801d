"""The report's longer tables."""

from __future__ import annotations

import pandas as pd
import pytest

from hpc_recon.reporting import more_scores
from hpc_recon.reporting.words import NOTHING


@pytest.fixture
def study(make_study):
    return make_study(
        {
            "name": "tiny",
            "subjects": ["S1", "S2"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test", "title": "Photographs"}},
            "simulate": {"n_training": 10},
            "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
            "reconstruct": {"icnn": {"method": "icnn", "network": "vgg", "title": "Deep"}},
        }
    )


PLACE = {"split": "all", "roi": "VC", "dataset": "natural", "network": "vgg"}


def entry(metric, mean, **more):
    return {**PLACE, "subject": "S1", "metric": metric, "mean": mean, "low": None, "high": None, **more}


def texts(table):
    return [(row.name, row.note, *(cell.text for cell in row.cells)) for row in table.rows]


def test_every_score_has_a_column(study):
    images = [
        entry("identification", 0.9, variant="icnn", low=0.8, high=1.0),
        entry("rmse", 0.123, variant="icnn"),
        entry("mindeye.clip", 0.75, variant="icnn"),
        entry("rmse", 0.2, variant="mean_training_image", network=""),
        entry("rmse", 0.9, variant="icnn", roi="V1"),
    ]
    found = more_scores.all_images({"images": images}, study, roi="VC")
    assert found.columns == ("Identification", "RMSE", "mindeye: clip")
    assert texts(found) == [
        ("Deep", "Photographs, S1, vgg", "90\N{NO-BREAK SPACE}%", "0.12", "75\N{NO-BREAK SPACE}%"),
        ("mean training image", "Photographs, S1", NOTHING, "0.20", NOTHING),
    ]
    assert found.rows[0].cells[0].limits == "80\N{EN DASH}100"
    assert more_scores.all_images({"images": []}, study, roi="VC") is None


def test_layers_leave_out_the_limits_of_bands(study):
    layers = [
        entry(metric, 0.5, layer="conv1_1")
        for metric in ("profile_correlation", "profile_correlation_q25", "identification_top5", "pattern_correlation")
    ]
    found = more_scores.all_layers({"layers": layers}, study, roi="VC")
    assert found.columns == ("Profile correlation", "Top 5", "Pattern correlation")
    assert texts(found) == [("conv1_1", "vgg, Photographs, S1", "0.50", "50\N{NO-BREAK SPACE}%", "0.50")]


def test_pooled_tests_of_images_are_shown(study):
    own = {
        "layer": "", "variant": "icnn", "baseline": "", "metric": "identification", "subject": "", "n": 24, "mean": 0.9,
        "p_one_holm": 0.0004, "p_two_holm": 0.031, "rank_biserial": 0.8, "cohen_dz": None, "n_passing": 1,
        "n_subjects": 2, **PLACE,
    }  # fmt: skip
    entries = [
        own,
        {**own, "subject": "S1"},
        {**own, "layer": "conv1_1"},
        {**own, "baseline": "nearest_training_image", "metric": "ssim", "mean": -0.1},
    ]
    found = more_scores.tested({"tests": entries}, study, roi="VC")
    assert texts(found) == [
        ("Deep", "Photographs, Identification", "chance, 50\N{NO-BREAK SPACE}%", "0.90", "24", "< .001", ".031",
         "+0.80", NOTHING, "1 of 2"),
        ("Deep", "Photographs, SSIM", "nearest training image", "\N{MINUS SIGN}0.10", "24", "< .001", ".031",
         "+0.80", NOTHING, "1 of 2"),
    ]  # fmt: skip
    assert more_scores.tested({}, study, roi="VC") is None


def test_what_people_chose(study):
    result = {"variant": "icnn", "metric": "human_identification", "mean": 0.96, "low": 0.9, "high": 1.0, "n": 50,
              "wilcoxon": {"p": 0.2}}  # fmt: skip
    judged = {"sets": [{"dataset": "natural", "subject": "S1", "roi": "VC", "n_raters": 5, "fleiss_kappa": 0.61,
                        "results": [result]}]}  # fmt: skip
    found = more_scores.human(judged, study)
    assert texts(found) == [
        ("Deep", "Identification by people, natural, S1, VC", "96\N{NO-BREAK SPACE}%", "50", ".200", "5", "0.61")
    ]
    assert more_scores.human(None, study) is None


def test_methods_against_each_other(study):
    rows = [
        {**PLACE, "subject": "S1", "metric": "ssim", "variant": "icnn", "image": image, "value": value, "n": 3}
        for image, value in (("", 0.75), ("a", 1.0))
    ]
    rows.append({**rows[0], "split": "from-S2", "value": 0.25})  # converted activity is no sample of S1's own
    found = more_scores.winning(pd.DataFrame(rows), study, roi="VC")
    assert (found.columns, texts(found)) == (("SSIM",), [("Deep", "Photographs, S1", "75\N{NO-BREAK SPACE}%")])
    assert more_scores.winning(pd.DataFrame(rows), study, roi="V1") is None
