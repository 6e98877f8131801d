"""Task by area: which scores are analysed, against sums of squares written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpc_recon.evaluation import anova

TASKS, AREAS, LABELS = ("natural", "imagery"), ("V1", "V4", "VC"), tuple("abcdef")


@pytest.fixture
def study(make_study):
    datasets = {"training": {"role": "training"}, **{name: {"role": "test"} for name in (*TASKS, "letters")}}
    return make_study(datasets=datasets, rois=list(AREAS), subjects=["S1", "S2"])


@pytest.fixture
def tables():
    """Scores of six images of two subjects in two tasks and three ROIs; imagery as two single trials each."""
    rng = np.random.default_rng(0)
    items, rows = [], []
    for subject in ("S1", "S2"):
        for dataset in (*TASKS, "letters"):
            for label in LABELS if dataset != "letters" else "xyz":
                names = [label] if dataset != "imagery" else [f"{label}@01", f"{label}@02"]
                for name in names:
                    place = {"subject": subject, "split": "all", "dataset": dataset, "image": name}
                    items.append({**place, "label": label, "shows": "stimulus"})
                    for roi in AREAS:
                        value = 0.6 + 0.1 * (dataset == "natural") + 0.05 * (roi == "V4") + 0.1 * rng.normal()
                        rows.append({**place, "roi": roi, "network": "vgg", "layer": "conv", "n": 9, "value": value,
                                     "metric": "identification"})  # fmt: skip
    features = pd.DataFrame(rows)
    whole = {**rows[0], "image": "", "metric": "profile_correlation"}
    features = pd.concat([features, pd.DataFrame([whole])], ignore_index=True)
    return features, pd.DataFrame(columns=[*features.columns.drop("layer"), "variant"]), pd.DataFrame(items)


def test_datasets_over_the_same_stimuli_are_tasks(tables):
    assert anova.pairs(tables[2], ["letters", *TASKS]) == [TASKS]
    nothing = tables[2].assign(shows="category")
    assert anova.pairs(nothing, TASKS) == []


def test_the_unit_is_an_image_of_a_subject(study, tables):
    features, images, items = tables
    found = anova.entries(features, images, items, study=study, baselines=())
    assert [e["effect"] for e in found] == ["task", "area", "task x area"]
    assert all(
        (e["tasks"], e["rois"], e["layer"], e["variant"]) == ("natural imagery", "V1 V4", "conv", "") for e in found
    )
    assert [(e["df_effect"], e["df_error"]) for e in found] == [(1, 11)] * 3
    assert all((e["n_units"], e["n_subjects"], e["n_left_out"]) == (12, 2, 0) for e in found)
    # With two levels an effect is a paired t-test of the units' means: F = t^2.
    own = features[features["image"] != ""].assign(label=features["image"].str[0])
    cell = own.groupby(["subject", "label", "dataset", "roi"])["value"].mean().unstack(["dataset", "roi"])
    means = [cell[task][["V1", "V4"]].mean(axis=1) for task in TASKS]
    areas = [(cell["natural"][roi] + cell["imagery"][roi]) / 2 for roi in ("V1", "V4")]
    both = [cell[task]["V1"] - cell[task]["V4"] for task in TASKS]
    for entry, (one, other) in zip(found, (means, areas, both), strict=True):
        kept = one.notna() & other.notna()
        t = stats.ttest_rel(one[kept], other[kept])
        assert entry["F"] == pytest.approx(t.statistic**2)
        assert entry["p"] == pytest.approx(t.pvalue)


def test_an_image_without_a_score_in_some_cell_is_left_out(study, tables):
    features, images, items = tables
    gone = (features["image"] == "a") & (features["roi"] == "V4") & (features["subject"] == "S1")
    found = anova.entries(features[~gone], images, items, study=study, baselines=())
    assert (found[0]["n_units"], found[0]["n_left_out"], found[0]["df_error"]) == (11, 1, 10)


def test_variants_are_analysed_and_baselines_are_not(study, tables):
    features, _, items = tables
    images = pd.concat([features.assign(variant=name) for name in ("deep", "mean")]).drop(columns="layer")
    found = anova.entries(features[:0], images, items, study=study, baselines=("mean",))
    assert {e["variant"] for e in found} == {"deep"}
    assert len(found) == 3


def test_one_area_or_one_task_is_no_analysis(study, tables, make_study):
    features, images, items = tables
    one = study.model_copy(update={"rois": ("VC", "V1")})
    assert anova.entries(features, images, items, study=one, baselines=()) == []
    apart = items[items["dataset"] != "imagery"]
    assert anova.entries(features, images, apart, study=study, baselines=()) == []
