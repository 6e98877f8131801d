"""What is said and drawn of images from parts of the data."""

from __future__ import annotations

import pytest

from hpc_recon.reporting import power_pictures


@pytest.fixture
def content():
    def curve(name, metric, ahead):
        return {
            "network": "direct", "layer": "direct", "subject": "S1", "roi": "VC", "dataset": "natural", "curve": name,
            "metric": metric, "x": [10, 20, 40], "mean": [0.2, 0.3, 0.4], "low": [0.1, 0.2, 0.3],
            "high": [0.3, 0.4, 0.5], "fitted": [0.2, 0.3, 0.4], "a": 0.6, "b": 40.0, "b_low": 30.0, "b_high": 50.0,
            "n_draws": 2, "n_units": 5, "n_missing": 0, "foretold": None,
            "now": {"x": 40, "value": 0.4, "low": 0.3, "high": 0.5}, "ahead": ahead,
        }  # fmt: skip

    then = [{"steps": 2, "x": 100, "value": 0.5, "low": 0.35, "high": 0.6}]
    one = {
        "network": "direct", "subject": "S1", "roi": "VC", "n_stimuli": 40, "n_samples": 120, "floor": 0.31,
        "session": {"column": "session", "samples": 30, "sessions": 4},
        "curves": [curve("images", "pixel_correlation", then), curve("voxels", "identification", [])],
    }  # fmt: skip
    return {"variant": "direct", "dataset": "natural", "images": 5, "draws": 2, "units": None, "sets": [one]}


@pytest.fixture
def study(make_study):
    return make_study(reconstruct={"direct": {"method": "pixels", "network": "pixels", "title": "Decoded pixels"}})


def test_the_answer_has_ends_now_then_and_what_nothing_scores(content, study):
    printed = "\n".join(power_pictures.lines(content, study))
    assert "Decoded pixels, natural: mean of 5 images and 2 draws, from decoders of all units" in printed
    (line,) = (x for x in printed.splitlines() if x.startswith("  training images"))
    assert ".20 at 10" in line
    assert ".50 [.35, .60]" in line
    assert line.endswith("two more sessions (60 samples), far")
    assert "the mean training image correlates .31 with these stimuli" in printed


def test_panels_and_numbers_of_one_roi_and_a_word_where_data_have_changed(content, study):
    found = power_pictures.section(content, study, roi="VC", stale=False)
    assert [panel.title for panel in found.panels] == [
        "Image quality by training images",
        "Image quality by voxels offered",
    ]
    assert (len(found.table.rows), found.rows) == (1, "Score")
    assert "again" not in " ".join(found.sentences)
    assert "power --images again" in power_pictures.section(content, study, roi="VC", stale=True).sentences[0]
    assert not power_pictures.section(content, study, roi="V1", stale=False).panels
