"""Scores by method: one row of points a method, whole titles, and a legend that covers no data."""

from __future__ import annotations

import itertools

from matplotlib.figure import Figure

from hpc_recon.reporting import figures, method_plots
from hpc_recon.reporting.figures import Series

LONG = "Deep image reconstruction with a generator network"
SERIES = [
    Series("New photographs", [0.9, None, 0.6], [0.8, None, 0.5], [1.0, None, 0.7]),
    Series("Shapes", [0.7, 0.8, 0.5], style=1),
]
NAMES = ["First", LONG, "Third"]


def made():
    return method_plots.method_panel("Identification", SERIES, names=NAMES, chance=0.5, limits=(0.4, 1.05))


def drawn(ink):
    figure = Figure(figsize=figures._SIZE, layout="constrained")
    axes = figure.add_subplot()
    made().draw(axes, ink)
    return figure, axes


def test_points_stand_at_their_scores_in_the_row_of_their_method():
    _, axes = drawn(figures._PAGE)
    points = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith("_")}
    assert points["New photographs"][:, 0].tolist() == [0.9, 0.6]
    assert points["New photographs"][:, 1].round().tolist() == [0, 2]
    assert points["Shapes"][:, 1].round().tolist() == [0, 1, 2]
    assert (points["New photographs"][:, 1] < points["Shapes"][[0, 2], 1]).all()  # side by side, never on each other
    whiskers = [list(line.get_xdata()) for line in axes.lines[1:] if line.get_label().startswith("_")]
    assert whiskers == [[0.8, 1.0], [0.5, 0.7]]
    assert axes.get_ylim() == (2.5, -0.5)  # the first method on top


def test_names_are_broken_and_stand_upright():
    _, axes = drawn(figures._PAGE)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[1] == "Deep image\nreconstruction\nwith a ..."
    assert [label.replace("\n", " ") for label in labels[::2]] == ["First", "Third"]
    assert {label.get_rotation() for label in axes.get_yticklabels()} == {0.0}


def test_the_plot_grows_with_the_methods_and_not_with_their_names():
    more = method_plots.method_panel("x", [Series("a", [0.5] * 9)], names=["m"] * 9, chance=0, limits=(0, 1))
    fewer = method_plots.method_panel("x", [Series("a", [0.5] * 2)], names=["m"] * 2, chance=0, limits=(0, 1))
    assert more.height - fewer.height > 7 * 0.2
    assert made().height < figures._SIZE[1]


def test_the_legend_of_a_file_covers_neither_the_plot_nor_its_title():
    figure, axes = drawn(figures._FILE)
    title = axes.set_title("Identification", loc="left", pad=14)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["New photographs", "Shapes"]
    boxes = [item.get_window_extent() for item in (legend, title)] + [axes.get_window_extent()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert drawn(figures._PAGE)[0].legends == []  # the page has one for all


def test_the_alternative_text_names_every_value():
    assert made().alt == (
        f"Identification by method: New photographs: First 0.90, Third 0.60; Shapes: First 0.70, {LONG} 0.80, "
        "Third 0.50."
    )
