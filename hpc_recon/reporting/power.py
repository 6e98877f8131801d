"""What `power` found, in words, rows and figures: how accuracy grows with the data, and what more would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtr

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.reporting.figures import MARKERS, Ink, Panel, panel, plain, save
from hpc_recon.reporting.score_tables import Cell, Line, Table
from hpc_recon.reporting.words import dataset_title

Curve = Mapping[str, Any]

COLUMNS = (
    "network", "layer", "subject", "roi", "dataset", "curve", "metric", "kind", "steps", "x", "value", "low", "high",
    "fitted", "n_draws", "n_units",
)  # fmt: skip
#: What is counted along each curve.
AXES = {
    "images": "training images",
    "repeats": "repeats of each training image",
    "voxels": "voxels offered",
    "trials": "test trials averaged",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
#: Beyond so many times the largest size that was tried, a curve is a guess.
FAR = 2.0
#: Layers named in a figure's legend at most.
_LEGEND = 8


@dataclass(frozen=True)
class Section:
    """What the report shows."""

    sentences: tuple[str, ...]
    panels: tuple[Panel, ...]
    table: Table | None
    #: What a row of the table is of.
    rows: str = "Layer"


def rows(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each measured size of each curve, for what the study has (`now`) and for what is foretold."""
    for one in _curves(content):
        place = {key: one[key] for key in (*COLUMNS[:7], "n_draws", "n_units")}
        measured = zip(*(one[key] for key in ("x", "mean", "low", "high", "fitted")), strict=True)
        for x, value, low, high, fitted in measured:
            yield {**place, "kind": "measured", "x": x, "value": value, "low": low, "high": high, "fitted": fitted}
        for kind, at in (("now", one["now"]), *(("ahead", ahead) for ahead in one["ahead"])):
            yield {**place, "kind": kind, "fitted": at["value"], **at}


def _curves(content: Mapping[str, Any]) -> list[Curve]:
    return [curve for one in content["sets"] for curve in one["curves"]]


def short(value: float) -> str:
    """Write a correlation as papers do.

    >>> short(0.284), short(-0.031), short(1.0)
    ('.28', '-.03', '1.00')
    """
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def more(steps: int, session: Mapping[str, Any]) -> str:
    """Return what is added, in words.

    >>> more(4, {"column": "session", "samples": 600}), more(1, {"column": "", "samples": 1500})
    ('four more sessions (2,400 samples)', '1,500 more samples')
    """
    samples = f"{steps * session['samples']:,}"
    if not session["column"]:
        return f"{samples} more samples"
    count = _NUMBERS[steps] if steps < len(_NUMBERS) else str(steps)
    return f"{count} more session{'s' if steps > 1 else ''} ({samples} samples)"


def span(at: Mapping[str, float]) -> str:
    """Write a value with its interval."""
    return f"{short(at['value'])} [{short(at['low'])}, {short(at['high'])}]"


def sentence(one: Curve, session: Mapping[str, Any]) -> str:
    """Say what the furthest step of a curve of profile correlation would bring; empty without a step."""
    if not one["ahead"]:
        return ""
    last = one["ahead"][-1]
    far = "extrapolated, far" if last["x"] > FAR * one["x"][-1] else "extrapolated"
    gain = f"r {short(one['now']['value'])} -> {span(last)} ({far})"
    if one["curve"] == "trials":
        return f"{int(last['x'])} instead of {int(one['now']['x'])} test trials averaged: {one['layer']} {gain}"
    as_what = "new images" if one["curve"] == "images" else "repeats of the same images"
    return f"{more(last['steps'], session)} of {as_what}: {one['layer']} {gain}"


def lines(content: Mapping[str, Any], study: Study) -> Iterator[str]:
    """Yield the printed answer: a table a network, subject and ROI, and sentences on the layer that is decoded best."""
    yield (
        f"Profile correlation, mean over {content['units']} units a layer at most and {content['draws']} draws; 'now' "
        "and what follows are read from fitted curves, with intervals over draws and units:"
    )
    for one in content["sets"]:
        own, session = _profiles(one, "images"), one["session"]
        if not own:
            continue
        yield ""
        yield (
            f"{one['network']}, {one['subject']}, {one['roi']}: {one['n_stimuli']} training images, "
            f"{one['n_samples']} samples{sessions(session)}"
        )
        yield from aligned(_printed(one))
        best = max(own, key=lambda curve: curve["now"]["value"])["layer"]
        for curve in one["curves"]:
            told = curve["layer"] == best and curve["metric"] == "profile_correlation" and sentence(curve, session)
            if told:
                where = f"{dataset_title(study, curve['dataset'])}: " if curve["dataset"] else ""
                yield f"  {where}{told}"
        for absent in one["left_out"]:
            where = " ".join(str(absent[key]) for key in ("dataset", "layer") if absent.get(key))
            yield f"  no curve of {AXES[absent['curve']]}{f' ({where})' if where else ''}: {absent['reason']}"
    yield ""
    yield checked(content)


