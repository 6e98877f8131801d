"""The summary of scores: folds are pooled by image, baselines are paired by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from hpc_recon.evaluation import summary
from hpc_recon.reporting import tables

PLACE = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "test", "variant": "direct", "network": "pixels"}


@dataclass(frozen=True)
class Plain:
    mean: float
    low: float
    high: float
    n: int
    n_missing: int


def interval(values, names):
    kept = values[~np.isnan(values)]
    return Plain(float(kept.mean()), float(kept.min()), float(kept.max()), len(kept), len(values) - len(kept))


def frame(rows, columns=tables.IMAGE_COLUMNS):
    return pd.DataFrame(rows, columns=list(columns))


NO_FEATURES = frame([], tables.FEATURE_COLUMNS).astype({"value": "float64", "n": "int64"})


def test_folds_are_averaged_by_image_before_the_interval():
    rows = [
        {**PLACE, "split": split, "image": image, "metric": "ssim", "value": value, "n": 1}
        for split, image, value in [("r1f01", "a", 0.0), ("r1f02", "b", 1.0), ("r2f01", "b", 0.0), ("r2f02", "a", 0.4)]
    ]
    found = summary.summarise(NO_FEATURES, summary.pool_folds(frame(rows)), interval=interval)["images"]
    assert len(found) == 1
    assert found[0]["split"] == "cross_validation"
    assert found[0]["n"] == 2
    assert (found[0]["low"], found[0]["high"]) == pytest.approx((0.2, 0.5))


def test_differences_pair_images_and_keep_to_their_network():
    def rows(variant, network, values):
        place = {**PLACE, "variant": variant, "network": network}
        return tables.item_rows(place, list("abc")[: len(values)], metrics={"ssim": (values, 1)})

    images = frame(
        rows("direct", "pixels", [0.5, 0.7, 0.9])
        + rows("nearest_training_image", "pixels", [0.1, 0.2])
        + rows("nearest_training_image", "vgg", [0.0, 0.0, 0.0])
        + rows("mean_training_image", "", [0.4, 0.4, 0.4])
    )
    found = summary.summarise(NO_FEATURES, images, interval=interval)["differences"]
    assert {(d["baseline"], d["n"]) for d in found} == {("nearest_training_image", 2), ("mean_training_image", 3)}
    nearest = next(d for d in found if d["baseline"] == "nearest_training_image")
    assert nearest["mean"] == pytest.approx(0.45)


def test_nan_becomes_null_and_is_counted():
    rows = tables.item_rows(PLACE, ["a", "b"], metrics={"ssim": ([float("nan"), 0.5], 1)})
    found = summary.summarise(NO_FEATURES, frame(rows), interval=interval)["images"][0]
    assert (found["mean"], found["n"], found["n_missing"]) == (0.5, 1, 1)
    layer = {"subject": "S1", "split": "all", "roi": "VC", "dataset": "d", "network": "n", "layer": "l", "image": ""}
    features = frame(
        [{**layer, "metric": "profile_correlation", "value": float("nan"), "n": 0}], tables.FEATURE_COLUMNS
    )
    assert summary.summarise(features, frame(rows), interval=interval)["layers"][0]["mean"] is None
