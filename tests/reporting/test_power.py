"""What `power` found, in words and rows."""

from __future__ import annotations

import pytest

from hpc_recon.reporting import power


def _curve(**changes):
    x = [60, 120, 480]
    curve = {
        "network": "vgg", "layer": "conv4", "subject": "S1", "roi": "VC", "dataset": "", "curve": "images",
        "metric": "profile_correlation", "x": x, "mean": [0.1, 0.15, 0.25], "low": [0.09, 0.14, 0.24],
        "high": [0.11, 0.16, 0.26], "fitted": [0.1, 0.15, 0.25], "a": 0.4, "b": 750.0, "n_draws": 5, "n_units": 100,
        "now": {"x": 600, "value": 0.284, "low": 0.27, "high": 0.29},
        "ahead": [{"steps": 4, "x": 1080, "value": 0.311, "low": 0.29, "high": 0.33}],
        "foretold": {"n_sizes": 3, "predicted": 0.24, "low": 0.2, "high": 0.26, "measured": 0.25},
    }  # fmt: skip
    return curve | changes


@pytest.fixture
def content():
    repeats = _curve(curve="repeats", x=[1, 2, 5], now={"x": 5, "value": 0.28, "low": 0.2, "high": 0.3}, foretold=None)
    trials = _curve(curve="trials", dataset="natural", x=[1, 12, 24], ahead=[
        {"steps": 2.0, "x": 48, "value": 0.3, "low": 0.2, "high": 0.4}],
        now={"x": 24, "value": 0.28, "low": 0, "high": 1},
        foretold={"n_sizes": 3, "predicted": 0.24, "low": 0.2, "high": 0.245, "measured": 0.25})  # fmt: skip
    identified = _curve(metric="identification_zscored")
    own = {
        "network": "vgg", "subject": "S1", "roi": "VC", "n_samples": 3000, "n_stimuli": 600,
        "session": {"column": "session", "samples": 600, "sessions": 5},
        "curves": [_curve(), identified, repeats, trials, _curve(curve="voxels", ahead=[], foretold=None)],
        "left_out": [{"curve": "trials", "dataset": "letters", "reason": "no stimulus"}],
    }  # fmt: skip
    return {"units": 100, "draws": 5, "confidence": 0.95, "sets": [own]}


def test_a_step_is_a_sentence():
    session = {"column": "session", "samples": 600}
    assert power.sentence(_curve(), session) == (
        "four more sessions (2,400 samples) of new images: conv4 r .28 -> .31 [.29, .33] (extrapolated, far)"
    )
    near = _curve(ahead=[{"steps": 1, "x": 720, "value": 0.3, "low": 0.29, "high": 0.31}])
    assert power.sentence(near, {"column": "", "samples": 600}).startswith("600 more samples of new images: conv4")
    assert "(extrapolated)" in power.sentence(near, session)
    assert power.sentence(_curve(ahead=[]), session) == ""


def test_the_printed_answer_has_layers_steps_and_the_check(content, make_study):
    study = make_study(datasets={"training": {"role": "training"}, "natural": {"role": "test", "title": "Photographs"}})
    text = "\n".join(power.lines(content, study))
    assert "vgg, S1, VC: 600 training images, 3000 samples in 5 sessions of 600" in text
    assert "+4 sessions, new images" in text
    assert "conv4  .28 [.27, .29]  .31 [.29, .33]" in text
    assert "Photographs: 48 instead of 24 test trials averaged: conv4 r .28 -> .30" in text
    assert "no curve of test trials averaged (letters): no stimulus" in text
    assert "training images 1 of 1 (mean error -0.010); test trials averaged 0 of 1 (mean error -0.010)" in text


def test_rows_hold_what_was_measured_and_what_is_foretold(content):
    rows = list(power.rows(content))
    assert [row["kind"] for row in rows[:5]] == ["measured"] * 3 + ["now", "ahead"]
    assert set(rows[0]) <= set(power.COLUMNS)
    assert (rows[4]["steps"], rows[4]["x"], rows[4]["value"]) == (4, 1080, 0.311)


def test_figures_and_the_section_of_the_report(content, make_study, tmp_path):
    study, (own,) = make_study(), content["sets"]
    own["curves"] = [curve for curve in own["curves"] if curve["curve"] in ("repeats", "trials")]
    files = power.write_figures(content, study, tmp_path)
    assert sorted(path.name for path in files) == [
        f"vgg-S1-VC-{curve}.{ending}" for curve in ("repeats", "trials-natural") for ending in ("pdf", "png")
    ]
    found = power.section(content, study, roi="VC")
    assert "conv4 from 0.10 at 1 to 0.25 at 5" in found.panels[0].alt
    assert [row.cells[0].text for row in found.table.rows] == ["repeats", "test trials averaged"]
    assert power.section(content, study, roi="V1").table is None


def test_without_small_sizes_nothing_is_checked(content):
    for curve in content["sets"][0]["curves"]:
        curve["foretold"] = None
    assert "nothing was foretold" in power.checked(content)