def sessions(session: Mapping[str, Any]) -> str:
    """Return how many sessions there are, in words; empty where the samples do not say."""
    return f" in {session['sessions']} sessions of {session['samples']}" if session["column"] else ""


def _profiles(one: Mapping[str, Any], curve: str) -> list[Curve]:
    return [c for c in one["curves"] if (c["curve"], c["metric"]) == (curve, "profile_correlation")]


def _printed(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the table of one network, subject and ROI, its heading first."""
    images, repeats = _profiles(one, "images"), {c["layer"]: c for c in _profiles(one, "repeats")}
    voxels = {c["layer"]: c for c in _profiles(one, "voxels")}
    steps = [f"+{ahead['steps']}" for ahead in images[0]["ahead"]]
    unit = "sessions" if one["session"]["column"] else f"x {one['session']['samples']} samples"
    head = ("layer", "now", *(f"{step} {unit}, new images" for step in steps))
    found = [(*head, f"{steps[-1]} {unit}, repeats", "half the voxels")]
    for curve in images:
        name = curve["layer"]
        again = span(repeats[name]["ahead"][-1]) if name in repeats else "-"
        half = _half(voxels[name]) if name in voxels else "-"
        cells = [span(curve["now"]), *(span(ahead) for ahead in curve["ahead"])]
        found.append((name, *cells, again, half))
    return found


def _half(curve: Curve) -> str:
    """Return what the curve says of half the voxels."""
    x = curve["x"][-1] / 2
    return short(float(value_at(curve, np.array([x]))[0]))


def value_at(curve: Curve, x: Array) -> Array:
    """Return the value of a fitted curve at sizes: see `numerics.saturation`."""
    rise = curve["a"] * np.sqrt(x / (x + curve["b"]))
    return np.asarray(ndtr(rise) if curve["metric"].startswith("identification") else rise)


def aligned(texts: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows of texts as lines, one column below another."""
    widths = [max(len(text[i]) for text in texts) for i in range(len(texts[0]))]
    for text in texts:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)).rstrip()


def checked(content: Mapping[str, Any], metric: str = "profile_correlation") -> str:
    """Say how often a curve of the sizes up to half of the largest foretold the largest within its interval."""
    parts = []
    told = [c for c in _curves(content) if c["foretold"] and c["metric"] == metric]
    for name, group in groupby(sorted(told, key=lambda c: tuple(AXES).index(c["curve"])), key=lambda c: c["curve"]):
        own = [c["foretold"] for c in group]
        within = sum(one["low"] <= one["measured"] <= one["high"] for one in own)
        error = float(np.mean([one["predicted"] - one["measured"] for one in own]))
        parts.append(f"{AXES[name]} {within} of {len(own)} (mean error {error:+.3f})")
    if not parts:
        return "Check: no curve has three sizes up to half of its largest, so nothing was foretold to be checked."
    return (
        "Check: curves fitted to sizes up to half of the largest foretell the largest, measured, within their "
        "interval: "
        f"{'; '.join(parts)}."
    )


def _panels(one: Mapping[str, Any], study: Study, *, page: bool) -> list[tuple[str, Panel]]:
    """Return one panel a curve, all layers in it, with the dataset's name where it is of test trials.

    Parameters
    ----------
    page
        False: only for files; then nothing is drawn yet.
    """
    found = []
    profiles = [c for c in one["curves"] if c["metric"] == "profile_correlation"]
    for key in dict.fromkeys((c["curve"], c["dataset"]) for c in profiles):
        own = [c for c in profiles if (c["curve"], c["dataset"]) == key]
        what = f", {dataset_title(study, key[1])}" if key[1] else ", held-out training images"
        where = f"{one['network']}, {one['subject']}, {one['roi']}"
        made = drawn(own, AXES[key[0]], where + what, page=page)
        found.append(("-".join(part for part in key if part), made))
    return found


