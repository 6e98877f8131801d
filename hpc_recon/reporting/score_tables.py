"""The tables of the report: image scores with intervals and baselines, scores of layers, choices of the fit."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import WITH, in_words
from hpc_recon.core.score_names import BASELINES, CROSS_VALIDATION
from hpc_recon.reporting.words import (
    BASELINE_NAMES,
    METRIC_NAMES,
    NOTHING,
    Entry,
    dataset_title,
    interval,
    number,
    percent,
)

IMAGE_METRICS = ("identification", "pixel_correlation", "ssim")
_LIMITS = ("mean", "low", "high")
LAYER_METRICS = ("profile_correlation", "pattern_correlation", "identification")


@dataclass(frozen=True)
class Cell:
    """A number, its interval in words, and where dot, whisker and chance mark lie on a scale from 0 to 100."""

    text: str
    limits: str = ""
    dot: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Line:
    """One row: its name, a second name in small print, `kind` (reconstruction or baseline), and its cells."""

    name: str
    note: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A heading, names of the columns and rows."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[Line, ...]


def cell(entry: Entry | None) -> Cell:
    """Return the cell of a summary entry; a dash where there is none."""
    if entry is None or entry["mean"] is None:
        return Cell(NOTHING)
    is_share = entry["metric"] == "identification"
    text = percent(entry["mean"]) if is_share else number(entry["mean"])
    dot, low, high = (None if entry[key] is None else 100 * min(max(entry[key], 0.0), 1.0) for key in _LIMITS)
    chance = 50.0 if is_share else None
    return Cell(text, interval(entry, as_percent=is_share), dot=dot, low=low, high=high, chance=chance)


def method_title(study: Study, variant: str) -> str:
    """Return a method's or baseline's name in words."""
    if variant in BASELINE_NAMES:
        return BASELINE_NAMES[variant]
    return study.reconstruct[variant].title or variant


def image_tables(summary: Mapping[str, Any], study: Study, *, split: str, roi: str) -> list[Table]:
    """Return one table a dataset and subject: reconstructions first, then the baselines."""
    entries = [e for e in summary["images"] if e["split"] == split and e["roi"] == roi]
    gains = {
        (e["subject"], e["dataset"], e["variant"]): e
        for e in summary["differences"]
        if (e["split"], e["roi"], e["metric"], e["baseline"])
        == (split, roi, "pixel_correlation", "nearest_training_image")
    }
    tables = []
    several = len(study.subjects) > 1
    for dataset in study.test_datasets():
        for subject in study.subjects:
            here = [e for e in entries if e["dataset"] == dataset and e["subject"] == subject]
            if not here:
                continue
            n = max(e["n"] for e in here)
            title = f"{dataset_title(study, dataset)}{f', {subject}' if several else ''}"
            rows = [_image_line(here, study, key, gains.get((subject, dataset, key[0]))) for key in _variants(here)]
            columns = (*(METRIC_NAMES[m] for m in IMAGE_METRICS), "Gain in r over nearest")
            tables.append(Table(title, f"{n} {'image' if n == 1 else 'images'}", columns, tuple(rows)))
    return tables


def _variants(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return (variant, network) of all rows, reconstructions first."""
    keys = list(dict.fromkeys((e["variant"], e["network"]) for e in entries))
    return sorted(keys, key=lambda key: (BASELINES.index(key[0]) + 1) if key[0] in BASELINES else 0)


def _image_line(entries: Sequence[Entry], study: Study, key: tuple[str, str], gain: Entry | None) -> Line:
    variant, network = key
    found = {e["metric"]: e for e in entries if (e["variant"], e["network"]) == key}
    is_baseline = variant in BASELINES
    cells = [cell(found.get(metric)) for metric in IMAGE_METRICS]
    cells.append(Cell("") if is_baseline else _gain(gain))
    note = f"by decoded {network}" if is_baseline and network else "" if is_baseline else f"from {network}"
    return Line(method_title(study, variant), note, "baseline" if is_baseline else "reconstruction", tuple(cells))


def _gain(entry: Entry | None) -> Cell:
    if entry is None or entry["mean"] is None:
        return Cell(NOTHING)
    return Cell(number(entry["mean"], signed=True), interval(entry, signed=True))


