"""Figures of accuracy against pooled sources and samples of converters, from curves made by hand."""

from __future__ import annotations

import pytest

from hpc_recon.reporting import conversion_plots


def curve(**changes):
    own = {
        "along": "sources", "of": "layers", "roi": "VC", "dataset": "natural", "network": "vgg", "name": "conv1_1",
        "metric": "identification", "x": [0, 1, 2], "mean": [0.6, 0.65, 0.7], "low": [0.5, 0.6, None],
        "high": [0.7, 0.75, None], "over": "images", "n": 5, "within": 0.6,
    }  # fmt: skip
    return {**own, **changes}


@pytest.fixture
def panels(study):
    def drawn(*curves, roi="VC"):
        summary = {"converters": list(curves), "confidence": 0.95, "chance": {"identification": 0.5}}
        return conversion_plots.panels(summary, study, roi=roi)

    return drawn


def test_layers_of_a_network_share_a_panel_and_scores_do_not(panels):
    both = [curve(), curve(name="conv2_1", mean=[0.5, 0.5, None])]
    found = panels(*both, curve(metric="profile_correlation"), curve(dataset="shapes"), curve(roi="V1"))
    assert [one.title for one in found] == [
        "Identification by pooled sources",
        "Profile correlation by pooled sources",
        "Identification by pooled sources",
    ]
    assert found[0].subtitle == "Photographs, vgg; mean over 5 targets; whiskers: 95 % interval over images"
    assert found[0].alt.endswith("conv1_1 0.60 at 0, 0.65 at 1, 0.70 at 2; conv2_1 0.50 at 0, 0.50 at 1.")
    assert "conv2_1" in found[0].svg, "the page's own legend names datasets, not layers"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"over": "targets"}, "mean over 5 targets; whiskers: least and largest target"),
        ({"over": "", "n": 1}, "one target; one value a layer, so no interval"),
        (
            {"along": "samples", "over": "pairs", "n": 20},
            "mean over 20 pairs; whiskers: least and largest pair; coloured dashes: the targets' own activity",
        ),
    ],
)
def test_captions_say_what_intervals_are_over(panels, changes, expected):
    (found,) = panels(curve(**changes))
    assert found.subtitle == f"Photographs, vgg; {expected}"


def test_images_are_named_by_their_method(panels):
    (found,) = panels(curve(of="images", name="direct"))
    assert found.subtitle.startswith("images, Photographs; ")
    assert "Pixels & <more> 0.60 at 0" in found.alt
    assert "Pixels &amp; &lt;more&gt;" in found.svg


def test_there_is_none_without_curves(panels, study):
    assert panels() == panels(curve(), roi="V1") == []
    assert conversion_plots.panels({"confidence": 0.95}, study, roi="VC") == [], "scored by an older version"
