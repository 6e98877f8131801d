"""Filters raw against absolute: which points are drawn, and of which networks."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpc_recon.core.score_names import FILTER_COLUMNS
from hpc_recon.reporting import filter_plots, tables
from hpc_recon.reporting.figures import Ink

VALUES = {
    ("vgg", "raw"): (0.1, 0.2, 0.3),
    ("vgg", "absolute"): (0.4, 0.1, None),
    ("twin", "trained_absolute"): (0.5, 0.6, 0.7),
    ("other", "trained_absolute"): (0.9, 0.9, 0.9),
}


@pytest.fixture
def study(make_study):
    network = {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}
    twin = {**network, "transform": "abs"}
    return make_study(
        subjects=["S1", "S2"], networks={"vgg": network, "twin": twin, "other": {**twin, "weights": "random:7"}}
    )


def frame(split="all"):
    place = {"split": split, "roi": "VC", "dataset": "natural", "layer": "conv1_1", "n": 6}
    rows = [
        {
            **place,
            "subject": subject,
            "network": network,
            "features": kind,
            "filter": str(i),
            "value": value and value + d,
        }
        for subject, d in (("S1", 0.0), ("S2", 0.1))
        for (network, kind), values in VALUES.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(FILTER_COLUMNS))


def points(panel):
    axes = Figure().add_subplot()
    panel.draw(axes, Ink("#000000", "#cccccc"))
    return [(float(x), float(y)) for x, y in axes.lines[1].get_xydata()]


def test_points_are_means_over_subjects_of_filters_that_both_have(study):
    decoded, twin = filter_plots.collect(frame(), study, roi="VC")  # a network of other weights is no twin
    assert (decoded.title, twin.title) == ("Filters of vgg", "Filters of vgg and twin")
    assert points(decoded) == [pytest.approx(p) for p in ((0.15, 0.45), (0.25, 0.15))]
    assert points(twin) == [pytest.approx(p) for p in ((0.15, 0.55), (0.25, 0.65), (0.35, 0.75))]
    assert "natural 0.20 raw, 0.30 absolute, 1 of 2 filters better so" in decoded.alt
    assert "decoders of absolute values" in twin.subtitle


def test_there_is_no_figure_without_filters(study):
    assert filter_plots.collect(None, study, roi="VC") == []
    assert filter_plots.collect(frame(), study, roi="V1") == []
    assert filter_plots.collect(frame("r1f01"), study, roi="VC") == []


def test_the_table_is_read_as_it_was_written(tmp_path):
    from hpc_recon.evaluation import filters

    assert filter_plots.NAME == filters.NAME
    assert filter_plots.read(tmp_path) is None
    tables.write_frame(tmp_path / filters.NAME, frame())
    pd.testing.assert_frame_equal(filter_plots.read(tmp_path), frame(), check_dtype=False)
