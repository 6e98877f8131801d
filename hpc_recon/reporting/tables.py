"""Tidy tables of scores, and their summary: one row a subject, split, ROI, dataset, layer or variant, image and metric.

`split` is `all` for a subject's own training and test sets and `r1f03` for a fold of its cross-validation; the
summary pools the folds (`cross_validation`): the mean over repeats of each image, then an interval over images.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore
from hpc_recon.core.files import write_atomic

FEATURE_COLUMNS = ("subject", "split", "roi", "dataset", "network", "layer", "image", "metric", "value", "n")
IMAGE_COLUMNS = ("subject", "split", "roi", "dataset", "variant", "network", "image", "metric", "value", "n")
ITEM_COLUMNS = ("subject", "split", "dataset", "image", "label", "shows", "n_averaged")
#: What an image is compared with; everything else in the column `variant` is a reconstruction of the study.
BASELINES = ("mean_training_image", "nearest_training_image", "true_class_mean")
#: The score of guessing.
CHANCE = {
    "category_identification": 0.5,
    "colour_identification": 0.5,
    "identification": 0.5,
    "identification_10way": 0.1,
    "identification_50way": 0.02,
    "identification_5way": 0.2,
    "identification_stimulus_anchored": 0.5,
    "identification_zscored": 0.5,
    "pattern_correlation": 0.0,
    "profile_correlation": 0.0,
    "shape_identification": 0.5,
    "ssim_identification": 0.5,
}
CROSS_VALIDATION = "cross_validation"

Row = Mapping[str, str | float | int]


class IntervalLike(Protocol):
    """What a summary needs of an interval (`numerics.scores.Interval` is one)."""

    @property
    def mean(self) -> float:
        """Mean of the values."""
        ...

    @property
    def low(self) -> float:
        """Lower limit."""
        ...

    @property
    def high(self) -> float:
        """Upper limit."""
        ...

    @property
    def n(self) -> int:
        """Number of values."""
        ...

    @property
    def n_missing(self) -> int:
        """Number of values left out."""
        ...


#: From the values of the images and the names that make the seed, the mean and its interval.
MakeInterval = Callable[[Array, tuple[str, ...]], IntervalLike]


def split_fields(split: str) -> dict[str, str]:
    """Return the columns `subject` and `split` of a split's name.

    >>> split_fields("S1"), split_fields("S1.r1f03")
    ({'subject': 'S1', 'split': 'all'}, {'subject': 'S1', 'split': 'r1f03'})
    """
    subject, _, fold = split.partition(".")
    return {"subject": subject, "split": fold or "all"}


def item_rows(
    place: Row, images: Sequence[str], *, metrics: Mapping[str, tuple[Iterable[float], int | Array]]
) -> list[dict[str, str | float | int]]:
    """Return one row an image and metric.

    Parameters
    ----------
    place
        The columns that all rows share.
    metrics
        By name: one value an image, and `n`, how many numbers each value was computed from: one count, or one an image
        (an image whose count is 0 then has no row: there was nothing to compare it with).
    """
    return [
        {**place, "image": name, "metric": metric, "value": float(value), "n": int(count)}
        for metric, (values, n) in metrics.items()
        for name, value, count in zip(images, values, np.broadcast_to(n, len(images)), strict=True)
        if count or np.ndim(n) == 0
    ]


def write_rows(path: Path, rows: Iterable[Row], *, columns: tuple[str, ...]) -> Path:
    """Write rows as CSV, atomically; columns in their order, floats so that they read back exactly."""
    return write_frame(path, pd.DataFrame(list(rows), columns=list(columns)))


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table as CSV, atomically; NaN is an empty field."""
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return write_atomic(path, buffer.getvalue().encode())


def read_frame(path: Path, *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table that `write_frame` wrote. Names stay text, whatever they look like (`007`, `NA`, `nan`).

    Raises
    ------
    DamagedStore
        If the file is absent, empty or has other columns.
    """
    try:
        kinds = {"value": "float64", "n": "int64"}
        text = {column: "str" for column in columns if column not in kinds}
        frame = pd.read_csv(path, dtype={**text, **kinds}, keep_default_na=False, na_values={"value": [""]})
    except (OSError, ValueError) as error:
        raise DamagedStore(
            f"the table {path} cannot be read ({error}); make it anew with python -m hpc_recon.evaluate --redo"
        ) from error
    if tuple(frame.columns) != columns:
        raise DamagedStore(
            f"the table {path} has the columns {', '.join(map(str, frame.columns))}, not {', '.join(columns)}; "
            f"make it anew with python -m hpc_recon.evaluate --redo"
        )
    return frame


def read_items(path: Path) -> pd.DataFrame:
    """Read `scores/items.csv`: names as text, `n_averaged` and the columns of samples (vividness) as numbers.

    Raises
    ------
    DamagedStore
        If the file is absent, empty or lacks a column.
    """
    try:
        text = {column: "str" for column in ITEM_COLUMNS if column != "n_averaged"}
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"n_averaged": [""]})
        missing = [column for column in ITEM_COLUMNS if column not in frame.columns]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        more = [column for column in frame.columns if column not in ITEM_COLUMNS]
        return frame.assign(**{column: pd.to_numeric(frame[column].replace("", None)) for column in more})
    except (OSError, ValueError) as error:
        raise DamagedStore(
            f"the table {path} cannot be read ({error}); make it anew with python -m hpc_recon.evaluate --redo"
        ) from error


def join(paths: Iterable[Path], *, columns: tuple[str, ...]) -> pd.DataFrame:
    """Join parts into one table in a fixed order; a baseline that several parts hold is kept once."""
    frames = [read_frame(path, columns=columns) for path in paths]
    if not frames:
        return pd.DataFrame(columns=list(columns))
    keys = [column for column in columns if column not in ("value", "n")]
    return pd.concat(frames, ignore_index=True).drop_duplicates(subset=keys, ignore_index=True)


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


def _plain(found: IntervalLike) -> dict[str, Any]:
    numbers = {"mean": _number(found.mean), "low": _number(found.low), "high": _number(found.high)}
    return {**numbers, "n": found.n, "n_missing": found.n_missing}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
