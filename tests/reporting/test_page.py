"""The page escapes what it is given, and refers to nothing outside itself."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hpc_recon.reporting import layer_plots, page, pictures, power, runs, score_tables, words

VOID = {"meta", "img", "br", "link", "path", "rect", "circle", "use", "input"}
HOSTILE = '<script>alert("1")</script>'


class Checker(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.sources += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.sources += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def check(html):
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    return checker


@pytest.fixture
def content(summary, study):
    import numpy as np

    image = pictures.picture(np.zeros((8, 8, 3), np.uint8), f"Stimulus {HOSTILE}")
    rows = [pictures.Strip("seen", "", "stimulus", (image,)), pictures.Strip(HOSTILE, "S1", "reconstruction", (image,))]
    scores = summary()
    return page.Page(
        title=HOSTILE,
        description=HOSTILE,
        label=words.label(study),
        verdict=words.Verdict(f"All is well {HOSTILE}", ("Indeed.",)),
        galleries=[pictures.gallery("Digits", ["a"], rows), pictures.gallery("Folds", ["a"], rows, is_open=False)],
        image_tables=score_tables.image_tables(scores, study, split="all", roi="VC"),
        fold_tables=[],
        roi_table=None,
        legend=layer_plots.legend(scores, study),
        panel_rows=layer_plots.panel_rows(scores, study, roi="VC"),
        other_rois=[],
        layer_table=score_tables.layer_table(scores, study, roi="VC"),
        choices=[score_tables.ChoiceRow("pixels", "x", "50", "10", "0.3", (f"edge {HOSTILE}",))],
        run=runs.RunFigures((), (), (("numpy", "2"),), 0.0),
        warnings=[HOSTILE],
        study_yaml=f"name: {HOSTILE}",
        definitions=[("SSIM", "defined")],
        facts=[("Subject", "S1")],
        confidence="95 %",
        version="0",
    )


def test_everything_is_escaped(content):
    html = page.render(content)
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;") >= 8
    assert "Pixels &amp; &lt;more&gt;" in html


def test_what_more_data_would_bring_is_a_section(content):
    assert 'id="power"' not in page.render(content)
    row = score_tables.Line(HOSTILE, "vgg, S1", "reconstruction", (score_tables.Cell(".28 [.27, .29]"),))
    table = score_tables.Table("What more", "read from curves", ("r now",), (row,))
    panels = content.panel_rows[0].panels
    html = page.render(replace(content, power=[power.Section((f"Check {HOSTILE}",), panels, table)]))
    checker = check(html)
    assert HOSTILE not in html
    assert ".28 [.27, .29]" in html
    assert "Check &lt;script&gt;" in html
    assert ("section", {"id": "power"}) in checker.tags


def test_a_telephone_repeats_the_names_of_rows_after_three_pictures(content):
    """All rows of a band wrap together there: each part of three needs the names of its rows."""
    image = pictures.Picture("data:,", "x", is_pixelated=False)
    rows = [
        pictures.Strip("seen", "", "stimulus", (image,) * 7),
        pictures.Strip("deep", "S1", "reconstruction", (image,) * 7),
    ]
    html = page.render(replace(content, galleries=[pictures.gallery("Letters", "ABCDEFG", rows)]))
    names = [
        attributes["class"]
        for tag, attributes in check(html).tags
        if tag == "div" and "name" in attributes.get("class", "")
    ]
    assert names == ["name", "name again part1", "name again part2"] * 2
    assert html.count("deep <small>S1</small>") == 3
    assert [html.count(f'style="--row:{i}"') for i in range(3)] == [1, 1, 0]


def test_the_page_is_well_formed_and_self_contained(content):
    checker = check(page.render(content))
    assert all(source.startswith(("data:", "#")) for source in checker.sources)
    tags = [tag for tag, _ in checker.tags]
    assert not {"link", "iframe", "object"} & set(tags)
    assert not any("src" in attributes for tag, attributes in checker.tags if tag == "script")
    assert tags.count("h1") == 1


def test_every_image_and_plot_has_an_alternative_text(content):
    checker = check(page.render(content))
    # The viewer's images have none before they show one.
    shown = [attributes for tag, attributes in checker.tags if tag == "img" and "id" not in attributes]
    assert all(attributes.get("alt") for attributes in shown)
    assert all(attributes.get("aria-label") for tag, attributes in checker.tags if tag == "figure")


def test_light_dark_print_and_narrow_are_provided_for(content):
    html = page.render(content)
    for need in (
        "prefers-color-scheme: dark",
        "@media print",
        "max-width: 640px",
        "image-rendering: pixelated",
        "viewport",
    ):
        assert need in html


def test_empty_parts_leave_no_headings(content):
    from dataclasses import replace

    bare = replace(
        content, galleries=[], image_tables=[], panel_rows=[], choices=[], warnings=[], layer_table=None, label=""
    )
    html = page.render(bare)
    check(html)
    for heading in ("Images", "Scores of the images", "Warnings", "Chosen by"):
        assert f"<h2>{heading}" not in html
    assert "No receipts were found" in html


def test_tables_of_converters_are_shown_where_there_are_some(content):
    assert "Converted activity" not in page.render(content)
    line = score_tables.Line("conv1_1", HOSTILE, "reconstruction", (score_tables.Cell("0.75"),))
    table = score_tables.Table(f"Decoders of {HOSTILE}", "", ("Profile correlation",), (line,))
    html = page.render(replace(content, conversion_tables=[table]))
    check(html)
    assert "Converted activity" in html
    assert "<script>alert" not in html
    assert "0.75" in html
