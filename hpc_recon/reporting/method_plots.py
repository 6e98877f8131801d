"""Scores of images by method: a line of points a method, its whole title beside it, however many there are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hpc_recon.reporting.figures import COLOURS, MARKERS, Ink, Panel, Series, legend_below, panel, plain

#: Letters of a line and lines of a title: a third of the width of the plot.
_WIDTH, _LINES = 18, 3
#: Inches of a plot of no method, a line of text, a series, and the gap between methods.
_FRAME, _LINE, _POINT, _GAP = 0.65, 0.15, 0.12, 0.16
#: Share of a method's place that its points take.
_SPREAD = 0.62


def method_panel(
    title: str,
    series: Sequence[Series],
    *,
    names: Sequence[str],
    chance: float,
    limits: tuple[float, float],
    subtitle: str = "",
    kind: str = "method",
) -> Panel:
    """Draw scores by method, the first on top; points of one method lie below each other, a series each.

    Parameters
    ----------
    series
        One a dataset; values in the order of the methods.
    names
        Titles of the methods; long ones are broken, and end in dots behind three lines.
    chance
        Where guessing is, drawn as a dashed line.
    limits
        Ends of the horizontal axis.
    kind
        What a line is, for those who do not see it: a method, or a region.
    """
    labels = [wrapped(name) for name in names]
    n_lines = max(label.count("\n") + 1 for label in labels)
    height = _FRAME + len(names) * (max(n_lines * _LINE, len(series) * _POINT) + _GAP)

    def draw(axes: Axes, ink: Ink) -> None:
        axes.axvline(chance, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        for number, one in enumerate(series):
            colour, marker = COLOURS[one.style % len(COLOURS)], MARKERS[one.style % len(MARKERS)]
            shift = _SPREAD * ((number + 0.5) / len(series) - 0.5)
            known = [i for i, value in enumerate(one.mean) if value is not None]
            for i in known:
                low, high = (one.low[i], one.high[i]) if one.low else (None, None)
                if low is not None and high is not None:
                    axes.plot([low, high], [i + shift, i + shift], color=colour, linewidth=1.2, alpha=0.75)
            axes.plot(
                [float(one.mean[i] or 0) for i in known], [i + shift for i in known], color=colour, marker=marker,
                markersize=4, linestyle="", markeredgewidth=0, label=one.name,
            )  # fmt: skip
        plain(axes, ink, grid="x")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlim(*limits)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.annotate("chance", (chance, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), color=ink.text,
                      alpha=0.7, textcoords="offset points", fontsize=8, ha="center", va="bottom")  # fmt: skip
        legend_below(axes, ink)

    told = _alt(title if title.endswith(f" by {kind}") else f"{title} by {kind}", series, names)
    return panel(title, draw, subtitle=subtitle, alt=told, height=height)


def wrapped(name: str) -> str:
    r"""Return a title in lines of 18 letters, three at most.

    >>> wrapped("Deep image reconstruction")
    'Deep image\nreconstruction'
    >>> wrapped("A title that goes on for longer than anybody needs to know it by")
    'A title that goes\non for longer than\nanybody needs ...'
    """
    return "\n".join(textwrap.wrap(name, _WIDTH, max_lines=_LINES, placeholder=" ...")) or name


def _alt(title: str, series: Sequence[Series], names: Sequence[str]) -> str:
    parts = []
    for one in series:
        values = [f"{name} {value:.2f}" for name, value in zip(names, one.mean, strict=True) if value is not None]
        parts.append(f"{one.name}: {', '.join(values)}")
    return f"{title}: {'; '.join(parts)}."
