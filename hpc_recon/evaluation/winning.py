"""Winning percentages: how often the image of one variant is better than those of the others, score by score.

Shen et al. (2019) compare layer combinations so: 28 pairs of eight combinations, 50 images each, ties half a win.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from hpc_recon.numerics import judgements

NAME = "winning.csv"
#: Scores of an image by which variants are compared, those where less is better with their sign changed.
METRICS = {"pixel_correlation": 1, "ssim": 1, "identification": 1, "rmse": -1}
COLUMNS = ("subject", "split", "roi", "dataset", "metric", "variant", "image", "value", "n")
_PLACE = ["subject", "split", "roi", "dataset", "metric"]


def table(images: pd.DataFrame, *, baselines: Collection[str]) -> pd.DataFrame:
    """Return what share of the other variants each variant beats, a row an image, then one a split without an image.

    Parameters
    ----------
    images
        Tidy scores of images, folds of a cross-validation already joined.
    baselines
        Entries of the column `variant` that are no methods of the study.

    Returns
    -------
    DataFrame
        `COLUMNS`: `value` the share of opponents (ties half), `n` how many opponents; for a subject and split (`image`
        empty) the mean over its images, `n` over how many. Empty where a study has one variant.
    """
    methods = images[~images["variant"].isin(list(baselines)) & images["metric"].isin(list(METRICS))]
    rows = []
    for names, group in methods.groupby(_PLACE, sort=False):
        place = dict(zip(_PLACE, names, strict=True))
        scores = group.pivot_table(index="variant", columns="image", values="value", sort=False, dropna=False)
        if len(scores) < 2:
            continue
        shares = judgements.wins_of_scores(METRICS[str(place["metric"])] * scores.to_numpy(float))
        known = scores.notna().to_numpy()
        opponents = known.sum(axis=0) - known
        for variant, own, n in zip(scores.index, shares, opponents, strict=True):
            found = pd.DataFrame({"image": scores.columns, "value": own, "n": n}).dropna(subset="value")
            rows += [{**place, "variant": variant, **row} for row in found.to_dict("records")]
            if len(found):
                mean = float(found["value"].mean())
                rows.append({**place, "variant": variant, "image": "", "value": mean, "n": len(found)})
    return pd.DataFrame(rows, columns=list(COLUMNS))
