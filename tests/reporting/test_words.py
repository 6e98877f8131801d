"""The verdict says no more than the intervals do."""

from __future__ import annotations

import pytest

from hpc_recon.reporting import words

DIRECT = {"method": "pixels", "network": "pixels"}


@pytest.mark.parametrize(
    ("rois", "entries", "expected"),
    [
        (["V1", "VC"], {}, "VC"),
        (["V1", "V2"], {}, "V1"),
        (["V1", "VC"], {"a": DIRECT}, "VC"),
        (["V1", "HVC"], {"a": {**DIRECT, "rois": ["HVC"]}}, "HVC"),
        (["V1", "VC", "HVC"], {"a": {**DIRECT, "rois": ["HVC"]}}, "HVC"),
        (["V1", "VC", "HVC"], {"a": {**DIRECT, "rois": ["HVC"]}, "b": DIRECT}, "VC"),
    ],
)
def test_the_first_region_is_one_with_images(make_study, rois, entries, expected):
    assert words.primary_roi(make_study(rois=rois, reconstruct=entries)) == expected


def text(verdict):
    return " ".join((verdict.headline, *verdict.details)).replace("\N{NO-BREAK SPACE}", " ")


def test_a_success_names_chance_and_the_strongest_baseline(summary, study):
    said = text(words.verdict(summary(), study))
    assert "In 85 % of comparisons" in said
    assert "chance: 50 %, exceeded in all 2 sets" in said
    assert "Photographs 90 % and shapes 80 %" in said
    assert "nearest training image, reaches r = 0.50: reconstructions are above it (mean difference +0.20)" in said


def test_chance_is_not_sold_as_success(summary, study):
    said = text(words.verdict(summary(natural=(0.55, 0.4, 0.7), shapes=(0.45, 0.3, 0.6), gain=(0.0, -0.1, 0.1)), study))
    assert "not exceeded beyond doubt" in said
    assert "not distinguishable from zero" in said


def test_a_mixed_outcome_is_counted(summary, study):
    assert "exceeded in 1 of 2 sets" in text(words.verdict(summary(shapes=(0.5, 0.3, 0.7)), study))


def test_a_defeat_by_the_baseline_is_said(summary, study):
    assert "reconstructions are below it" in text(words.verdict(summary(gain=(-0.2, -0.3, -0.1)), study))


def test_cross_validation_is_quoted_with_its_intervals(summary, study, entry):
    content = summary()
    place = {"variant": "direct", "split": "cross_validation", "n": 100}
    content["images"] += [
        entry("pixel_correlation", 0.8, 0.77, 0.83, **place),
        entry("identification", 0.9, 0.85, 0.95, **place),
    ]
    said = text(words.verdict(content, study))
    assert (
        "Cross-validated over all 100 images: r = 0.80 (0.77 to 0.83), identification 90 % (85\N{EN DASH}95)." in said
    )


def test_without_images_features_are_spoken_of(summary, study):
    content = {**summary(), "images": [], "differences": []}
    said = text(words.verdict(content, study))
    assert "Decoded features" in said
    assert "90 %" in said


def test_without_identification_the_correlation_is_spoken_of(summary, study):
    content = summary()
    content["images"] = [e for e in content["images"] if e["metric"] != "identification"]
    assert "r = 0.70" in text(words.verdict(content, study))


def test_nothing_at_all_is_said_plainly(study):
    assert "nothing was reconstructed" in text(words.verdict({"images": [], "layers": [], "differences": []}, study))


@pytest.mark.parametrize(("preset", "word"), [("easy", "easy"), ("realistic", "no evidence"), ("null", "no signal")])
def test_simulated_data_are_labelled(make_study, preset, word):
    assert word in words.label(make_study(simulate={"preset": preset}))


@pytest.mark.parametrize(
    ("value", "signed", "written"),
    [
        (None, False, "\N{EN DASH}"),
        (float("nan"), False, "\N{EN DASH}"),
        (-0.123, False, "\N{MINUS SIGN}0.12"),
        (0.2, True, "+0.20"),
    ],
)
def test_numbers(value, signed, written):
    assert words.number(value, signed=signed) == written
