"""The report's longer tables: every score, tests, what people chose, methods against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from hpc_recon.core.config import Study
from hpc_recon.core.score_names import BASELINES, CHANCE
from hpc_recon.reporting.score_tables import Cell, Line, Table, method_title
from hpc_recon.reporting.words import NOTHING, Entry, dataset_title, interval, metric_name, number, percent

#: From the place of a row: its name, what stands in small print, and whether it is a baseline.
Describe = Callable[..., tuple[str, str, str]]
#: Scores that are shares of comparisons, written as per cent.
_SHARES = ("identification", "top1", "top5", "human", "winning", "alexnet", "inception", "clip", "category_alone")
#: Scores of layers that are no columns of their own: limits of a band.
_BANDS = ("profile_correlation_q25", "profile_correlation_q75", "profile_correlation_nonpositive")


def is_share(metric: str) -> bool:
    """Return whether a score is a share of comparisons won.

    >>> is_share("identification_top5"), is_share("mindeye.clip"), is_share("mindeye.ssim")
    (True, True, False)
    """
    name = metric.rpartition(".")[2]
    return any(word in name for word in _SHARES)


def _cell(entry: Entry | None) -> Cell:
    if entry is None or entry["mean"] is None:
        return Cell(NOTHING)
    share = is_share(entry["metric"])
    return Cell(percent(entry["mean"]) if share else number(entry["mean"]), interval(entry, as_percent=share))


def _wide(entries: Sequence[Entry], keys: Sequence[str], described: Describe, title: str, note: str) -> Table | None:
    """Return a table with a column a metric, a row a place; `described` gives name, small print and kind of a place."""
    metrics = list(dict.fromkeys(e["metric"] for e in entries))
    if not metrics:
        return None
    found = {(*(e[key] for key in keys), e["metric"]): e for e in entries}
    places = dict.fromkeys(tuple(e[key] for key in keys) for e in entries)
    lines = [
        Line(*described(*place), tuple(_cell(found.get((*place, metric))) for metric in metrics)) for place in places
    ]
    return Table(title, note, tuple(metric_name(metric) for metric in metrics), tuple(lines))


def all_images(summary: Mapping[str, Any], study: Study, *, roi: str) -> Table | None:
    """Return every score of images, a row a dataset, subject and variant or baseline; None without images."""

    def described(dataset: str, subject: str, variant: str, net: str) -> tuple[str, str, str]:
        note = ", ".join(part for part in (dataset_title(study, dataset), subject, net) if part)
        return method_title(study, variant), note, "baseline" if variant in BASELINES else "reconstruction"

    entries = [e for e in summary["images"] if e["split"] == "all" and e["roi"] == roi]
    keys = ("dataset", "subject", "variant", "network")
    return _wide(entries, keys, described, "Every score of images", "means, and intervals over images")


def all_layers(summary: Mapping[str, Any], study: Study, *, roi: str) -> Table | None:
    """Return every score of decoded features, a row a dataset, subject and layer; None without any."""

    def described(dataset: str, subject: str, net: str, layer: str) -> tuple[str, str, str]:
        return layer, f"{net}, {dataset_title(study, dataset)}, {subject}", "reconstruction"

    entries = [e for e in summary["layers"] if e["split"] == "all" and e["roi"] == roi and e["metric"] not in _BANDS]
    keys = ("dataset", "subject", "network", "layer")
    note = "means, and intervals over images; profile correlation: mean over units, no interval"
    return _wide(entries, keys, described, "Every score of decoded features", note)


def tested(summary: Mapping[str, Any], study: Study, *, roi: str) -> Table | None:
    """Return the tests of images against chance and baselines, pooled over subjects; None without any."""
    rows = []
    for entry in summary.get("tests", ()):
        if entry["subject"] or entry["layer"] or (entry["roi"], entry["split"]) != (roi, "all"):
            continue
        against = entry["baseline"] and method_title(study, entry["baseline"])
        note = f"{dataset_title(study, entry['dataset'])}, {metric_name(entry['metric'])}"
        cells = (
            Cell(against or f"chance, {percent(CHANCE[entry['metric']])}"),
            Cell(number(entry["mean"], signed=bool(against))),
            Cell(str(entry["n"])),
            Cell(_p(entry["p_one_holm"])),
            Cell(_p(entry["p_two_holm"])),
            Cell(number(entry["rank_biserial"], signed=True)),
            Cell(number(entry["cohen_dz"], signed=True)),
            Cell(f"{entry['n_passing']} of {entry['n_subjects']}"),
        )
        rows.append(Line(method_title(study, entry["variant"]), note, "reconstruction", cells))
    effects = ("Rank-biserial r", "Cohen's d", "Subjects above")
    columns = ("Against", "Mean", "Images", "p, above", "p, either way", *effects)
    note = (
        "Wilcoxon's signed-rank test over images, Holm-corrected; a difference where a baseline is named (of RMSE, "
        "less is better)"
    )
    return Table("Tests", note, columns, tuple(rows)) if rows else None


def _p(value: float | None) -> str:
    """Write a probability.

    >>> _p(0.0312), _p(1e-9), _p(None)
    ('.031', '< .001', '–')
    """
    if value is None:
        return NOTHING
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def human(judged: Mapping[str, Any] | None, study: Study) -> Table | None:
    """Return what raters chose (`scores/human.json`); None where nobody judged."""
    rows = []
    for one in (judged or {}).get("sets", ()):
        place = ", ".join(str(one[key]) for key in ("dataset", "subject", "roi") if one.get(key))
        for found in one["results"]:
            cells = (
                _cell({**found, "metric": "human"}),
                Cell(str(found["n"])),
                Cell(_p(found["wilcoxon"]["p"])),
                Cell(str(one["n_raters"])),
                Cell(number(one["fleiss_kappa"])),
            )
            title = method_title(study, found["variant"]) if found["variant"] in study.reconstruct else found["variant"]
            rows.append(Line(title, f"{metric_name(found['metric'])}, {place}", "reconstruction", cells))
    note = "share of trials, mean over images with intervals over images; p of Wilcoxon's test against 50 %"
    columns = ("Chosen", "Images", "p", "Raters", "Agreement (kappa)")
    return Table("By people", note, columns, tuple(rows)) if rows else None


def winning(frame: pd.DataFrame, study: Study, *, roi: str) -> Table | None:
    """Return how often each variant's image is better than the others' (`scores/winning.csv`); None for one variant."""
    means = frame[(frame["image"] == "") & (frame["roi"] == roi) & (frame["split"] == "all")]
    if means.empty:
        return None
    metrics = list(dict.fromkeys(means["metric"]))
    rows = []
    for (dataset, subject, variant), own in means.groupby(["dataset", "subject", "variant"], sort=False):
        found = dict(zip(own["metric"], own["value"], strict=True))
        cells = tuple(Cell(percent(found.get(metric))) for metric in metrics)
        note = f"{dataset_title(study, str(dataset))}, {subject}"
        rows.append(Line(method_title(study, str(variant)), note, "reconstruction", cells))
    columns = tuple(metric_name(metric) for metric in metrics)
    note = "share of the other methods' images of the same stimulus that score lower; a tie is half"
    return Table("Methods against each other", note, columns, tuple(rows))
