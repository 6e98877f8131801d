"""Accuracy against the number of pooled source subjects, and against the samples that converters were fitted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpc_recon.core.config import Study
from hpc_recon.reporting.figures import MARKERS, Ink, Panel, panel, plain
from hpc_recon.reporting.score_tables import method_title
from hpc_recon.reporting.words import dataset_title, metric_name

Curve = Mapping[str, Any]

#: What is counted along each curve.
AXES = {"sources": "source subjects pooled", "samples": "paired samples of the converter"}
_TITLES = {"sources": "by pooled sources", "samples": "by paired samples"}
#: By which share of the axis the lines of two layers are apart, so that their whiskers are.
_APART = 0.008
#: Layers named in a legend at most, and letters of its line.
_LEGEND, _LETTERS = 8, 56


def panels(summary: Mapping[str, Any], study: Study, *, roi: str) -> list[Panel]:
    """Return a panel for each dataset, network and score, its layers (or methods) in it; none without such curves.

    Parameters
    ----------
    summary
        `scores/summary.json`; what an older version wrote has no curves.
    roi
        Whose curves are shown.
    """
    own = [curve for curve in summary.get("converters", ()) if curve["roi"] == roi]

    def place(curve: Curve) -> tuple[str, ...]:
        network = curve["network"] if curve["of"] == "layers" else ""
        return curve["along"], curve["dataset"], curve["of"], network, curve["metric"]

    return [_drawn(list(curves), study, summary) for _, curves in groupby(sorted(own, key=place), key=place)]


def _drawn(curves: Sequence[Curve], study: Study, summary: Mapping[str, Any]) -> Panel:
    first = curves[0]
    score, axis, chance = metric_name(first["metric"]), AXES[first["along"]], summary["chance"].get(first["metric"])
    names = [_name(curve, study) for curve in curves]
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(curves)))
    apart = _APART * (max(first["x"]) - min(first["x"]))
    named = {round(i) for i in np.linspace(0, len(curves) - 1, min(len(curves), _LEGEND))}

    def draw(axes: Axes, ink: Ink) -> None:
        for number, (one, name, colour) in enumerate(zip(curves, names, colours, strict=True)):
            known = [i for i, value in enumerate(one["mean"]) if value is not None]
            shift = apart * (number - (len(curves) - 1) / 2)
            x, mean = [one["x"][i] + shift for i in known], [one["mean"][i] for i in known]
            for where, i in zip(x, known, strict=True):
                if one["low"][i] is not None and one["high"][i] is not None:
                    axes.plot([where] * 2, [one["low"][i], one["high"][i]], color=colour, linewidth=0.9, alpha=0.7)
            axes.plot(
                x, mean, color=colour, linewidth=1.3, marker=MARKERS[number % len(MARKERS)], markersize=3.6,
                markeredgewidth=0, label=name if number in named else None,
            )  # fmt: skip
            if first["along"] == "samples" and one["within"] is not None:
                axes.axhline(one["within"], color=colour, linewidth=0.9, linestyle=(0, (2, 2)), alpha=0.7)
        if chance is not None:
            axes.axhline(chance, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.5)
        axes.set_xlabel(axis)
        axes.set_ylabel(score)
        plain(axes, ink, grid="both")
        if first["along"] == "sources":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.set_xlim(left=0)
        _legend(axes, ink)

    parts = [dataset_title(study, first["dataset"]), *([first["network"]] if first["of"] == "layers" else [])]
    what = "images, " if first["of"] == "images" else ""
    where = f"{what}{', '.join(parts)}; {_over(first, summary)}"
    told = "; ".join(
        f"{name} {', '.join(f'{y:.2f} at {x}' for x, y in zip(one['x'], one['mean'], strict=True) if y is not None)}"
        for one, name in zip(curves, names, strict=True)
    )
    title = f"{score} {_TITLES[first['along']]}"
    return panel(title, draw, subtitle=where, alt=f"{title}, {where}: {told}.")


def _name(curve: Curve, study: Study) -> str:
    return method_title(study, curve["name"]) if curve["of"] == "images" else curve["name"]


def _over(curve: Curve, summary: Mapping[str, Any]) -> str:
    """Say what a point is a mean of, what its whiskers are over, and what the dashed lines are."""
    one = "target" if curve["along"] == "sources" else "pair"
    of = f"mean over {curve['n']} {one}s" if curve["n"] > 1 else f"one {one}"
    whiskers = {
        "images": f"{100 * summary['confidence']:g} % interval over images",
        "targets": "least and largest target",
        "pairs": "least and largest pair",
    }
    over = f"whiskers: {whiskers[curve['over']]}" if curve["over"] else "one value a layer, so no interval"
    dashed = "" if curve["along"] == "sources" else "; coloured dashes: the targets' own activity"
    return f"{of}; {over}{dashed}"


def _legend(axes: Axes, ink: Ink) -> None:
    """Name the lines below the plot, on the page too: no legend of the page names layers."""
    handles, names = axes.get_legend_handles_labels()
    if isinstance(axes.figure, Figure):
        n_columns = max(1, min(4, _LETTERS // (max(map(len, names)) + 5)))
        axes.figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=7, labelcolor=ink.text,
                           ncols=n_columns, columnspacing=1.2, handlelength=1.4)  # fmt: skip
