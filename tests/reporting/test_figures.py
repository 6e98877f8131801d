"""Plots are valid inline SVG that takes its ink from the page and says in words what it shows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from hpc_recon.reporting import figures

GROUPS = [("pixels", ["pixels"]), ("vgg", ["conv1_1", "conv1_2", "a<b"])]
ONE = figures.Series("letters", [0.2, 0.5, None, 0.9], [0.1, 0.4, None, 0.8], [0.3, 0.6, None, 1.0])


@pytest.fixture
def panel():
    band = figures.Series("shapes", [0.3] * 4, [0.1] * 4, [0.5] * 4, style=1, is_range=True)
    return figures.layer_panel("Identification", [ONE, band], groups=GROUPS, chance=0.5, limits=(0, 1.1))


def test_the_svg_is_well_formed_without_size_or_prolog(panel):
    root = ET.fromstring(panel.svg)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & set(root.attrib)


def test_text_is_text_in_the_ink_of_the_page(panel):
    assert "currentColor" in panel.svg
    assert "var(--rule)" in panel.svg
    assert figures._INK not in panel.svg
    assert "chance" in panel.svg
    assert "a&lt;b" in panel.svg


def test_identifiers_do_not_clash_between_plots(panel):
    other = figures.layer_panel("Profile", [ONE], groups=GROUPS, chance=0.0, limits=(-0.1, 1.1))
    first, second = (set(re.findall(r' id="([^"]+)"', p.svg)) for p in (panel, other))
    assert first
    assert not first & second
    assert set(re.findall(r"url\(#([^)]+)\)", panel.svg)) <= first


def test_nothing_is_fetched(panel):
    assert "href=" not in re.sub(r'href="#[^"]*"', "", panel.svg)
    assert "@import" not in panel.svg


def test_the_same_plot_gives_the_same_bytes(panel):
    band = figures.Series("shapes", [0.3] * 4, [0.1] * 4, [0.5] * 4, style=1, is_range=True)
    again = figures.layer_panel("Identification", [ONE, band], groups=GROUPS, chance=0.5, limits=(0, 1.1))
    assert again.svg == panel.svg


def test_the_alternative_text_names_the_extremes(panel):
    assert "letters from 0.20 (pixels) to 0.90 (a<b)" in panel.alt


@pytest.mark.parametrize("n", [1, 5, 19])
def test_any_number_of_layers_is_drawn(n):
    names = [f"conv{i}" for i in range(n)]
    panel = figures.layer_panel(
        "P", [figures.Series("s", [0.1] * n)], groups=[("vgg", names)], chance=0, limits=(-0.1, 0.3)
    )
    assert all(f">{name}<" in panel.svg for name in names)


def test_series_differ_by_colour_and_marker():
    markers = {figures.marker_svg(i) for i in range(len(figures.COLOURS))}
    assert len(markers) == len(figures.COLOURS) == len(figures.MARKERS)
    for marker in markers:
        ET.fromstring(marker)


def test_a_file_names_each_series_once_though_its_line_has_a_part_for_each_network(panel):
    figure = Figure()
    panel.draw(figure.add_subplot(), figures._FILE)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["letters", "shapes"]
