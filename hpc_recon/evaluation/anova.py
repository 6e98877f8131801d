"""Task by area: analysis of variance of scores where test datasets share stimuli, as perception and imagery do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hpc_recon.core.config import Study
from hpc_recon.numerics import hypotheses

NAME = "anova.csv"
COLUMNS = (
    "tasks", "rois", "network", "layer", "variant", "metric", "effect", "F", "df_effect", "df_error", "p",
    "partial_eta_squared", "n_units", "n_subjects", "n_left_out",
)  # fmt: skip
#: Scores of layers and of images that are analysed.
METRICS = ("pattern_correlation", "identification", "pixel_correlation")
#: The ROI of all voxels holds the others, and is no area beside them.
_ALL_VOXELS = "VC"
_EFFECTS = {"A": "task", "B": "area", "A:B": "task x area"}
#: Fewer stimuli in common are no second task.
_LEAST_COMMON = 2


def pairs(items: pd.DataFrame, datasets: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of test datasets that share two stimuli or more, in the order of the study.

    Parameters
    ----------
    items
        `scores/items.csv`: dataset, label, and what it shows.
    """
    shown = items[items["shows"] == "stimulus"]
    labels = {name: set(shown.loc[shown["dataset"] == name, "label"]) for name in datasets}
    return [(a, b) for a, b in combinations(datasets, 2) if len(labels[a] & labels[b]) >= _LEAST_COMMON]


def entries(
    features: pd.DataFrame,
    images: pd.DataFrame,
    items: pd.DataFrame,
    *,
    study: Study,
    baselines: Sequence[str],
) -> list[dict[str, Any]]:
    """Return three entries (task, area, both) for each pair of datasets, layer or variant, and score.

    The unit is an image of a subject: its mean score over items (single trials) in every task and area. Units without a
    value in every cell are left out and counted.

    Parameters
    ----------
    features, images, items
        Tidy tables; splits other than `all` are left out.
    study
        Its test datasets are the tasks, its ROIs the areas; the one of all voxels is no area beside others.
    baselines
        Variants that are no reconstructions.
    """
    areas = [roi for roi in study.rois if roi != _ALL_VOXELS]
    tasks = pairs(items, study.test_datasets())
    if len(areas) < 2 or not tasks:
        return []
    label = items.loc[items["split"] == "all", ["subject", "dataset", "image", "label"]]
    scored = [features.assign(variant=""), images[~images["variant"].isin(baselines)].assign(layer="")]
    frame = pd.concat(scored, ignore_index=True)
    kept = (frame["split"] == "all") & frame["metric"].isin(METRICS) & frame["roi"].isin(areas) & (frame["image"] != "")
    frame = frame[kept].merge(label, on=["subject", "dataset", "image"])
    found = []
    for pair in tasks:
        own = frame[frame["dataset"].isin(pair)]
        for place, group in own.groupby(["network", "layer", "variant", "metric"], sort=False):
            shared = {"tasks": " ".join(pair), "rois": " ".join(areas)}
            names = dict(zip(("network", "layer", "variant", "metric"), map(str, place), strict=True))
            found += [{**shared, **names, **one} for one in _analysed(group, pair, areas)]
    return found


def _analysed(group: pd.DataFrame, tasks: Sequence[str], areas: Sequence[str]) -> list[dict[str, Any]]:
    cells = [(task, area) for task in tasks for area in areas]
    table = group.pivot_table("value", ["subject", "label"], ["dataset", "roi"], aggfunc="mean", dropna=False)
    table = table.reindex(columns=pd.MultiIndex.from_tuples(cells))
    common = table.dropna(how="all", subset=[cell for cell in cells if cell[0] == tasks[0]])
    common = common.dropna(how="all", subset=[cell for cell in cells if cell[0] == tasks[1]])
    whole = common.dropna()
    if len(whole) < 2:
        return []
    values = whole.to_numpy(dtype="float64").reshape(len(whole), len(tasks), len(areas))
    counts = {
        "n_units": len(whole),
        "n_subjects": int(whole.index.get_level_values("subject").nunique()),
        "n_left_out": len(common) - len(whole),
    }
    return [
        {
            "effect": _EFFECTS[name], "F": _number(effect.F), "df_effect": effect.df_effect,
            "df_error": effect.df_error, "p": _number(effect.p),
            "partial_eta_squared": _number(effect.partial_eta_squared), **counts,
        }
        for name, effect in hypotheses.repeated_measures_anova(values).items()
    ]  # fmt: skip


def _number(value: float) -> float | None:
    """Return a number as JSON and CSV know it; None where it is not finite."""
    return float(value) if np.isfinite(value) else None
