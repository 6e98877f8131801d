"""Draw the figure of the fit from what `bench_peers.py` and `bench_growth.py` measured.

python benchmarks/plot_fit.py                  # benchmarks/results/{peers,growth}.json -> benchmarks/results/fit.png
python benchmarks/plot_fit.py --case "retinotopic, 1,200 x 8,000"
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator, PercentFormatter

RESULTS = Path(__file__).resolve().parent / "results"
#: Colours that remain apart for the colour-blind (Okabe and Ito, 2008).
OURS, OURS_MORE, PEERS = "#0072B2", "#56B4E9", ("#E69F00", "#D55E00", "#CC79A7", "#009E73")
TIMES = "\N{MULTIPLICATION SIGN}"
INK, FAINT = "#222222", "#dddddd"
#: Inches and dots per inch: 1,800 pixels, and text of 12 to 13 pixels where a README shows it 900 wide.
SIZE, DPI = (9.0, 7.4), 200
#: Part of the width of panel a that its longest bar takes; the rest is for the words beside it.
LONGEST_BAR = 0.45
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "axes.titlesize": 10.5, "axes.titlelocation": "left",
    "axes.titleweight": "bold", "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
    "axes.axisbelow": True, "grid.color": FAINT, "grid.linewidth": 0.8,
}  # fmt: skip


def colours(programs):
    """Return a colour for each program: blues for ours, the others in their order."""
    peers = iter(PEERS)
    found = {}
    for name in programs:
        if name.startswith("ours"):
            found[name] = OURS_MORE if OURS in found.values() else OURS
        else:
            found[name] = next(peers)
    return found


def quantity(microseconds):
    """Return a time with its unit.

    Examples
    --------
    >>> quantity(312.4), quantity(1713.6), quantity(93803.0)
    ('312 µs', '1.71 ms', '93.8 ms')
    """
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.3g} ms" if microseconds < 999_500 else f"{microseconds / 1e6:.3g} s"


def ratios(result):
    """Return what a peer's bar says beside its time: how many times ours it is."""
    found = {name.removeprefix("ours, "): f"{ratio:.3g}{TIMES}" for name, ratio in result.get("ratio_to", {}).items()}
    parts = [f"{ratio}{' ours' * (i == 0)} ({name})" for i, (name, ratio) in enumerate(found.items())]
    return f" = {', '.join(parts)}" if parts else ""