def drawn(curves: Sequence[Curve], axis: str, where: str, *, page: bool, score: str = "Profile correlation") -> Panel:
    """Return a panel of curves that share an axis, each named by its layer; `page` as in `_panels`."""
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(curves)))
    named = {round(i) for i in np.linspace(0, len(curves) - 1, min(len(curves), _LEGEND))}

    def draw(axes: Axes, ink: Ink) -> None:
        for number, (one, colour) in enumerate(zip(curves, colours, strict=True)):
            x, mean = np.asarray(one["x"]), np.asarray(one["mean"])
            last = max([x[-1], one["now"]["x"], *(ahead["x"] for ahead in one["ahead"])])
            last = min(last, max(FAR * x[-1], one["now"]["x"]))  # what lies farther would press the rest together
            inside, beyond = np.linspace(x[0], x[-1], 60), np.linspace(x[-1], last, 40)
            axes.plot(inside, value_at(one, inside), color=colour, linewidth=1.2)
            axes.plot(beyond, value_at(one, beyond), color=colour, linewidth=1.2, linestyle=(0, (3, 2)))
            whiskers = [mean - np.asarray(one["low"]), np.asarray(one["high"]) - mean]
            axes.errorbar(
                x, mean, yerr=np.maximum(whiskers, 0), color=colour, linestyle="", elinewidth=0.8,
                marker=MARKERS[number % len(MARKERS)], markersize=3.2, markeredgewidth=0,
                label=one["layer"] if number in named else None,
            )  # fmt: skip
        axes.set_xlim(left=0)
        axes.set_xlabel(axis)
        plain(axes, ink, grid="both")
        # A fixed place: looking for the best one takes minutes with many layers.
        axes.legend(loc="lower right", frameon=False, fontsize=6.5, labelcolor=ink.text, handlelength=1.2)

    told = "; ".join(
        f"{one['layer']} from {one['mean'][0]:.2f} at {one['x'][0]:g} to {one['mean'][-1]:.2f} at {one['x'][-1]:g}"
        for one in curves
    )
    subtitle = f"{where}; dashed: beyond what was tried"
    title = f"{score} by {axis}"
    alt = f"{title}, {where}: {told}."
    return panel(title, draw, subtitle=subtitle, alt=alt) if page else Panel(title, subtitle, "", alt, draw)


def write_figures(content: Mapping[str, Any], study: Study, folder: Path) -> list[Path]:
    """Draw every curve as PNG and PDF, one figure a network, subject, ROI and kind; return the files."""
    files = []
    for one in content["sets"]:
        for stem, made in _panels(one, study, page=False):
            files += save(made, folder, f"{one['network']}-{one['subject']}-{one['roi']}-{stem}")
    return files


def section(content: Mapping[str, Any], study: Study, *, roi: str) -> Section:
    """Return what the report shows of one ROI: the panels of each network and subject, and sentences on all layers."""
    panels, sentences, found = list[Panel](), [checked(content)], list[Line]()
    for one in content["sets"]:
        if one["roi"] != roi:
            continue
        panels += [made for _, made in _panels(one, study, page=True)]
        for curve in one["curves"]:
            if curve["metric"] != "profile_correlation" or not curve["ahead"]:
                continue
            last = curve["ahead"][-1]
            note = f"{one['network']}, {one['subject']}"
            what = more(last["steps"], one["session"]) if curve["curve"] != "trials" else "twice the trials"
            if curve["dataset"]:
                what = f"{what}, {dataset_title(study, curve['dataset'])}"
            as_what = {"images": "new images", "repeats": "repeats"}.get(curve["curve"], "test trials averaged")
            cells = (
                Cell(as_what), Cell(what), Cell(span(curve["now"])), Cell(span(last)),
                Cell(f"{curve['x'][-1]:g}"), Cell(f"{last['x']:.0f}"),
            )  # fmt: skip
            found.append(Line(curve["layer"], note, "reconstruction", cells))
    columns = ("As", "More", "r now", "r then, extrapolated", "Largest tried", "Then")
    note = "read from fitted curves, with intervals over draws and units"
    table = Table("What more data would bring", note, columns, tuple(found)) if found else None
    return Section(tuple(sentences), tuple(panels), table)