def roi_table(summary: Mapping[str, Any], study: Study) -> Table | None:
    """Return the reconstructions' scores in every ROI; None where images were made from one ROI only."""
    entries = [e for e in summary["images"] if e["split"] == "all" and e["variant"] not in BASELINES]
    if len({e["roi"] for e in entries}) < 2:
        return None
    keys = dict.fromkeys((e["roi"], e["dataset"], e["variant"], e["subject"]) for e in entries)
    order = sorted(keys, key=lambda key: study.rois.index(key[0]))
    rows = []
    for key in order:
        own = [e for e in entries if (e["roi"], e["dataset"], e["variant"], e["subject"]) == key]
        found = {e["metric"]: e for e in own}
        roi, dataset, variant, subject = key
        note = f"{subject}, {dataset_title(study, dataset)}, {method_title(study, variant)}"
        rows.append(Line(roi, note, "reconstruction", tuple(cell(found.get(m)) for m in IMAGE_METRICS)))
    columns = tuple(METRIC_NAMES[m] for m in IMAGE_METRICS)
    return Table("Regions of interest", "", columns, tuple(rows))


def layer_table(summary: Mapping[str, Any], study: Study, *, roi: str) -> Table | None:
    """Return the scores of decoded features, one row a subject, dataset and layer; None without any."""
    names = ("subject", "split", "dataset", "network", "layer")
    grouped: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in summary["layers"]:
        if entry["roi"] == roi:
            grouped.setdefault(tuple(entry[name] for name in names), {})[entry["metric"]] = entry
    rows = []
    for (subject, split, dataset, network, layer), found in grouped.items():
        profile = dict(found.get("profile_correlation") or {"mean": None, "metric": ""})
        quartiles = [found.get(f"profile_correlation_q{q}") for q in (25, 75)]
        profile["low"], profile["high"] = (None if q is None else q["mean"] for q in quartiles)
        cells = (cell(profile), *(cell(found.get(m)) for m in LAYER_METRICS[1:]))
        which = dataset_title(study, dataset)
        if split != "all":
            which = in_words(split) if split == CROSS_VALIDATION else f"{which}, {in_words(split)}"
        rows.append(Line(layer, f"{network}, {which}, {subject}", "reconstruction", cells))
    columns = tuple(METRIC_NAMES[m] for m in LAYER_METRICS)
    return Table("All layers", "", columns, tuple(rows)) if rows else None


@dataclass(frozen=True)
class ChoiceRow:
    """What cross-validation chose for a layer; the folds' choices are pooled."""

    layer: str
    note: str
    n_voxels: str
    alpha: str
    explained_variance: str
    warnings: tuple[str, ...]


def choice_rows(choices: Iterable[tuple[tuple[str, ...], Mapping[str, Any]]]) -> list[ChoiceRow]:
    """Summarise `choices/<split>/<roi>/<decoded name>/<layer>.json`, given as (path parts, content).

    The splits of a cross-validation are pooled into one row a layer: the median, and how many chose it.
    """
    pooled: dict[tuple[str, bool, str, str, str], list[Mapping[str, Any]]] = {}
    for (split, roi, name, layer), content in choices:
        subject, _, fold = ("", "", "") if WITH in split else split.partition(".")
        subject = subject or split
        pooled.setdefault((subject, bool(fold), roi, name, layer), []).append(content)
    rows = []
    for (subject, is_fold, roi, name, layer), contents in pooled.items():
        note = f"{name}, {roi}, {subject}{f', {len(contents)} folds' if is_fold else ''}"
        scores = [score for content in contents if (score := _chosen_score(content)) is not None]
        warned = Counter(str(text) for content in contents for text in content["warnings"])
        rows.append(
            ChoiceRow(
                layer,
                note,
                _most([content["n_voxels"] for content in contents]),
                _most([content["alpha"] for content in contents]),
                number(statistics.fmean(scores)) if scores else NOTHING,
                tuple(f"{text} ({count} of {len(contents)})" if is_fold else text for text, count in warned.items()),
            )
        )
    return rows


def _chosen_score(content: Mapping[str, Any]) -> float | None:
    for row in content["table"]:
        if row["n_voxels"] == content["n_voxels"] and row["alpha"] == content["alpha"]:
            return float(row["explained_variance"])
    return None


def _most(values: Sequence[float]) -> str:
    """Write the most frequent value, and how frequent it is where it is not the only one."""
    value, count = Counter(values).most_common(1)[0]
    text = f"{value:g}"
    return text if count == len(values) else f"{text} ({count} of {len(values)}; {min(values):g} to {max(values):g})"
