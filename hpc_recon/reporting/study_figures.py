"""Figures over methods, layers and items, as Shen et al. (2019) show them; each exists where a study has its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.options import IcnnOptions
from hpc_recon.reporting.figures import COLOURS, MARKERS, Ink, Panel, Series, panel, plain, save
from hpc_recon.reporting.layer_plots import PanelRow
from hpc_recon.reporting.method_plots import method_panel
from hpc_recon.reporting.score_tables import method_title
from hpc_recon.reporting.words import Entry, dataset_title, metric_name

#: How often a method's image is better than those of the others.
_WON = "winning_pixel_correlation"
#: Scores of images that are drawn, and what guessing gives.
_SCORES = {
    "identification": 0.5,
    "pixel_correlation": 0.0,
    "shape_identification": 0.5,
    "colour_identification": 0.5,
    _WON: 0.5,
    "human_identification": 0.5,
    "human_shape": 0.5,
    "human_colour": 0.5,
    "winning_percentage": 0.5,
}
#: Scores that compare methods, and so say nothing of regions; what they are.
_OF_METHODS = {
    _WON: "share of the others' images of the same stimulus with a lower pixel correlation",
    "winning_percentage": "share of pairs in which people chose it; whiskers: interval over images",
}
#: Scores of images that are set against how well their layer is decoded, and the name of the axis.
_OF_A_LAYER = {"identification": "identification of its images", "human_identification": "identification by people"}
#: Fewer points make no scatter.
_LEAST_POINTS = 3


def collect(
    summary: Mapping[str, Any],
    study: Study,
    items: pd.DataFrame,
    images: pd.DataFrame,
    *,
    roi: str,
    pairs: Sequence[tuple[str, str]] = (),
    judged: Mapping[str, Any] | None = None,
    won: pd.DataFrame | None = None,
) -> list[Panel]:
    """Return the figures that the study has data for.

    Parameters
    ----------
    summary
        `scores/summary.json`.
    items, images
        `scores/items.csv` and `scores/images.csv`.
    roi
        Whose images are shown.
    pairs
        Test datasets over the same stimuli, as perception and imagery.
    judged, won
        `scores/human.json` and `scores/winning.csv`, where there are.
    """
    summary = _with_more(summary, judged, won)
    return [
        *methods(summary, study, roi=roi),
        *regions(summary, study),
        *layers(summary, study, roi=roi),
        *columns(summary, study, items, images, roi=roi),
        *tasks(summary, study, pairs=pairs),
    ]


def tasks(summary: Mapping[str, Any], study: Study, *, pairs: Sequence[tuple[str, str]]) -> list[Panel]:
    """Draw identification from one task against that from another over the same stimuli, a point a layer and ROI.

    One panel a pair of datasets with three points or more; mean over subjects.
    """
    wanted = ("all", "identification")
    own = [e for e in summary["layers"] if (e["split"], e["metric"]) == wanted and e["mean"] is not None]
    places = [
        (roi, net, layer) for roi in study.rois for net, known in study.networks.items() for layer in known.layers
    ]
    found = []
    for pair in pairs:
        points = []
        for roi, net, layer in places:
            here = [e for e in own if (e["roi"], e["network"], e["layer"]) == (roi, net, layer)]
            both = [_mean([e for e in here if e["dataset"] == dataset]) for dataset in pair]
            if both[0] is not None and both[1] is not None:
                points.append((roi, layer, both[0][0], both[1][0]))
        if len(points) >= _LEAST_POINTS:
            found.append(_tasks(points, dataset_title(study, pair[0]), dataset_title(study, pair[1])))
    return found


def _tasks(points: Sequence[tuple[str, str, float, float]], first: str, second: str) -> Panel:
    rois = list(dict.fromkeys(point[0] for point in points))
    ends = [min(min(p[2:]) for p in points), max(max(p[2:]) for p in points)]

    def draw(axes: Axes, ink: Ink) -> None:
        axes.plot(ends, ends, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        for number, roi in enumerate(rois):
            x, y = zip(*[point[2:] for point in points if point[0] == roi], strict=True)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.plot(
                x, y, linestyle="", markersize=4.5, markeredgewidth=0, alpha=0.85, label=roi, color=colour,
                marker=marker,
            )  # fmt: skip
        axes.set_xlabel(f"identification, {first}")
        axes.set_ylabel(f"identification, {second}")
        axes.margins(0.08)
        plain(axes, ink, grid="both")
        if len(rois) > 1:
            axes.legend(frameon=False, fontsize=6.5, labelcolor=ink.text)

    told = "; ".join(f"{roi} {layer} {a:.2f}, {b:.2f}" for roi, layer, a, b in points)
    title = f"{second} against {first}"
    subtitle = "the same stimuli; a point a layer and region, mean over subjects; dashed: equal"
    return panel(title, draw, subtitle=subtitle, alt=f"Identification, {title}: {told}.")


def methods(summary: Mapping[str, Any], study: Study, *, roi: str) -> list[Panel]:
    """Draw scores of images by method, points a dataset: layer combinations, with and without a generator.

    One panel a score, pooled over subjects by their mean; none for a single method.
    """
    places = [(roi, variant) for variant in study.reconstruct]
    return _by_place(summary, study, places, names=[method_title(study, variant) for variant in study.reconstruct])


def regions(summary: Mapping[str, Any], study: Study) -> list[Panel]:
    """Draw scores of images by region, points a dataset, of the first method with images from two regions or more."""
    for variant in study.reconstruct:
        there = {e["roi"] for e in summary["images"] if (e["split"], e["variant"]) == ("all", variant)}
        rois = [roi for roi in study.rois if roi in there]
        if len(rois) > 1:
            title = method_title(study, variant)
            return _by_place(summary, study, [(roi, variant) for roi in rois], names=rois, kind="region", of=title)
    return []


def _by_place(
    summary: Mapping[str, Any],
    study: Study,
    places: Sequence[tuple[str, str]],
    *,
    names: Sequence[str],
    kind: str = "method",
    of: str = "",
) -> list[Panel]:
    """Draw a panel a score, with a line of points a place (region and method); none for a single place."""
    found: list[Panel] = []
    if len(places) < 2:
        return found
    for metric, chance in _SCORES.items():
        if kind != "method" and metric in _OF_METHODS:
            continue
        series = []
        for style, dataset in enumerate(study.test_datasets()):
            own = [_mean(_of_images(summary, roi, dataset, variant, metric)) for roi, variant in places]
            if any(one is not None for one in own):
                middle, lower, upper = ([None if one is None else one[k] for one in own] for k in range(3))
                series.append(Series(dataset_title(study, dataset), middle, lower, upper, style))
        if series:
            values = [v for one in series for part in (one.mean, one.low, one.high) for v in part if v is not None]
            low, high = min([*values, chance]), max([*values, chance + 0.1])
            limits = (low - 0.04 * (high - low), high + 0.04 * (high - low))
            told = _OF_METHODS.get(metric, "whiskers: interval over images, where there is one subject")
            subtitle = f"by {kind}{of and f', {of}'}; {told}"
            title = metric_name(metric) if kind == "method" else f"{metric_name(metric)} by {kind}"
            found.append(
                method_panel(title, series, names=names, chance=chance, limits=limits, subtitle=subtitle, kind=kind)
            )
    return found


def _with_more(
    summary: Mapping[str, Any], judged: Mapping[str, Any] | None, won: pd.DataFrame | None
) -> dict[str, Any]:
    """Return the summary with what people chose, and methods against each other, as further scores of images."""
    more = []
    for one in (judged or {}).get("sets", ()):
        place = {"split": "all", **{key: one[key] for key in ("roi", "dataset", "subject")}}
        more += [{**place, **found} for found in one["results"]]
    if won is not None:
        means = won[(won["image"] == "") & (won["metric"] == "pixel_correlation")]
        more += [
            {**row, "metric": _WON, "mean": float(row["value"]), "low": None, "high": None}
            for row in means.to_dict("records")
        ]
    return {**summary, "images": [*summary["images"], *more]}


def layers(summary: Mapping[str, Any], study: Study, *, roi: str) -> list[Panel]:
    """Draw how well a layer is decoded against how good the images from it alone are, a point a layer.

    One panel a dataset with three such methods or more (`expand: layers`), over the mean of all subjects; another one
    where people judged these images.
    """
    alone = {
        variant: (options.network, chosen[0])
        for variant, options in study.reconstruct.items()
        if isinstance(options, IcnnOptions)
        and len(chosen := study.layers_of(options)) == 1
        and not options.needs_stimuli
    }
    found = []
    for dataset in study.test_datasets():
        points: dict[str, list[tuple[str, float, float]]] = {metric: [] for metric in _OF_A_LAYER}
        for variant, (network, layer) in alone.items():
            decoded = _mean(
                [e for e in summary["layers"]
                 if (e["split"], e["roi"], e["dataset"], e["network"], e["layer"], e["metric"])
                 == ("all", roi, dataset, network, layer, "profile_correlation")]
            )  # fmt: skip
            for metric in _OF_A_LAYER:
                made = _mean(_of_images(summary, roi, dataset, variant, metric))
                if decoded is not None and made is not None:
                    points[metric].append((layer, decoded[0], made[0]))
        found += [
            _scatter(own, f"Layers alone, {dataset_title(study, dataset)}", _OF_A_LAYER[metric])
            for metric, own in points.items()
            if len(own) >= _LEAST_POINTS
        ]
    return found


def columns(
    summary: Mapping[str, Any], study: Study, items: pd.DataFrame, images: pd.DataFrame, *, roi: str
) -> list[Panel]:
    """Draw identification of images against what samples say of themselves (vividness), with Spearman's r.

    One panel a column, dataset and method for which the summary has the correlation over items of all subjects.
    """
    place = ["subject", "split", "dataset", "image"]
    found = []
    for entry in summary.get("columns", ()):
        if entry["subject"] or entry["roi"] != roi or entry["variant"] not in study.reconstruct:
            continue
        wanted = {
            **{key: entry[key] for key in ("roi", "dataset", "variant")},
            "metric": "identification",
            "split": "all",
        }
        own = images[(images[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        name = entry["column"]
        joined = own.merge(items[[*place, name]], on=place).dropna(subset=[name, "value"])
        where = f"{dataset_title(study, entry['dataset'])}, {method_title(study, entry['variant'])}"
        found.append(_against(joined[name].to_numpy(float), joined["value"].to_numpy(float), entry, where))
    return found


def _of_images(summary: Mapping[str, Any], roi: str, dataset: str, variant: str, metric: str) -> list[Entry]:
    wanted = ("all", roi, dataset, variant, metric)
    keys = ("split", "roi", "dataset", "variant", "metric")
    return [e for e in summary["images"] if tuple(e[key] for key in keys) == wanted]


def _mean(entries: Sequence[Entry]) -> tuple[float, float | None, float | None] | None:
    """Return mean and limits of one subject; of several the mean alone; None without any."""
    known = [e for e in entries if e["mean"] is not None]
    if len(known) == 1:
        return known[0]["mean"], known[0]["low"], known[0]["high"]
    return (float(np.mean([e["mean"] for e in known])), None, None) if known else None


def _scatter(points: Sequence[tuple[str, float, float]], title: str, quality: str) -> Panel:
    x, y = (np.array([point[k] for point in points]) for k in (1, 2))
    mean = (float(x.mean()), float(y.mean()))

    def draw(axes: Axes, ink: Ink) -> None:
        axes.plot(x, y, linestyle="", marker=MARKERS[0], color=COLOURS[0], markersize=5, markeredgewidth=0)
        axes.plot(*mean, linestyle="", marker="x", color=COLOURS[1], markersize=7, markeredgewidth=1.6)
        for (name, *_), a, b in zip(points, x, y, strict=True):
            axes.annotate(name, (a, b), xytext=(4, 3), textcoords="offset points", fontsize=8, color=ink.text)
        axes.annotate("mean", mean, xytext=(4, -10), textcoords="offset points", fontsize=8, color=ink.text)
        axes.margins(0.18)
        axes.set_xlabel("profile correlation of the layer")
        axes.set_ylabel(quality)
        plain(axes, ink, grid="both")

    told = "; ".join(f"{name} {a:.2f}, {b:.2f}" for name, a, b in points)
    subtitle = "decoding of a layer against images from it alone"
    return panel(title, draw, subtitle=subtitle, alt=f"Profile correlation and {quality}, {title}: {told}.")


def _against(x: Array, y: Array, entry: Entry, where: str) -> Panel:
    name = entry["column"]
    title = f"{name.capitalize()} and identification"
    told = f"Spearman's r {entry['spearman']:.2f}, p {entry['p']:.2g}, {entry['n']} images"

    def draw(axes: Axes, ink: Ink) -> None:
        axes.plot(x, y, linestyle="", marker=MARKERS[0], color=COLOURS[0], markersize=4.5, markeredgewidth=0, alpha=0.8)
        axes.axhline(0.5, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        axes.set_xlabel(name)
        axes.set_ylabel("identification")
        axes.margins(0.06)
        plain(axes, ink, grid="both")

    return panel(title, draw, subtitle=f"{where}: {told}", alt=f"{title}, {where}: {told}.")


def write(folder: Path, rows: Sequence[tuple[str, Sequence[PanelRow]]], more: Sequence[Panel]) -> list[Path]:
    """Write every figure of a report as PNG and PDF into `folder`; return the files.

    Parameters
    ----------
    rows
        Panels over layers by ROI.
    more
        What `collect` returned.
    """
    files = []
    for roi, own in rows:
        for row in own:
            for one in row.panels:
                place = "-".join(part for part in (roi, row.title) if part)
                files += save(one, folder, f"layers-{place}-{_stem(one.title)}")
    for number, one in enumerate(more, start=1):
        files += save(one, folder, f"figure-{number}-{_stem(one.title)}")
    return files


def _stem(title: str) -> str:
    """Return a title as part of a file's name.

    >>> _stem("Profile correlation, z-scored")
    'profile-correlation-z-scored'
    """
    kept = "".join(c if c.isalnum() else " " for c in title.lower())
    return "-".join(kept.split())
