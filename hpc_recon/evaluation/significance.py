"""Which scores are above chance, and which reconstructions above their baselines: by subject, and pooled.

A place is a split, ROI and dataset with a layer of a network, a variant, or a variant and one of its baselines. The
unit of a test is an image, of the pooled test an image of a subject: it says what to expect of another image of these
subjects. What it says of other subjects is the number of subjects that pass alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from hpc_recon.numerics import hypotheses
from hpc_recon.numerics.validity import ALPHA

#: What is tested; fields that do not apply are empty.
PLACE = ("split", "roi", "dataset", "network", "layer", "variant", "baseline", "metric")
COLUMNS = (
    *PLACE,
    "subject",
    "chance",
    "n",
    "mean",
    "p_one",
    "p_two",
    "p_one_holm",
    "p_two_holm",
    "p_one_fdr",
    "rank_biserial",
    "cohen_dz",
    "n_passing",
    "n_subjects",
)
#: What varies within the family that Holm's correction counts: layers of a network, variants, baselines of a variant.
_VARIES = {"layer": ("layer",), "variant": ("variant", "network"), "baseline": ("baseline",)}

Entry = dict[str, Any]


def entries(
    features: pd.DataFrame, images: pd.DataFrame, *, chance: Mapping[str, float], baselines: Sequence[str]
) -> list[Entry]:
    """Return one entry a place and subject, and one a place for all subjects (`subject` is empty).

    Parameters
    ----------
    features, images
        Tidy tables of scores, one row an image (folds pooled); rows without an image are no sample of images, and left
        out.
    chance
        By metric, the score of guessing; other metrics are only compared with baselines.
    baselines
        Variants that are no reconstructions.

    Returns
    -------
    list of dict
        With `COLUMNS`; `mean` is that of the score, or of the difference where `baseline` is named. NaN is None.
    """
    samples = pd.concat(
        [
            _against_chance(features[features["image"] != ""], chance),
            _against_chance(images[~images["variant"].isin(baselines)], chance),
            _against_baselines(images, baselines),
        ],
        ignore_index=True,
    )
    found: list[Entry] = []
    for _, group in samples.groupby(list(PLACE), sort=False):
        each = [_entry(own, str(subject)) for subject, own in group.groupby("subject", sort=False)]
        found += [*each, {**_entry(group, ""), "n_subjects": len(each)}]
    _correct(found)
    passing: dict[tuple[str, ...], int] = {}
    for entry in found:
        key = tuple(entry[name] for name in PLACE)
        passed = bool(entry["subject"]) and entry["p_one_holm"] < ALPHA
        passing[key] = passing.get(key, 0) + passed
    return [_finished(entry, passing[tuple(entry[name] for name in PLACE)]) for entry in found]


def frame(found: Sequence[Entry]) -> pd.DataFrame:
    """Return entries as a table with `COLUMNS`."""
    return pd.DataFrame(list(found), columns=list(COLUMNS))


def _against_chance(frame: pd.DataFrame, chance: Mapping[str, float]) -> pd.DataFrame:
    known = frame[frame["metric"].isin(list(chance))]
    level = known["metric"].map(lambda metric: chance[metric]).astype("float64")
    return _placed(known.assign(difference=known["value"] - level, chance=level))


def _against_baselines(images: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """Pair reconstructions and baselines by image; a baseline of a network only with reconstructions from it."""
    is_baseline = images["variant"].isin(baselines)
    keys = ["subject", "split", "roi", "dataset", "metric", "image"]
    others = images.loc[is_baseline, [*keys, "variant", "network", "value"]]
    others = others.rename(columns={"variant": "baseline", "network": "source", "value": "other"})
    pairs = images[~is_baseline].merge(others, on=keys)
    pairs = pairs[(pairs["source"] == "") | (pairs["source"] == pairs["network"])]
    return _placed(pairs.assign(difference=pairs["value"] - pairs["other"], chance=float("nan")))


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    missing = {name: "" for name in PLACE if name not in frame.columns}
    return frame.assign(**missing)[[*PLACE, "subject", "chance", "difference"]]


def _entry(samples: pd.DataFrame, subject: str) -> Entry:
    first = samples.iloc[0]
    found = hypotheses.signed_rank(samples["difference"].to_numpy(dtype="float64"))
    chance = float(first["chance"])
    return {
        **{name: str(first[name]) for name in PLACE},
        "subject": subject,
        "chance": chance,
        "n": found.n,
        "mean": found.mean + (0.0 if math.isnan(chance) else chance),
        "p_one": found.p_one,
        "p_two": found.p_two,
        "rank_biserial": found.rank_biserial,
        "cohen_dz": found.cohen_dz,
        "n_subjects": 1,
    }


def _correct(found: list[Entry]) -> None:
    """Add the corrected p-values of every family."""
    families: dict[Hashable, list[Entry]] = {}
    for entry in found:
        kind = "layer" if entry["layer"] else "baseline" if entry["baseline"] else "variant"
        fixed = tuple(entry[name] for name in (*PLACE, "subject") if name not in _VARIES[kind])
        families.setdefault((kind, fixed), []).append(entry)
    for family in families.values():
        one, two = ([entry[name] for entry in family] for name in ("p_one", "p_two"))
        corrected = (hypotheses.holm(one), hypotheses.holm(two), hypotheses.benjamini_hochberg(one))
        for entry, *values in zip(family, *corrected, strict=True):
            entry |= dict(zip(("p_one_holm", "p_two_holm", "p_one_fdr"), map(float, values), strict=True))


def _finished(entry: Entry, n_passing: int) -> Entry:
    """Return an entry in the order of `COLUMNS`; NaN is None. A subject's own entry counts itself."""
    own = int(entry["p_one_holm"] < ALPHA)
    values = {**entry, "n_passing": own if entry["subject"] else n_passing}
    return {
        name: None if isinstance(values[name], float) and math.isnan(values[name]) else values[name] for name in COLUMNS
    }
