"""Draw how seconds grow with units, voxels, stimuli, images and threads, from what other benchmarks measured.

    python benchmarks/plot_review.py  # benchmarks/results/{growth,review,verb}.json -> docs/pictures/performance.svg

Units, voxels and stimuli are those of `bench_growth.py`, images of `bench_review.py`, threads of `bench_verb.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from plot_fit import OURS, STYLE

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SIZE = (9.0, 5.0)


def curves(growth, review, verb):
    """Return title, name of the abscissa, abscissae, seconds, and name of the ordinate of each panel."""
    points = growth["units"]["points"]
    threads = verb["median_seconds"]
    images = review["growth_images"]
    return [
        ("fit: units", "units", [p["n_units"] for p in points], [p["fit_seconds"] for p in points], "s"),
        *(
            (f"fit: {title}", title, [p[key] for p in growth[key]], [p["microseconds_per_unit"] for p in growth[key]],
             "µs a unit")
            for key, title in (("n_voxels", "voxels"), ("n_samples", "stimuli"))
        ),
        ("reconstruct: images", "images", [p["images"] for p in images],
         [p["cpu_seconds"] for p in images], "CPU s"),
        ("fit: threads of a worker", "threads", [int(n) for n in threads], [own["command"] for own in threads.values()],
         "s"),
    ]  # fmt: skip


def figure(growth, review, verb):
    """Return the figure: one panel a curve, both axes logarithmic, the lowest and the highest value in figures."""
    drawn = Figure(figsize=SIZE, layout="constrained")
    panels = drawn.subplots(2, 3).ravel()
    for axes, (title, name, x, y, unit) in zip(panels, curves(growth, review, verb), strict=False):
        axes.plot(x, y, color=OURS, marker="o", markersize=4.5, linewidth=1.6)
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel=unit, title=title)
        axes.set_ylim(min(y) / 2, max(y) * 2)
        ends = sorted({x[0], x[len(x) // 2], x[-1]})
        axes.set_xticks(ends, [f"{value:,}" for value in ends])
        axes.xaxis.set_minor_formatter(NullFormatter())
        levels = sorted({min(y), max(y)})
        axes.set_yticks(levels, [f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in levels])
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid()
    panels[-1].axis("off")
    return drawn


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("growth", "review", "verb"):
        parser.add_argument(f"--{name}", type=Path, default=RESULTS / f"{name}.json", help=f"of bench_{name}.py")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "pictures" / "performance.svg")
    options = parser.parse_args(argv)
    read = [json.loads(path.read_text()) for path in (options.growth, options.review, options.verb)]
    with mpl.rc_context(STYLE | {"svg.hashsalt": "performance", "svg.fonttype": "none"}):
        figure(*read).savefig(options.output, metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
