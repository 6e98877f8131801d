"""The page of decoded latents: scores with their baseline, decoded against true attributes, strips of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from hpc_recon.core.array import Array
from hpc_recon.reporting import pictures
from hpc_recon.reporting.figures import COLOURS, Ink, panel, plain

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}: decoded latents</title>
<style>:root{--rule:#ccc}svg{width:256px}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
img{width:96px;image-rendering:pixelated}figure{display:inline-block;margin:0 1rem 1rem 0}</style></head><body>
<h1>{{ title }}: decoded latents</h1>
<p>Latent similarity is 1 / (1 + mean squared error). It rewards shrinkage: that of a latent of zeros stands beside it,
and cosine, correlation by number and identification (chance 50 %) are not improved by shrinking.</p>
{% for set in sets %}<h2>{{ set.heading }}</h2>
<table>{% for name, value in set.rows %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
{% for plot in set.plots %}<figure>{{ svg(plot.svg) }}<figcaption>{{ plot.caption }}</figcaption></figure>{% endfor %}
{% for strip in set.images %}<h3>{{ strip.name }}</h3>{% for row in strip.rows %}<p>{% for image in row %}
<img src="{{ image.uri }}" alt="{{ image.alt }}">{% endfor %}</p>{% endfor %}{% endfor %}{% endfor %}
</body></html>
"""


@dataclass(frozen=True)
class Scores:
    """What is known of the latents of one entry and place: the summary of `evaluate`, and strips by item."""

    variant: str
    place: tuple[str, str, str]
    summary: Mapping[str, Any]
    strips: Mapping[str, Array] = field(default_factory=dict)


def render(title: str, sets: Sequence[Scores]) -> str:
    """Return the HTML; all text is escaped, and nothing is fetched from anywhere."""
    environment = Environment(loader=BaseLoader(), autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_PAGE).render(title=title, sets=[_shown(own) for own in sets], svg=Markup)


def _shown(own: Scores) -> dict[str, Any]:
    return {
        "heading": f"{own.variant}: {', '.join(own.place)}",
        "rows": _rows(own.summary),
        "plots": [{"svg": _scatter(a), "caption": _caption(a)} for a in own.summary.get("attributes", ())],
        "images": [
            {
                "name": name,
                "rows": [[pictures.picture(image, f"{name}, edited") for image in row] for row in strip],
            }
            for name, strip in own.strips.items()
        ],
    }


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not summary["n"]:
        return [("items that show a stimulus", "none, so nothing is scored")]
    rows = [("items", str(summary["n"])), ("numbers of a latent", str(summary["n_numbers"]))]
    for name, value in summary["mean"].items():
        error = summary["standard_error"][name]
        rows.append((name.replace("_", " "), f"{value:.3f}" + (f" (standard error {error:.3f})" if error else "")))
    mean = summary["correlation_by_number"]["mean"]
    rows.append(("correlation by number, mean", "not defined" if mean is None else f"{mean:.3f}"))
    rows += [
        (f"p of {name.replace('_', ' ')}, shuffled pairs", f"{p:.4f}")
        for name, p in summary["p_shuffled_pairs"].items()
    ]
    rows += [
        (f"p of {name.replace('_', ' ')}, random latents", f"{p:.4f}")
        for name, p in summary.get("p_random_latents", {}).items()
    ]
    return rows


def _caption(attribute: Mapping[str, Any]) -> str:
    but = f", without {', '.join(attribute['conditions'])}" if attribute["conditions"] else ""
    r, slope = attribute["r"], attribute["slope"]
    found = "not defined" if r is None else f"r = {r:.2f}, slope {slope:.2f}"
    return f"{attribute['name']}{but}: {found}"


def _scatter(attribute: Mapping[str, Any]) -> str:
    """Return decoded against true scores as SVG markup, with the line of equality."""
    decoded, true = attribute["decoded"], attribute["true"]
    ends = [min(*decoded, *true), max(*decoded, *true)]

    def draw(axes: Axes, ink: Ink) -> None:
        axes.plot(ends, ends, color=ink.rule, zorder=0)
        axes.scatter(true, decoded, s=12, color=COLOURS[0])
        axes.set(xlabel="true score", ylabel="decoded score")
        plain(axes, ink)

    return panel(attribute["name"], draw, subtitle="", alt=_caption(attribute)).svg
