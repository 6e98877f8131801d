"""The card in words, from findings made by hand."""

from __future__ import annotations

import copy

import pytest

from hpc_recon.numerics.validity import VERDICTS
from hpc_recon.reporting import validity_card


def identified(mean, p):
    return {"n_items": 12, "n_groups": 1, "mean": mean, "p": p}


@pytest.fixture
def found():
    exemplar = [{"metric": "pixel_correlation", "mean": 0.12, "p_one": 0.0004, "p_two": 0.0008, "rank_biserial": 0.9}]
    sets = [
        {
            "variant": "direct", "roi": "VC", "dataset": dataset, "subject": "S1", "n_images": 12, "verdict": verdict,
            "untested": [], "identification": identified(0.83, 0.0001), "within_category": identified(mean, p),
            "nearest_training_image": exemplar, "true_class_mean": [],
        }
        for dataset, verdict, mean, p in (
            ("natural", "reconstruction", 0.7, 0.012), ("shapes", "category only", None, None),
        )
    ]  # fmt: skip
    verdict = {"variant": "direct", "roi": "VC", "verdict": "category only", "n_sets": 2, "untested": []}
    return {
        "verdicts": [verdict],
        "sets": sets,
        "recovery": [],
        "overlap": [],
        "few_images": [],
        "negative_layers": [],
        "expected": [{"clusters": 5, "identification": 0.9}, {"clusters": 10, "identification": 0.95}],
        "thresholds": {"alpha": 0.05, "relabellings": 10, "few_images": 30, "poor_recovery": 0.5},
    }


def text(card):
    return {check.name: (check.tone, check.text) for check in card.checks}


def test_every_verdict_has_a_meaning():
    assert set(validity_card.MEANINGS) == set(VERDICTS)


def test_the_card_says_its_verdict_and_how_many_sets_share_it(found, study):
    card = validity_card.card(found, study, roi="VC")
    assert card.verdict == "category only"
    assert "1 of 2 sets" in card.meaning
    first, second = card.rows
    assert (first.name, first.verdict) == ("Photographs, S1", "reconstruction")
    assert first.cells[0].replace("\N{NO-BREAK SPACE}", " ") == "83 % (p < 0.001)"
    assert first.cells[1].endswith("(p = 0.012)")
    assert first.cells[2] == "+0.12 pixel correlation (p < 0.001)"
    assert second.cells[1] == "no two images"


def test_converted_images_have_rows_that_no_verdict_counts(found, study):
    alone = validity_card.card(found, study, roi="VC")
    more = [
        {**found["sets"][0], "subject": "S2", "split": split, "verdict": verdict}
        for split, verdict in (("from-S1", "retrieval"), ("with-1", "reconstruction"), ("from-S3", "retrieval"))
    ]
    card = validity_card.card({**found, "converted": more}, study, roi="VC")
    assert (card.verdict, card.meaning, card.rows[:2]) == (alone.verdict, alone.meaning, alone.rows)
    assert [(row.name, row.verdict) for row in card.rows[2:]] == [
        ("Photographs, S2, converted from S1", "retrieval"),
        ("Photographs, S2, with 1 other", "reconstruction"),
        ("Photographs, S2, converted from S3", "retrieval"),
    ]
    tone, told = text(card)["Converted activity"]
    assert tone == "open"
    assert told.endswith("count in no verdict: reconstruction 1 of 3 and retrieval 2 of 3.")
    assert "Converted activity" not in text(validity_card.card({**found, "converted": more}, study, roi="V1"))


def test_identification_stands_beside_what_a_decoder_of_kinds_would_reach(found, study):
    tone, words = text(validity_card.card(found, study, roi="VC"))["Identification is no proof"]
    assert tone == "open"  # 83 % is less than the 90 % of five kinds
    assert words.replace("\N{NO-BREAK SPACE}", " ").startswith("83 % of comparisons won")
    assert "90 % (k = 5) and 95 % (k = 10)." in words.replace("\N{NO-BREAK SPACE}", " ")


def test_faults_are_doubts(found, study):
    worse = copy.deepcopy(found)
    worse["recovery"] = [{"variant": "direct", "n": 2, "mean": 0.3, "poor": True}]
    worse["overlap"] = [
        {"subject": "S1", "dataset": "natural", "n_same": 0, "n_equal": 1, "examples": ["a = b"]},
    ]
    worse["few_images"] = [{"dataset": "natural", "n_images": 12}]
    place = {"subject": "S1", "roi": "VC", "dataset": "natural", "network": "vgg", "share": 0.8, "n": 12}
    worse["negative_layers"] = [{**place, "layer": f"conv{i}"} for i in range(7)]
    worse["verdicts"][0]["untested"] = worse["sets"][1]["untested"] = ["category"]
    told = text(validity_card.card(worse, study, roi="VC"))
    assert {name for name, (tone, _) in told.items() if tone == "doubt"} == {
        "Recovery", "Overlap", "Few images", "Layers at or below zero",
    }  # fmt: skip
    assert "below 0.50" in told["Recovery"][1]
    assert "a = b" in told["Overlap"][1]
    assert "Photographs 12" in told["Few images"][1]
    assert told["Layers at or below zero"][1].endswith("and 2 more.")
    assert told["Not tested"][0] == "open"
    assert validity_card.card(worse, study, roi="VC").meaning.startswith("As far as it could be tested: within")
    assert told["Not tested"][1].startswith("shapes: that only the category")
    assert [row.remark for row in validity_card.card(worse, study, roi="VC").rows] == ["", "(category not excluded)"]
    assert "of those that could be tested" in validity_card.card(worse, study, roi="VC").meaning
    assert text(validity_card.card(found, study, roi="VC"))["No overlap"][0] == "good"


def test_without_images_there_is_no_verdict(found, study):
    empty = {**found, "verdicts": [], "sets": []}
    card = validity_card.card(empty, study, roi="VC")
    assert (card.verdict, card.rows) == ("", ())
    assert "no verdict" in card.meaning


def test_a_leak_outranks_the_verdict(found, make_study):
    study = make_study(
        reconstruct={"direct": {"method": "pixels", "network": "pixels"}},
        datasets={"training": {"role": "training"}, "natural": {"role": "test"}, "shapes": {"role": "test"}},
    )
    leaking = {"controls": [], "leaks": [{"variant": "direct", "roi": "VC"}]}
    card = validity_card.card(found, study, roi="VC", controls=leaking)
    assert (card.verdict, card.meaning) == ("leak", validity_card.control_lines.MEANING)
    plain = validity_card.card(found, study, roi="VC")
    assert plain.verdict == "category only"
    assert [check.name for check in plain.checks[:2]] == ["Shuffled labels", "Noise for a brain"]


def test_warnings_of_the_scores_stand_on_the_card(make_study):
    found = {"verdicts": [], "sets": [], "recovery": [], "overlap": [], "few_images": [], "negative_layers": []}
    limits = {"thresholds": {"poor_recovery": 0.5, "few_images": 30}, "expected": []}
    warned = [{"kind": "norms", "text": "no reference images"}, {"kind": "few_images", "text": "twelve"}]
    made = validity_card.card({**found, **limits}, make_study(), roi="VC", warned=warned)
    told = {check.name: check for check in made.checks}
    assert (told["Norms of training images"].tone, told["Norms of training images"].text) == (
        "doubt",
        "no reference images.",
    )
    assert not [check for check in made.checks if "twelve" in check.text], "few images have a line of their own"
