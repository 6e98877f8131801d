"""Plots of accuracy over layers, as inline SVG that takes its ink from the page: legible in light and dark."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpc_recon.core.files import write_atomic

#: Colours of the series: contrast on white and on near-black, distinct to colour-blind readers; markers differ too.
COLOURS = ("#1f86b4", "#d9752b", "#379a6c", "#b35a92", "#8d8a2c", "#7277d3")
MARKERS = ("o", "s", "^", "D", "v", "P")
#: Colours that the page replaces by its own: text, and the lines of the grid.
_INK, _RULE = "#010203", "#040506"
_DOTS = 200
#: Ticks of the vertical axis, at most.
_TICKS = 6
_SIZE = (3.55, 2.75)  # inches of 72 px: about 256 px wide at least on a telephone, a third of the page on a laptop


#: Inches that title and legend of a file take beside the plot.
_TITLE = 0.4
#: Letters that a line of the legend of a file holds.
_LETTERS = 60


@dataclass(frozen=True)
class Series:
    """One line: a value a layer (None: not defined), and the limits of its interval where there is one."""

    name: str
    mean: Sequence[float | None]
    low: Sequence[float | None] = field(default=())
    high: Sequence[float | None] = field(default=())
    #: Index of its colour and marker, the same in all panels.
    style: int = 0
    #: The interval is a range over units (drawn as a band), not of confidence in the mean (drawn as whiskers).
    is_range: bool = False


@dataclass(frozen=True)
class Ink:
    """Colours of text and of the lines of the grid."""

    text: str
    rule: str


#: The page replaces these by its own; a file keeps its own.
_PAGE, _FILE = Ink(_INK, _RULE), Ink("#222222", "#d9d9d9")
Draw = Callable[[Axes, Ink], None]


@dataclass(frozen=True)
class Panel:
    """One finished plot: `svg` is markup for the page, `alt` says in words what it shows, `draw` draws it anew."""

    title: str
    subtitle: str
    svg: str
    alt: str
    draw: Draw = field(compare=False, repr=False)
    #: Inches of 72 px.
    height: float = _SIZE[1]


def panel(title: str, draw: Draw, *, subtitle: str, alt: str, height: float = _SIZE[1]) -> Panel:
    """Draw a plot for the page, `height` inches high."""
    with _style():
        figure = Figure(figsize=(_SIZE[0], height), layout="constrained")
        draw(figure.add_subplot(), _PAGE)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Panel(title, subtitle, inline(buffer.getvalue()), alt, draw, height)


def save(one: Panel, folder: Path, stem: str) -> list[Path]:
    """Write a plot as `<stem>.png` (200 dots an inch) and `<stem>.pdf`, with its title; return the files."""
    with _style():
        figure = Figure(figsize=(_SIZE[0], one.height + _TITLE), layout="constrained")
        axes = figure.add_subplot()
        one.draw(axes, _FILE)
        axes.set_title(one.title, color=_FILE.text, fontsize=9, loc="left", pad=14)
        figure.draw_without_rendering()  # laid out once, not for each file
        figure.set_layout_engine("none")
        files = []
        for ending, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=_DOTS, metadata=metadata)
            files.append(write_atomic(folder / f"{stem}.{ending}", buffer.getvalue()))
    return files


def _style() -> AbstractContextManager[None]:
    """Return the settings of all plots; names of methods and columns are text, not formulas, whatever they hold."""
    return mpl.rc_context(
        {
            "font.size": 9,
            "pdf.fonttype": 42,
            "svg.fonttype": "none",
            "svg.hashsalt": "hpc_recon",
            "text.parse_math": False,
        }
    )


def layer_panel(
    title: str,
    series: Sequence[Series],
    *,
    groups: Sequence[tuple[str, Sequence[str]]],
    chance: float,
    limits: tuple[float, float],
    subtitle: str = "",
) -> Panel:
    """Plot accuracy over layers.

    Parameters
    ----------
    series
        One line a dataset; values in the order of the layers, all networks one after the other.
    groups
        The name and layers of each network; lines are not drawn from one network to the next.
    chance
        Where guessing is, drawn as a dashed line.
    limits
        Ends of the vertical axis.
    """
    places = _places(groups)

    def draw(axes: Axes, ink: Ink) -> None:
        for number, one in enumerate(series):
            _draw(axes, one, places, groups=groups, shift=(number - (len(series) - 1) / 2) * 0.09)
        axes.set_ylim(*limits)
        _dress(axes, places, groups=groups, chance=chance, ink=ink)
        legend_below(axes, ink)

    return panel(title, draw, subtitle=subtitle, alt=_alt(title, series, groups))


def legend_below(axes: Axes, ink: Ink) -> None:
    """Name the series of a file below its plot, where there are several; the page has one legend for all plots."""
    handles, names = axes.get_legend_handles_labels() if ink is _FILE else ([], [])
    once = dict(zip(names, handles, strict=True))  # a line over two networks is drawn in two parts
    handles, names = list(once.values()), list(once)
    if len(names) > 1 and isinstance(axes.figure, Figure):
        n_columns = max(1, min(3, _LETTERS // (max(map(len, names)) + 4)))
        axes.figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=7, labelcolor=ink.text,
                           ncols=n_columns, columnspacing=1.2, handlelength=1.4)  # fmt: skip


def _places(groups: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """Return the horizontal place of each layer, with a gap between networks."""
    places, at = [], 0.0
    for _, layers in groups:
        places += [at + i for i in range(len(layers))]
        at += len(layers) + 0.6
    return places


def _draw(
    axes: Axes, one: Series, places: Sequence[float], *, groups: Sequence[tuple[str, Sequence[str]]], shift: float
) -> None:
    colour, marker = COLOURS[one.style % len(COLOURS)], MARKERS[one.style % len(MARKERS)]
    start = 0
    for _, layers in groups:
        index = [i for i in range(start, start + len(layers)) if one.mean[i] is not None]
        start += len(layers)
        x = [places[i] + (0 if one.is_range and len(index) > 1 else shift) for i in index]
        y = [float(one.mean[i] or 0) for i in index]
        limits = [(one.low[i], one.high[i]) if one.low else (None, None) for i in index]
        if one.is_range and len(index) > 1 and all(low is not None for low, _ in limits):
            axes.fill_between(x, [float(a or 0) for a, _ in limits], [float(b or 0) for _, b in limits], color=colour,
                              alpha=0.11, linewidth=0)  # fmt: skip
        else:
            for where, (low, high) in zip(x, limits, strict=True):
                if low is not None and high is not None:
                    axes.plot([where, where], [low, high], color=colour, linewidth=1.2, alpha=0.75)
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.4, markeredgewidth=0, label=one.name)


def _dress(
    axes: Axes, places: Sequence[float], *, groups: Sequence[tuple[str, Sequence[str]]], chance: float, ink: Ink
) -> None:
    """Draw the chance line, ticks and grid."""
    axes.axhline(chance, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
    axes.set_xlim(-0.6, places[-1] + 0.6)
    axes.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
                  color=ink.text, alpha=0.7, fontsize=8, ha="right", va="bottom")  # fmt: skip
    names = [layer for _, layers in groups for layer in layers]
    if len(names) > 10:
        axes.set_xticks(places, names, rotation=90)
    elif len(names) > 4 or max(map(len, names)) > 8:
        axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, names)
    plain(axes, ink)
    if len(groups) > 1:
        start = 0
        for name, layers in groups:
            middle = (places[start] + places[start + len(layers) - 1]) / 2
            axes.annotate(name, (middle, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), color=ink.text,
                          alpha=0.75, textcoords="offset points", fontsize=8, ha="center", va="bottom")  # fmt: skip
            start += len(layers)


def plain(axes: Axes, ink: Ink, *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Leave a grid and the lower line of a plot, in the colours of the page or file."""
    axes.yaxis.set_major_locator(
        MaxNLocator(_TICKS, steps=(1, 2, 2.5, 5, 10))
    )  # not as many as fit beside names of any length
    axes.grid(axis=grid, color=ink.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(ink.rule)
    axes.tick_params(colors=ink.text, length=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(ink.text)


def inline(svg: str) -> str:
    """Return SVG for inside a page: no prolog, no fixed size, the page's ink, and no identifiers that could clash."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = body.replace("<svg", '<svg aria-hidden="true"', 1)
    body = body.replace(_INK, "currentColor").replace(_RULE, "var(--rule)")
    used = set(re.findall(r"url\(#([^)]+)\)", body)) | set(re.findall(r'href="#([^"]+)"', body))
    prefix = f"f{zlib.crc32(body.encode()):08x}-"
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", body)


def _alt(title: str, series: Sequence[Series], groups: Sequence[tuple[str, Sequence[str]]]) -> str:
    names = [layer for _, layers in groups for layer in layers]
    parts = []
    for one in series:
        values = [(value, name) for value, name in zip(one.mean, names, strict=True) if value is not None]
        if values:
            low, high = min(values), max(values)
            parts.append(f"{one.name} from {low[0]:.2f} ({low[1]}) to {high[0]:.2f} ({high[1]})")
    return f"{title} by layer: {'; '.join(parts) if parts else 'no values'}."


def marker_svg(style: int) -> str:
    """Return a small drawing of a series' line and marker, for a legend written in HTML."""
    colour = COLOURS[style % len(COLOURS)]
    shapes = {
        "o": '<circle cx="11" cy="6" r="3.4"/>',
        "s": '<rect x="7.8" y="2.8" width="6.4" height="6.4"/>',
        "^": '<path d="M11 2 15 9.4H7z"/>',
        "D": '<path d="M11 1.8 15 6 11 10.2 7 6z"/>',
        "v": '<path d="M11 10 15 2.6H7z"/>',
        "P": '<path d="M9.6 2h2.8v2.6H15v2.8h-2.6V10H9.6V7.4H7V4.6h2.6z"/>',
    }
    shape = shapes[MARKERS[style % len(MARKERS)]]
    line = '<path d="M0 6H22" stroke-width="1.6"/>'
    size = 'viewBox="0 0 22 12" width="22" height="12"'
    return f'<svg {size} fill="{colour}" aria-hidden="true"><g stroke="{colour}">{line}</g>{shape}</svg>'
