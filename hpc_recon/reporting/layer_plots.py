"""Accuracy over layers: which series go into which panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpc_recon.core.config import Study
from hpc_recon.core.score_names import CHANCE, CROSS_VALIDATION
from hpc_recon.reporting.figures import Panel, Series, layer_panel, marker_svg
from hpc_recon.reporting.words import METRIC_NAMES, dataset_title

SUBTITLES = {
    "profile_correlation": "each unit over images; band: quartiles",
    "pattern_correlation": "each image over units, z-scored",
    "identification": "right among pairs of images",
}


@dataclass(frozen=True)
class PanelRow:
    """The panels of one subject and ROI."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class LegendEntry:
    """One series: its name, and its line and marker as markup."""

    name: str
    svg: str


def series_names(summary: Mapping[str, Any], study: Study) -> list[tuple[str, str]]:
    """Return (split, dataset) of every series: the datasets of the study, then cross-validation."""
    found = {(e["split"], e["dataset"]) for e in summary["layers"]}
    order = [(split, dataset) for split in ("all", CROSS_VALIDATION) for dataset in study.test_datasets()]
    return [key for key in order if key in found]


def series_title(study: Study, key: tuple[str, str]) -> str:
    """Return a series' name in the legend."""
    split, dataset = key
    return dataset_title(study, dataset) if split == "all" else "cross-validation"


def legend(summary: Mapping[str, Any], study: Study) -> list[LegendEntry]:
    """Return one entry a series, in the colours of the panels."""
    keys = series_names(summary, study)
    return [LegendEntry(series_title(study, key), marker_svg(i)) for i, key in enumerate(keys)]


def panel_rows(summary: Mapping[str, Any], study: Study, *, roi: str) -> list[PanelRow]:
    """Plot profile, pattern and identification over the layers of all networks, one row of panels a subject.

    A score has the same scale in all rows.
    """
    groups = [(name, network.layers) for name, network in study.networks.items()]
    keys = series_names(summary, study)
    lines: dict[tuple[str, str], list[Series]] = {}
    for subject in study.subjects:
        entries: dict[tuple[str, ...], dict[str, Any]] = {
            (e["split"], e["dataset"], e["network"], e["layer"], e["metric"]): e
            for e in summary["layers"]
            if e["subject"] == subject and e["roi"] == roi
        }
        for metric in SUBTITLES:
            made = [_series(entries, study, key, metric=metric, style=i, groups=groups) for i, key in enumerate(keys)]
            lines[subject, metric] = [line for line in made if any(value is not None for value in line.mean)]
    rows = []
    for subject in study.subjects:
        panels = []
        for metric, subtitle in SUBTITLES.items():
            own = lines[subject, metric]
            limits = _limits([line for s in study.subjects for line in lines[s, metric]], chance=CHANCE[metric])
            if own:
                panels.append(
                    layer_panel(
                        METRIC_NAMES[metric],
                        own,
                        groups=groups,
                        chance=CHANCE[metric],
                        limits=limits,
                        subtitle=subtitle,
                    )
                )
        rows.append(PanelRow(subject if len(study.subjects) > 1 else "", tuple(panels)))
    return [row for row in rows if row.panels]


def _limits(lines: Sequence[Series], *, chance: float) -> tuple[float, float]:
    """Return the ends of the vertical axis: all values and limits, and chance, with a little room."""
    values = [v for line in lines for column in (line.mean, line.low, line.high) for v in column if v is not None]
    low, high = min([*values, chance]), max([*values, chance + 0.1])
    room = 0.04 * (high - low)
    return low - room, high + room


def _series(
    entries: Mapping[tuple[str, ...], dict[str, Any]],
    study: Study,
    key: tuple[str, str],
    *,
    metric: str,
    style: int,
    groups: Sequence[tuple[str, Sequence[str]]],
) -> Series:
    def column(name: str, field: str) -> list[float | None]:
        found = [entries.get((*key, network, layer, name)) for network, layers in groups for layer in layers]
        return [None if entry is None else entry[field] for entry in found]

    is_range = metric == "profile_correlation"
    low, high = (
        (column(f"{metric}_q25", "mean"), column(f"{metric}_q75", "mean"))
        if is_range
        else (column(metric, "low"), column(metric, "high"))
    )
    return Series(series_title(study, key), column(metric, "mean"), low, high, style, is_range)
