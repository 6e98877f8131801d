"""Tests of a table of scores, against scipy on the same values and corrections made by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpc_recon.evaluation import significance

BASELINES = ("nearest_training_image", "mean_training_image")
CHANCE = {"identification": 0.5, "pattern_correlation": 0.0}


def layers(**means: float) -> pd.DataFrame:
    """Identification of 12 images of two subjects by layer; S2 is at chance."""
    rng = np.random.default_rng(0)
    place = {"split": "all", "roi": "VC", "dataset": "natural", "network": "vgg", "metric": "identification"}
    return pd.DataFrame(
        {**place, "layer": layer, "subject": subject, "image": f"i{k}", "value": value, "n": 11}
        for layer, mean in means.items()
        for subject in ("S1", "S2")
        for k, value in enumerate(rng.normal(mean if subject == "S1" else 0.5, 0.1, 12))
    )


def pictures() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    place = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "natural", "metric": "pixel_correlation", "n": 9}
    sets = [("deep", "vgg", 0.6), ("nearest_training_image", "vgg", 0.3), ("nearest_training_image", "other", 0.9),
            ("mean_training_image", "", 0.55)]  # fmt: skip
    return pd.DataFrame(
        {**place, "variant": variant, "network": network, "image": f"i{k}", "value": value}
        for variant, network, mean in sets
        for k, value in enumerate(rng.normal(mean, 0.1, 15))
    )


def find(entries, **where):
    found = [e for e in entries if all(e[key] == value for key, value in where.items())]
    assert len(found) == 1
    return found[0]


def entries_of(features=None, images=None):
    empty_features = layers(a=0.5).iloc[:0]
    empty_images = pictures().iloc[:0]
    return significance.entries(
        empty_features if features is None else features,
        empty_images if images is None else images,
        chance=CHANCE, baselines=BASELINES,
    )  # fmt: skip


def test_each_subject_and_all_together_are_tested_against_chance():
    frame = layers(conv1=0.8, conv2=0.5)
    entries = entries_of(frame)
    assert len(entries) == 2 * 3
    for subject in ("S1", "S2", ""):
        own = frame[(frame["layer"] == "conv1") & (frame["subject"].isin([subject] if subject else ["S1", "S2"]))]
        found = find(entries, layer="conv1", subject=subject)
        assert found["p_one"] == pytest.approx(stats.wilcoxon(own["value"] - 0.5, alternative="greater").pvalue)
        assert found["p_two"] == pytest.approx(stats.wilcoxon(own["value"] - 0.5).pvalue)
        assert (found["n"], found["chance"]) == (len(own), 0.5)
        assert found["mean"] == pytest.approx(own["value"].mean())


def test_subjects_passing_are_counted_after_correction():
    entries = entries_of(layers(conv1=0.8, conv2=0.5, conv3=0.8))
    pooled = find(entries, layer="conv1", subject="")
    assert (pooled["n_passing"], pooled["n_subjects"]) == (1, 2)
    pooled = find(entries, layer="conv2", subject="")
    assert (pooled["n_passing"], pooled["n_subjects"]) == (0, 2)
    ps = sorted(find(entries, layer=layer, subject="S1")["p_one"] for layer in ("conv1", "conv2", "conv3"))
    by_hand = [3 * ps[0], max(3 * ps[0], 2 * ps[1]), max(3 * ps[0], 2 * ps[1], ps[2])]
    found = sorted(find(entries, layer=layer, subject="S1")["p_one_holm"] for layer in ("conv1", "conv2", "conv3"))
    assert found == pytest.approx(np.minimum(by_hand, 1))


def test_reconstructions_are_paired_with_the_baselines_of_their_own_network():
    frame = pictures()
    entries = entries_of(images=frame)
    assert {e["baseline"] for e in entries} == set(BASELINES), "pixel correlation has no chance level of its own"
    found = find(entries, baseline="nearest_training_image", subject="S1")
    values = {key: own["value"].to_numpy() for key, own in frame.groupby(["variant", "network"])}
    gain = values["deep", "vgg"] - values["nearest_training_image", "vgg"]
    assert found["mean"] == pytest.approx(gain.mean())
    assert found["p_one"] == pytest.approx(stats.wilcoxon(gain, alternative="greater").pvalue)
    assert found["chance"] is None
    other = find(entries, baseline="mean_training_image", subject="S1")
    smaller, larger = sorted([found["p_one"], other["p_one"]])
    assert min(found["p_one_holm"], other["p_one_holm"]) == pytest.approx(2 * smaller)
    assert max(found["p_one_holm"], other["p_one_holm"]) == pytest.approx(max(2 * smaller, larger))


def test_undefined_scores_are_left_out_and_become_null():
    frame = layers(conv1=0.8)
    frame.loc[frame["subject"] == "S2", "value"] = np.nan
    entries = entries_of(frame)
    found = find(entries, subject="S2")
    assert (found["n"], found["p_one"], found["n_passing"]) == (0, None, 0)
    assert find(entries, subject="")["n"] == 12
    json.dumps(entries, allow_nan=False)


def test_nothing_scored_is_nothing_tested():
    assert entries_of() == []
