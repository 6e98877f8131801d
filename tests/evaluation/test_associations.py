"""Rank correlation of columns of samples with identification of their images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpc_recon.evaluation import associations
from hpc_recon.reporting.tables import IMAGE_COLUMNS, ITEM_COLUMNS

VIVID = {"S1": [1.0, 2.0, 4.0, 3.0, 5.0], "S2": [2.0, np.nan, 1.0, 5.0, 3.0]}
SCORE = {"S1": [0.2, 0.5, 0.9, 1.0, 0.4], "S2": [0.1, 0.9, 0.3, 0.6, np.nan]}


def made(vivid=VIVID, score=SCORE, variants=("all",)):
    items = [
        {"subject": s, "split": "all", "dataset": "imagery", "image": f"i{k}", "label": f"i{k}", "shows": "stimulus",
         "n_averaged": 2, "run": k, "repeat": -k, "vividness": value}
        for s, values in vivid.items() for k, value in enumerate(values)
    ]  # fmt: skip
    place = {"split": "all", "roi": "VC", "dataset": "imagery", "network": "vgg", "n": 4}
    images = [
        {**place, "subject": s, "image": f"i{k}", "variant": variant, "metric": metric, "value": value}
        for s, values in score.items() for k, value in enumerate(values)
        for variant in variants for metric in ("identification", "ssim")
    ]  # fmt: skip
    return (
        pd.DataFrame(images, columns=list(IMAGE_COLUMNS)),
        pd.DataFrame(items, columns=[*ITEM_COLUMNS, "run", "repeat", "vividness"]),
    )


def test_each_subject_and_all_together_are_scipys():
    found = associations.entries(*made(variants=("all", "mean")), baselines=("mean",))
    assert [(e["subject"], e["n"], e["column"], e["variant"]) for e in found] == [
        ("S1", 5, "vividness", "all"), ("S2", 3, "vividness", "all"), ("", 8, "vividness", "all")
    ]  # fmt: skip
    x, y = np.array([*VIVID["S1"], *VIVID["S2"]]), np.array([*SCORE["S1"], *SCORE["S2"]])
    known = np.isfinite(x) & np.isfinite(y)
    oracle = stats.spearmanr(x[known], y[known])
    assert (found[2]["spearman"], found[2]["p"]) == (pytest.approx(oracle.statistic), pytest.approx(oracle.pvalue))
    assert found[0]["spearman"] == pytest.approx(stats.spearmanr(VIVID["S1"], SCORE["S1"]).statistic)


def test_nothing_is_said_of_few_items_or_of_what_does_not_vary():
    assert associations.entries(*made({"S1": [2.0] * 5}), baselines=()) == []
    assert associations.entries(*made({"S1": [1.0, 2.0]}), baselines=()) == []
    images, items = made()
    assert associations.entries(images, items.drop(columns="vividness"), baselines=()) == []
