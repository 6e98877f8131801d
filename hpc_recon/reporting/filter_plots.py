"""Filters of a first convolution: decoding accuracy of absolute values against that of raw outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hpc_recon.core.config import Study
from hpc_recon.core.network_options import Network
from hpc_recon.core.score_names import FILTER_COLUMNS
from hpc_recon.reporting import tables
from hpc_recon.reporting.figures import COLOURS, MARKERS, Ink, Panel, legend_below, panel, plain
from hpc_recon.reporting.words import dataset_title

#: The table, as `evaluate` writes it.
NAME = "filters.csv"
#: Style, name, and a value a filter of both axes.
_Points = tuple[int, str, pd.Series, pd.Series]


def read(scores: Path) -> pd.DataFrame | None:
    """Return `scores/filters.csv`; None where the study decodes no first convolution.

    Raises
    ------
    DamagedStore
        If the file is empty or has other columns.
    """
    path = scores / NAME
    return tables.read_frame(path, columns=FILTER_COLUMNS) if path.exists() else None


def collect(frame: pd.DataFrame | None, study: Study, *, roi: str) -> list[Panel]:
    """Draw each filter as a point: its mean profile correlation raw against that of absolute values.

    One panel for absolute values of what was decoded, one for each network that is decoded as absolute values
    (`transform: abs`) beside a raw twin; a colour a dataset, mean over subjects, own training alone.
    """
    if frame is None:
        return []
    own = frame[(frame["roi"] == roi) & (frame["split"] == "all") & frame["value"].notna()]
    found = []
    for raw, other, kind, told in _pairs(study):
        points = []
        for style, dataset in enumerate(study.test_datasets()):
            x, y = (_means(own, dataset, *key) for key in ((raw, "raw"), (other, kind)))
            shared = x.index.intersection(y.index)
            if len(shared):
                points.append((style, dataset_title(study, dataset), x[shared], y[shared]))
        if points:
            title = f"Filters of {raw}" if other == raw else f"Filters of {raw} and {other}"
            found.append(_panel(points, title, told))
    return found


def _pairs(study: Study) -> Iterator[tuple[str, str, str, str]]:
    """Yield a raw network, the one of absolute values, the kind of features of that, and what they are in words."""
    for raw, network in study.networks.items():
        if network.transform == "none":
            yield raw, raw, "absolute", "absolute values of what was decoded"
            for other, twin in study.networks.items():
                if twin.transform == "abs" and _weights(twin) == _weights(network):
                    yield raw, other, "trained_absolute", "decoders of absolute values"


def _weights(network: Network) -> tuple[object, ...]:
    return network.architecture, network.weights, network.image_size, network.preprocessing


def _means(frame: pd.DataFrame, dataset: str, network: str, kind: str) -> pd.Series:
    """Return the mean over subjects of each layer and filter."""
    chosen = frame[(frame["dataset"] == dataset) & (frame["network"] == network) & (frame["features"] == kind)]
    return chosen.groupby(["layer", "filter"])["value"].mean()


def _panel(points: Sequence[_Points], title: str, told: str) -> Panel:
    values = np.concatenate([values.to_numpy() for point in points for values in point[2:]])
    ends = [float(values.min()), float(values.max())]

    def draw(axes: Axes, ink: Ink) -> None:
        axes.plot(ends, ends, color=ink.text, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
        for style, name, x, y in points:
            axes.plot(
                x, y, linestyle="", markersize=4, markeredgewidth=0, alpha=0.75, label=name,
                color=COLOURS[style % len(COLOURS)], marker=MARKERS[style % len(MARKERS)],
            )  # fmt: skip
        axes.set_xlabel("profile correlation, raw")
        axes.set_ylabel("absolute values")
        axes.margins(0.06)
        plain(axes, ink, grid="both")
        legend_below(axes, ink)

    means = "; ".join(
        f"{name} {x.mean():.2f} raw, {y.mean():.2f} absolute, {int((y > x).sum())} of {len(x)} filters better so"
        for _, name, x, y in points
    )
    subtitle = f"first convolution, a point a filter, mean over its positions and subjects; {told}; dashed: equal"
    return panel(title, draw, subtitle=subtitle, alt=f"Profile correlation of filters, {told}: {means}.")
