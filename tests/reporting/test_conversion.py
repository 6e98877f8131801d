"""The tables of converters, on a summary made by hand."""

from __future__ import annotations

import pytest

from hpc_recon.reporting import conversion
from hpc_recon.reporting.words import NOTHING

CONTENT = {
    "name": "two",
    "subjects": ["S1", "S2"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test", "title": "Photographs"}},
    "simulate": {"n_training": 10},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1", "conv2_1"]}},
    "convert": {"pool": [1]},
    "reconstruct": {"icnn": {"method": "icnn", "network": "vgg", "title": "Deep"}},
}


@pytest.fixture
def study(make_study):
    return make_study(CONTENT)


def summary(entry):
    layers = [
        entry("profile_correlation", value, subject="S2", split=split, network="vgg", layer=layer)
        for split, layer, value in (
            ("all", "conv1_1", 0.4),
            ("from-S1", "conv1_1", 0.3),
            ("with-1", "conv1_1", 0.5),
            ("all", "conv2_1", -0.1),
            ("from-S1", "conv2_1", 0.2),
        )
    ]
    images = [
        entry("identification", value, subject="S2", split=split, variant="icnn")
        for split, value in (("all", 0.8), ("from-S1", 0.6))
    ]
    baseline = entry("identification", 0.5, subject="S2", variant="mean_training_image", network="")
    return {"layers": [*layers, entry("profile_correlation", 0.3, layer="conv1_1")], "images": [*images, baseline]}


def texts(table):
    return [(row.name, row.note, row.cells[0].text, row.cells[-1].text) for row in table.rows]


def test_each_line_is_beside_the_targets_own_and_its_share_of_it(study, entry):
    layers, images = conversion.tables(summary(entry), study, roi="VC")
    assert layers.title == "Photographs, decoded features, decoders of S2"
    assert texts(layers) == [
        ("conv1_1", "within", "0.40", "1.00"),
        ("conv1_1", "converted from S1", "0.30", "0.75"),
        ("conv1_1", "with 1 other", "0.50", "1.25"),
        ("conv2_1", "within", "\N{MINUS SIGN}0.10", NOTHING),
        ("conv2_1", "converted from S1", "0.20", NOTHING),
    ]
    assert images.title == "Photographs, reconstructions, decoders of S2"
    assert [row.note for row in images.rows] == ["within", "converted from S1"]
    assert images.rows[1].cells[-1].text == "0.75"


def test_other_regions_and_targets_without_conversion_have_no_table(study, entry):
    assert conversion.tables(summary(entry), study, roi="V1") == []
    own = {"layers": [entry("profile_correlation", 0.3, layer="conv1_1")], "images": []}
    assert conversion.tables(own, study, roi="VC") == []


def test_a_study_without_converters_has_no_table(make_study, entry):
    study = make_study(CONTENT, convert=None)
    assert conversion.tables(summary(entry), study, roi="VC") == []
