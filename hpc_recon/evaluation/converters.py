"""Accuracy against the number of pooled source subjects, and against the samples that converters were fitted with.

A curve is a mean over the targets (of pooled samples) or pairs (of converted ones) that have all of its points, so that
no point is of other subjects than the next. Scores with a value an image are averaged over these before images are
resampled; of scores with one value a layer there is the range over targets or pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import WITH, owner
from hpc_recon.core.files import read_json
from hpc_recon.core.score_names import BASELINES
from hpc_recon.evaluation.summary import MakeInterval
from hpc_recon.stores import layout

#: Along what a curve goes.
SOURCES, SAMPLES = "sources", "samples"
#: Scores of layers and of images that curves are made of.
LAYER_METRICS = ("profile_correlation", "identification", "identification_zscored")
IMAGE_METRICS = ("identification", "pixel_correlation")
#: Fewer points are no curve.
_LEAST_POINTS = 2

#: The splits of one curve: x, and the split there, of one target or pair.
Points = Mapping[int, str]


def collect(
    study: Study, features: pd.DataFrame, images: pd.DataFrame, *, interval: MakeInterval
) -> list[dict[str, Any]]:
    """Return the curves that a study has two points or more of, as plain values for JSON.

    Parameters
    ----------
    features, images
        Scores with folds pooled (`summary.pool_folds`).

    Returns
    -------
    list of dict
        `along` (`sources` or `samples`), `roi`, `dataset`, `network`, `name` (of the layer, or of the method), `of`
        (`layers` or `images`), `metric`; `x`, `mean`, `low`, `high` (None where not defined); `over`: what low and high
        are over (`images`, `targets`, `pairs`, or empty); `n`: of how many targets or pairs; `within`: the mean score
        of the targets' own activity.
    """
    if study.convert is None:
        return []
    found = []
    for along, every in ((SOURCES, _pooled(study)), (SAMPLES, _grown(study))):
        points = _complete(every)
        if not points:
            continue
        for of, frame, name, metrics in (
            ("layers", features, "layer", LAYER_METRICS),
            ("images", images[~images["variant"].isin(BASELINES)], "variant", IMAGE_METRICS),
        ):
            place = ["roi", "dataset", "network", name, "metric"]
            chosen = frame[frame["metric"].isin(metrics)]
            for names, own in chosen.groupby(place, sort=False):
                curve = _curve(own, points, along=along, interval=interval, names=(along, *map(str, names)))
                if curve is not None:
                    keys = dict(zip(("roi", "dataset", "network", "name", "metric"), map(str, names), strict=True))
                    found.append({"along": along, "of": of, **keys, **curve})
    return found


def _pooled(study: Study) -> list[Points]:
    """Return, for each target, the splits with 0, 1, ... sources."""
    assert study.convert is not None, "asked by the caller"
    found: dict[str, dict[int, str]] = {}
    for split in study.convert.pooled(study.subjects):
        target, _, n = split.partition(WITH)
        found.setdefault(target, {0: target})[int(n)] = split
    return list(found.values())


def _grown(study: Study) -> list[Points]:
    """Return, for each pair, the splits by the number of samples that their converters were fitted to."""
    assert study.convert is not None, "asked by the caller"
    if not study.convert.growth:
        return []
    found: dict[str, dict[int, str]] = {}
    for whole in study.convert.converted(study.subjects):
        for split in (*(s for s in study.convert.grown(study.subjects) if s.startswith(f"{whole}.")), whole):
            n = n_samples(study, split)
            if n is not None:
                found.setdefault(whole, {})[n] = split
    return list(found.values())


def n_samples(study: Study, split: str) -> int | None:
    """Return how many paired samples the converter of a split was fitted to; None where nothing says it."""
    for path in sorted(layout.conversion_file(study, split, name="any").parent.glob("chosen-*.json")):
        content = read_json(path)
        known = content.get("n_samples", None if _averages(study) else content.get("n_pairs"))
        return None if known is None else int(known)
    return None


def _averages(study: Study) -> bool:
    return study.convert is not None and study.convert.average


def _complete(every: Sequence[Points]) -> list[Points]:
    """Return those with as many points as any has, two or more, at the same places."""
    most = max(every, key=len, default={})
    return [points for points in every if set(points) == set(most)] if len(most) >= _LEAST_POINTS else []


def _curve(
    own: pd.DataFrame, every: Sequence[Points], *, along: str, interval: MakeInterval, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return the curve of one score over the targets or pairs that have all of its points; None without any."""
    by_split = {f"{s}.{p}" if p != "all" else s: g for (s, p), g in own.groupby(["subject", "split"], sort=False)}
    known = [points for points in every if all(_defined(by_split.get(split)) for split in points.values())]
    if not known:
        return None
    n, x = len(known), sorted(known[0])
    by_image = bool(own["image"].ne("").all())
    found = [_point([by_split[points[at]] for points in known], by_image, interval, (*names, str(at))) for at in x]
    targets = dict.fromkeys(owner(split).partition(WITH)[0] for points in known for split in points.values())
    within = [by_split[target]["value"].mean() for target in targets if _defined(by_split.get(target))]
    unit = "targets" if along == SOURCES else "pairs"
    ranged = unit if n > 1 else ""
    return {
        "x": x,
        **{key: [point[key] for point in found] for key in ("mean", "low", "high")},
        "over": "images" if by_image else ranged,
        "n": n,
        "within": float(sum(within) / len(within)) if len(within) == len(targets) else None,
    }


def _defined(group: pd.DataFrame | None) -> bool:
    return group is not None and bool(group["value"].notna().any())


def _point(
    groups: Sequence[pd.DataFrame], by_image: bool, interval: MakeInterval, names: tuple[str, ...]
) -> dict[str, float | None]:
    """Return mean and limits of one point: over images where there are values of images, else the range."""
    if by_image:
        joined = pd.concat([group.set_index("image")["value"] for group in groups], axis=1, join="inner")
        found = interval(joined.mean(axis=1).to_numpy(dtype="float64"), names)
        numbers = (float(getattr(found, key)) for key in ("mean", "low", "high"))
        return {key: None if math.isnan(v) else v for key, v in zip(("mean", "low", "high"), numbers, strict=True)}
    values = [float(group["value"].mean()) for group in groups]
    several = len(values) > 1
    return {
        "mean": sum(values) / len(values),
        "low": min(values) if several else None,
        "high": max(values) if several else None,
    }
