"""Winning percentages of variants, against counting."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpc_recon.evaluation import winning


def _scores(values, *, metric="ssim", subject="S1"):
    """Rows of variants `a`, `b`, ... with one value an image; NaN: no row."""
    return [
        {"subject": subject, "split": "all", "roi": "VC", "dataset": "natural", "variant": name, "network": "vgg",
         "image": f"i{k}", "metric": metric, "value": value, "n": 3}
        for name, own in zip("abc", values, strict=False) for k, value in enumerate(own) if np.isfinite(value)
    ]  # fmt: skip


def test_shares_by_image_and_their_mean():
    rows = [*_scores([[3, 1, 2], [2, 1, np.nan], [1, 0, 5]]), *_scores([[1, 2], [3, 2]], metric="rmse", subject="S2")]
    rows += [{**row, "variant": "mean_training_image", "value": 9.0} for row in rows if row["variant"] == "a"]
    found = winning.table(pd.DataFrame(rows), baselines=("mean_training_image",))
    assert list(found.columns) == list(winning.COLUMNS)
    own = found[(found["subject"] == "S1") & (found["metric"] == "ssim")]
    by_image = {(row.variant, row.image): (row.value, row.n) for row in own.itertuples()}
    assert by_image == {
        ("a", "i0"): (1.0, 2), ("a", "i1"): (0.75, 2), ("a", "i2"): (0.0, 1), ("a", ""): (pytest.approx(1.75 / 3), 3),
        ("b", "i0"): (0.5, 2), ("b", "i1"): (0.75, 2), ("b", ""): (0.625, 2),
        ("c", "i0"): (0.0, 2), ("c", "i1"): (0.0, 2), ("c", "i2"): (1.0, 1), ("c", ""): (pytest.approx(1 / 3), 3),
    }  # fmt: skip
    less_is_better = found[(found["subject"] == "S2") & (found["image"] == "")].set_index("variant")["value"]
    assert less_is_better.to_dict() == {"a": 0.75, "b": 0.25}


def test_one_variant_has_no_opponents():
    assert winning.table(pd.DataFrame(_scores([[3, 1, 2]])), baselines=()).empty


def test_converted_activity_is_told_from_the_subjects_own():
    rows = _scores([[3, 1], [2, 0]])
    rows += [{**row, "split": "from-S2", "value": -row["value"]} for row in rows]
    found = winning.table(pd.DataFrame(rows), baselines=())
    means = found[(found["image"] == "") & (found["variant"] == "a")].set_index("split")["value"]
    assert means.to_dict() == {"all": 1.0, "from-S2": 0.0}
    assert not found.duplicated(["subject", "split", "roi", "dataset", "metric", "variant", "image"]).any()
