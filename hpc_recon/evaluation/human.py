"""Human judgements as tables: accuracy by image, winning percentages, agreement of raters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.core.tiles import Group, Need, Tile, canonical
from hpc_recon.evaluation.summary import MakeInterval
from hpc_recon.numerics import judgements
from hpc_recon.stores import rating_design, ratings
from hpc_recon.stores.rating_design import Design
from hpc_recon.stores.ratings import Ratings

COLUMNS = ("set", "task", "subject", "roi", "dataset", "variant", "image", "metric", "value", "n")
#: Raters whose mean is tested, at least: with fewer an image's share has too few values to be tested.
LEAST_RATERS = 3
METRICS = {
    "identify": "human_identification",
    "shape": "human_shape",
    "colour": "human_colour",
    "compare": "winning_percentage",
}


@dataclass(frozen=True)
class Judged:
    """A set of trials and the answers of all who judged it, in the order of their names."""

    design: Design
    raters: tuple[Ratings, ...]

    @property
    def choices(self) -> Array:
        """(n_raters, n_trials) int64: the candidate that was chosen."""
        return np.stack([one.choices for one in self.raters])


def gather(found: Iterable[tuple[Design, Ratings]]) -> list[Judged]:
    """Bring the ratings of each set together, sets and raters in the order of their names.

    Raises
    ------
    DataError
        If ratings are of another design than the one of their name, a rater occurs twice in a set, or a set has fewer
        than three raters; all such sets are named.
    """
    sets: dict[str, tuple[Design, list[Ratings]]] = {}
    for design, one in found:
        if one.design != design.digest or len(one.choices) != len(design.trials):
            raise DataError(
                f"{one.path}: ratings belong to the images and trials that were judged, but the set {design.name} "
                f"was made anew since ({len(design.trials):,} trials, digest {design.digest[:8]}, not "
                f"{len(one.choices):,} and {one.design[:8]}); leave this file out, or have the new page rated"
            )
        sets.setdefault(design.name, (design, []))[1].append(one)
    judged = []
    for _, (design, raters) in sorted(sets.items()):
        raters.sort(key=lambda one: one.rater)
        for one, other in pairwise(raters):
            if one.rater == other.rater:
                raise DataError(
                    f"each rater counts once in a set, but {one.rater!a} judged {design.name} in {one.path} and "
                    f"in {other.path}; leave one of them out, or rename the rater in one if they are two persons"
                )
        judged.append(Judged(design, tuple(raters)))
    few = [f"{one.design.name} has {len(one.raters)}" for one in judged if len(one.raters) < LEAST_RATERS]
    if few:
        raise DataError(
            f"images are tested on the mean of at least {LEAST_RATERS} raters, but {', '.join(few)}; have the page "
            f"rated by more, or leave these files out"
        )
    return judged


def collect(workspace: Path, paths: Sequence[Path]) -> list[Judged]:
    """Read files of ratings with their designs; errors as `ratings.read`, `rating_design.read` and `gather`."""
    found = [ratings.read(path) for path in ratings.files_of(paths)]
    designs = {name: rating_design.read(workspace, name) for name in sorted({one.set_name for one in found})}
    return gather((designs[one.set_name], one) for one in found)


def tile(study: Study, workspace: Path) -> Tile:
    """Return the tile that scores ratings; they are read and checked here already, before anything is written."""
    judged = collect(workspace, study.evaluate.ratings)
    n = sum(one.choices.size for one in judged)
    settings = canonical(
        {"ratings": digest(judged), "seed": study.seed, **study.evaluate.model_dump(exclude={"ratings", "parquet"})}
    )
    need = Need(
        host_bytes=64 * 2**20 + 1000 * n, bytes_in=40 * n, bytes_out=100 * n, files_out=2, seconds=1 + n / 1e5
    )  # fmt: skip
    return Tile(Group("evaluate", ("human",), settings, ()), "human", 0, 1, need)


def digest(sets: Sequence[Judged]) -> str:
    """Return the sha256 of all that was judged: the same wherever the files lie."""
    value = hashlib.sha256()
    for judged in sets:
        for one in judged.raters:
            value.update(json.dumps([judged.design.digest, one.rater]).encode())
            for numbers in (one.choices, one.left, one.seconds):
                value.update(np.ascontiguousarray(numbers).tobytes())
    return value.hexdigest()


def summarise(
    sets: Sequence[Judged], *, interval: MakeInterval
) -> tuple[list[dict[str, str | float | int]], dict[str, Any]]:
    """Return the rows of `scores/human.csv` and the content of `scores/human.json`.

    Parameters
    ----------
    sets
        What `gather` returned.
    interval
        From values and the names that make the seed, the mean and its interval.
    """
    rows: list[dict[str, str | float | int]] = []
    entries = []
    for judged in sets:
        design = judged.design
        kappa = judgements.fleiss_kappa(judged.choices)
        results = []
        for variant, values, counts in _values(judged):
            place = {
                "set": design.name, "task": design.task, "subject": design.subject, "roi": design.roi,
                "dataset": design.dataset, "variant": variant,
            }  # fmt: skip
            metric = METRICS[design.task]
            rows += [
                {**place, "image": name, "metric": metric, "value": float(value), "n": int(count)}
                for name, value, count in zip(design.images, values, counts, strict=True)
            ]
            results.append({"variant": variant, "metric": metric, **_result(design, variant, values, interval)})
        entries.append(
            {
                "set": design.name,
                "task": design.task,
                "subject": design.subject,
                "roi": design.roi,
                "dataset": design.dataset,
                "design": design.digest,
                "seed": design.seed,
                "per_image": design.per_image,
                "n_images": len(design.images),
                "n_trials": len(design.trials),
                "n_raters": len(judged.raters),
                "fleiss_kappa": _number(kappa),
                "results": results,
                "raters": [_rater(judged, one) for one in judged.raters],
            }
        )
    return rows, {"chance": 0.5, "least_raters": LEAST_RATERS, "sets": entries}


def _values(judged: Judged) -> Iterable[tuple[str, Array, Array]]:
    """Yield each variant with the share of each image, and the number of judgements it is the mean of."""
    design = judged.design
    trials = np.array(design.trials, np.int64)  # (n_trials, 3)
    n_images, n_raters = len(design.images), len(judged.raters)
    if design.task == "compare":
        n_variants = len(design.variants)
        won = judgements.wins(judged.choices, trials, n_images=n_images, n_variants=n_variants)
        for i, variant in enumerate(design.variants):
            shown = (trials[:, 1:] == i).any(axis=1)
            yield variant, won[i], n_raters * np.bincount(trials[shown, 0], minlength=n_images)
    else:
        votes = _right(judged)
        counts = n_raters * np.bincount(trials[:, 0], minlength=n_images)
        yield design.variants[0], judgements.shares(votes, trials[:, 0], n=n_images), counts


def _right(judged: Judged) -> Array:
    """Return which judgements chose the stimulus that is reconstructed, (n_raters, n_trials) of 0 and 1."""
    trials = np.array(judged.design.trials, np.int64)
    truth = (trials[:, 2] == trials[:, 0]).astype(np.int64)
    return np.asarray(judged.choices == truth, np.int64)


def _result(design: Design, variant: str, values: Array, interval: MakeInterval) -> dict[str, Any]:
    two_sided = design.task == "compare"
    found = interval(values, ("human", design.name, variant))
    test = judgements.against_chance(values, two_sided=two_sided)
    return {
        "mean": _number(found.mean),
        "low": _number(found.low),
        "high": _number(found.high),
        "n": found.n,
        "n_missing": found.n_missing,
        "wilcoxon": {
            "alternative": "two-sided" if two_sided else "greater",
            "statistic": _number(test.statistic),
            "p": _number(test.p),
            "n": test.n,
        },
    }


def _rater(judged: Judged, one: Ratings) -> dict[str, Any]:
    """Return what tells whether a rater judged at all: always the same side, or faster than one can look."""
    own = {
        "rater": one.rater,
        "median_seconds": _number(float(np.median(one.seconds))),
        "left_share": _number(float((one.choices == one.left).mean())),
    }
    if judged.design.task != "compare":
        own["accuracy"] = _number(float(_right(Judged(judged.design, (one,))).mean()))
    return own


def _number(value: float) -> float | None:
    """Return a float for JSON, which has no NaN."""
    return None if math.isnan(value) else value
