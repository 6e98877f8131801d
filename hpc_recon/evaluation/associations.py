"""How images follow what their samples say of themselves (vividness): rank correlation with identification."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from hpc_recon.numerics import hypotheses

#: Columns of `scores/items.csv` that say what an item is, or where it was recorded, not what it is like.
NO_MEASURES = (
    "subject", "split", "dataset", "image", "label", "shows", "n_averaged",
    "repeat", "run", "session", "block", "onset_s",
)  # fmt: skip
METRIC = "identification"
#: Fewer items tell nothing of an order.
LEAST_ITEMS = 3
_PLACE = ["subject", "split", "dataset", "image"]


def entries(images: pd.DataFrame, items: pd.DataFrame, *, baselines: Collection[str]) -> list[dict[str, Any]]:
    """Return Spearman's correlation of each column of the items with the identification of their images.

    Parameters
    ----------
    images, items
        `scores/images.csv` and `scores/items.csv`.
    baselines
        Entries of the column `variant` that are no methods of the study.

    Returns
    -------
    list of dict
        `roi`, `dataset`, `variant`, `column`, `subject` (empty: items of all subjects), `n`, `spearman` and the
        two-sided `p`.
        None of a place where fewer than `LEAST_ITEMS` items have both, or one of both is the same for all of them.
    """
    own = images[(images["metric"] == METRIC) & (images["split"] == "all") & ~images["variant"].isin(list(baselines))]
    found = []
    for column in (name for name in items.columns if name not in NO_MEASURES):
        joined = own.merge(items[[*_PLACE, column]], on=_PLACE).dropna(subset=[column, "value"])
        for (roi, dataset, variant), group in joined.groupby(["roi", "dataset", "variant"], sort=False):
            place = {"roi": str(roi), "dataset": str(dataset), "variant": str(variant), "column": column}
            parts = [(str(subject), part) for subject, part in group.groupby("subject", sort=False)]
            for subject, part in [*parts, ("", group)]:
                x, y = part[column].to_numpy(float), part["value"].to_numpy(float)
                if len(x) >= LEAST_ITEMS and np.ptp(x) > 0 and np.ptp(y) > 0:
                    r, p = hypotheses.spearman(x, y)
                    found.append({**place, "subject": subject, "n": len(x), "spearman": r, "p": p})
    return found