def draw_peers(axes, cases, names):
    """Draw the time of a unit of every program in each case, one bar each, on a logarithmic axis."""
    at, ticks, labels = 0.0, [], []
    for name in names:
        programs = cases[name]["programs"]
        colour = colours(programs)
        start = at
        for program, result in programs.items():
            time = result["microseconds_per_unit"]
            axes.barh(at, time, height=0.8, color=colour[program])
            low, high = result["microseconds_per_unit_range"]
            axes.plot([low, high], [at, at], color=INK, linewidth=1.2)
            axes.annotate(
                f"{program}: {quantity(time)}{ratios(result)}", (max(time, high), at), xytext=(5, 0),
                textcoords="offset points", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
            at += 1
        ticks.append((start + at - 1) / 2)
        labels.append(described(cases[name]))
        at += 0.7
    times = [r["microseconds_per_unit"] for name in names for r in cases[name]["programs"].values()]
    left, right = _floor(min(times)), _floor(max(times)) + 1
    axes.set_xscale("log")
    axes.set_xlim(10**left, 10 ** (left + (math.log10(max(times)) - left) / LONGEST_BAR))
    axes.set_xticks([10**power for power in range(left, right + 1)])
    axes.spines.bottom.set_bounds(10**left, 10**right)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x")
    k = cases[names[0]]["k"]
    axes.set_title(f"a  Time to fit one unit: choose {k} voxels, solve its ridge regression (logarithmic)")


def _floor(value):
    """Return the power of ten at or below a value."""
    return math.floor(math.log10(value))


def described(case):
    """Return the size of a case in three short lines."""
    return f"{case['n_samples']:,} samples\n{case['n_voxels']:,} voxels\n{case['data']}"


def draw_growth(seconds, memory, growth):
    """Draw seconds and peak memory against the number of units."""
    points = growth["units"]["points"]
    units = [point["n_units"] for point in points]
    style = {"color": OURS, "marker": "o", "markersize": 4.5, "linewidth": 1.6}
    seconds.plot(units, [point["fit_seconds"] for point in points], **style)
    last = points[-1]
    seconds.annotate(
        f"{last['fit_seconds']:,.0f} s", (last["n_units"], last["fit_seconds"]), xytext=(-9, -3),
        textcoords="offset points", ha="right",
    )  # fmt: skip
    seconds.set(xscale="log", yscale="log", ylabel="seconds")
    seconds.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    seconds.tick_params(labelbottom=False)
    seconds.grid()
    size = growth["sizes"]
    threads = growth["machine"]["threads"]
    seconds.set_title("b  Growth with the number of units")
    label = f"units ({size['n_voxels']:,} voxels, {size['n_samples']:,} samples, {threads} thread{'s' * (threads > 1)})"
    peak = [point["peak_bytes"] / 1e9 for point in points]
    memory.plot(units, peak, **style)
    memory.annotate(f"{peak[-1]:.2g} GB", (units[-1], peak[-1]), xytext=(-7, 6), textcoords="offset points", ha="right")
    seconds.yaxis.set_minor_formatter(NullFormatter())
    memory.set(xscale="log", ylabel="peak GB", xlabel=label, ylim=(0, 1.7 * max(peak)))
    memory.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    memory.xaxis.set_minor_formatter(NullFormatter())
    memory.grid()


def draw_limit(axes, cases):
    """Draw the share of the machine's limit that ours reaches in every case."""
    for row, case in enumerate(cases.values()):
        ours = {name: result for name, result in case["programs"].items() if "share_of_limit" in result}
        colour = colours(case["programs"])
        for number, (name, result) in enumerate(ours.items()):
            share = result["share_of_limit"]
            place = row + (number - (len(ours) - 1) / 2) * 0.38
            axes.barh(place, share, height=0.34, color=colour[name])
            inside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5}
            axes.annotate(name.partition(", ")[2], (0, place), color="white" if number == 0 else "black", **inside)
            axes.annotate(
                f"{share:.0%}", (share, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5
            )
    names = [f"{case['n_samples']:,} {TIMES} {case['n_voxels']:,}\n{case['data']}" for case in cases.values()]
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x")
    axes.set_xlabel("necessary arithmetic at the rate of a matrix product")
    axes.set_title("c  Share of the machine's limit")


def figure(peers, growth, *, names):
    """Return the figure: time of a unit, growth in units, share of the limit."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=SIZE, layout="constrained")
        top, bottom = drawn.subfigures(2, 1, height_ratios=(1, 1.15))
        draw_peers(top.subplots(), peers["cases"], names)
        left, right = bottom.subfigures(1, 2)
        draw_growth(*left.subplots(2, 1, height_ratios=(1.6, 1), sharex=True), growth)
        draw_limit(right.subplots(), peers["cases"])
    return drawn


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=RESULTS / "peers.json", help="of bench_peers.py")
    parser.add_argument("--growth", type=Path, default=RESULTS / "growth.json", help="of bench_growth.py")
    parser.add_argument("--case", action="append", help="a case of panel a; default: the first and the last of the "
                        "first kind of data; may be given again")  # fmt: skip
    parser.add_argument("--output", type=Path, default=RESULTS / "fit.png")
    options = parser.parse_args(argv)
    peers, growth = (json.loads(path.read_text()) for path in (options.peers, options.growth))
    cases = peers["cases"]
    unknown = set(options.case or ()) - set(cases)
    if unknown:
        parser.error(f"no case is named {', '.join(sorted(unknown))}; {options.peers} has: {'; '.join(cases)}")
    kind = next(iter(cases.values()))["data"]
    alike = [name for name, case in cases.items() if case["data"] == kind]
    names = options.case or list(dict.fromkeys([alike[0], alike[-1]]))
    useless = [f"{name}: {program}" for name in names for program, result in cases[name]["programs"].items()
               if result["microseconds_per_unit"] <= 0]  # fmt: skip
    if useless:
        parser.error(f"times must be positive, but the machine was too noisy for {'; '.join(useless)}; measure again")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):  # ticks are made, with their style, while the figure is written
        figure(peers, growth, names=names).savefig(options.output, dpi=DPI, metadata={"Software": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
