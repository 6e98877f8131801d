"""The summary of tidy scores: means over images with intervals, and reconstructions against baselines, image by image.

Folds of a cross-validation are pooled (`cross_validation`): the mean over repeats of each image, then an interval over
images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.score_names import BASELINES, CROSS_VALIDATION
from hpc_recon.numerics.scores import Interval

#: From the values of the images and the names that make the seed, the mean and its interval.
MakeInterval = Callable[[Array, tuple[str, ...]], Interval]


def summarise(features: pd.DataFrame, images: pd.DataFrame, *, interval: MakeInterval) -> dict[str, Any]:
    """Return means and intervals of everything, as plain values for JSON (NaN becomes null).

    Parameters
    ----------
    features, images
        Scores with folds pooled (`pool_folds`).

    Returns
    -------
    dict
        `layers`: one entry a subject, split, ROI, dataset, network, layer and metric;
        `images`: one entry a subject, split, ROI, dataset, variant, network and metric;
        `differences`: reconstruction minus baseline, paired by image.
    """
    layer_keys = ["subject", "split", "roi", "dataset", "network", "layer", "metric"]
    image_keys = ["subject", "split", "roi", "dataset", "variant", "network", "metric"]
    whole = features["image"] == ""
    return {
        "layers": [
            *_means(features[~whole], layer_keys, interval),
            *_values(features[whole], layer_keys),
        ],
        "images": _means(images, image_keys, interval),
        "differences": _differences(images, interval),
    }


def pool_folds(frame: pd.DataFrame) -> pd.DataFrame:
    """Name every fold `cross_validation` and average what then is of one place, metric and image (its repeats).

    Splits of converted and of pooled samples (`from-S1`, `with-2`) are no folds, and stay what they are.
    """
    keys = [column for column in frame.columns if column not in ("value", "n")]
    is_fold = frame["split"].astype(str).str.fullmatch(r"r\d+f\d+").astype(bool)
    pooled = frame.assign(split=frame["split"].mask(is_fold, CROSS_VALIDATION))
    return pooled.groupby(keys, sort=False, as_index=False).agg(value=("value", "mean"), n=("n", "max"))


def _means(frame: pd.DataFrame, keys: list[str], interval: MakeInterval) -> list[dict[str, Any]]:
    """Mean and interval over images of every group of rows."""
    entries = []
    for names, group in frame.groupby(keys, sort=False):
        found = interval(group["value"].to_numpy(dtype="float64"), tuple(map(str, names)))
        entries.append({**dict(zip(keys, names, strict=True)), **_plain(found)})
    return entries


def _values(frame: pd.DataFrame, keys: list[str]) -> list[dict[str, Any]]:
    """Entries without an interval: what has one value a layer, not one an image."""
    return [
        {
            **{key: row[key] for key in keys},
            "mean": _number(row["value"]),
            "low": None,
            "high": None,
            "n": int(row["n"]),
        }
        for row in frame.to_dict("records")
    ]


def _differences(images: pd.DataFrame, interval: MakeInterval) -> list[dict[str, Any]]:
    """Reconstruction minus baseline, image by image."""
    place = ["subject", "split", "roi", "dataset", "metric"]
    entries: list[dict[str, Any]] = []
    is_baseline = images["variant"].isin(BASELINES)
    for names, group in images[~is_baseline].groupby([*place, "variant", "network"], sort=False):
        own = dict(zip([*place, "variant", "network"], names, strict=True))
        others = images[is_baseline]
        for key in place:
            others = others[others[key] == own[key]]
        # A baseline that depends on a network is compared with the reconstructions from that network.
        others = others[(others["network"] == "") | (others["network"] == own["network"])]
        for baseline, other in others.groupby("variant", sort=False):
            pairs = group.merge(other, on="image", suffixes=("", "_baseline"))
            gain = (pairs["value"] - pairs["value_baseline"]).to_numpy(dtype="float64")
            found = interval(gain, (*map(str, names), str(baseline)))
            entries.append({**own, "baseline": str(baseline), **_plain(found)})
    return entries


def _plain(found: Interval) -> dict[str, Any]:
    numbers = {"mean": _number(found.mean), "low": _number(found.low), "high": _number(found.high)}
    return {**numbers, "n": found.n, "n_missing": found.n_missing}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
