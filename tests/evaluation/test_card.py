"""The validity card on small workspaces: numbers against numpy on the same files, and studies made to cheat."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from hpc_recon import decode, evaluate, extract, fit, reconstruct, simulate
from hpc_recon.core.files import write_json
from hpc_recon.evaluation import card
from hpc_recon.numerics.validity import expected_from_clusters
from hpc_recon.reporting.tables import FEATURE_COLUMNS
from hpc_recon.stores import brain, images, layout

CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "imagery": {"role": "test", "identification": False},
    },
    "simulate": {"image_size": 16},
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
    "reconstruct": {"direct": {"method": "pixels", "network": "pixels"}},
    "evaluate": {"resamples": 100},
}


def read(study):
    return json.loads((study.workspace / "scores" / card.NAME).read_text())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("judged")


@pytest.fixture
def judged(make_study, fill_workspace, run_verb, kept):
    study = make_study(CONTENT, workspace=str(kept / "runs"))
    if not (study.workspace / "scores").exists():
        fill_workspace(study, noise=0.3, per_dataset=12)
        run_verb(evaluate, study)
    return study


def test_the_card_judges_what_the_files_hold(judged):
    found = read(judged)
    assert {(e["subject"], e["dataset"]) for e in found["sets"]} == {("S1", "natural"), ("S2", "natural")}
    entry = found["sets"][0]
    items = brain.read_items(judged, "S1", "natural")
    true = images.read_images(judged.workspace)[items.rows].reshape(12, -1)
    files = [layout.image_file(judged, "direct", "S1", "VC", "natural", name) for name in items.names]
    made = np.stack([np.load(path.with_suffix(".npy")).ravel() for path in files])
    r = np.corrcoef(made, true)[:12, 12:]
    group = items.rows % 2  # `fill_workspace` gives the categories c0 and c1 in turn
    within = [np.mean([r[i, j] < r[i, i] for j in range(12) if j != i and group[j] == group[i]]) for i in range(12)]
    assert entry["identification"]["mean"] == pytest.approx(np.mean([(r[i] < r[i, i]).sum() / 11 for i in range(12)]))
    assert entry["within_category"]["mean"] == pytest.approx(np.mean(within))
    assert (entry["within_category"]["n_groups"], entry["n_images"]) == (2, 12)
    assert {e["metric"] for e in entry["nearest_training_image"]} == set(card.METRICS)
    assert entry["verdict"] == "reconstruction", "these images are the stimuli with a little noise"
    assert found["verdicts"] == [
        {"variant": "direct", "roi": "VC", "verdict": "reconstruction", "n_sets": 2, "untested": []}
    ]


def test_images_of_converted_activity_are_judged_as_own_ones_and_count_in_no_verdict(judged, make_study, monkeypatch):
    """Samples and images of S1 under the name of S1 converted into S2."""
    before, study = read(judged), make_study(CONTENT, workspace=str(judged.workspace), convert={"pairs": ["S1-S2"]})
    shown, made = card.read_shown, card.reconstructions
    of = {"S2.from-S1": "S1"}
    monkeypatch.setattr(card, "read_shown", lambda study, split, *more: shown(study, of.get(split, split), *more))
    monkeypatch.setattr(
        card,
        "reconstructions",
        lambda study, variant, place, *more, **size: made(
            study, variant, (of.get(place[0], place[0]), *place[1:]), *more, **size
        ),
    )
    place = {"subject": "S2", "split": "from-S1", "roi": "VC", "dataset": "natural", "variant": "direct"}
    told = {"metric": "pixel_correlation", "mean": 0.2, "p_one": 0.01, "p_two": 0.02, "rank_biserial": 0.5}
    test = {**place, "network": "pixels", "baseline": card.EXEMPLAR, "n": 12, **told}
    nothing = pd.DataFrame(columns=list(FEATURE_COLUMNS))
    found = card.collect(study, nothing, [test, {**test, "split": "all", "mean": 0}])
    (entry,) = found["converted"]
    assert {key: entry[key] for key in place} == place
    own = next(e for e in before["sets"] if e["subject"] == "S1")
    for name in ("identification", "within_category"):
        assert entry[name]["mean"] == own[name]["mean"]
    assert entry[card.EXEMPLAR] == [told]
    assert [e["subject"] for e in found["sets"]] == ["S1", "S2"]
    assert found["verdicts"][0]["n_sets"] == 2
    assert before["converted"] == []


def test_the_card_names_what_a_reader_should_know(judged):
    found = read(judged)
    assert found["few_images"] == [{"dataset": d, "n_images": 12} for d in ("natural", "imagery")]
    assert (found["overlap"], found["negative_layers"]) == ([], [])
    assert [e["identification"] for e in found["expected"]] == pytest.approx([0.9, 0.95, 0.975])


def test_recovery_is_read_from_the_images_of_true_features(judged):
    assert read(judged)["recovery"] == []
    folder = layout.recovery_file(judged, "direct", "any").parent
    for name, value in (("a", 0.2), ("b", 0.4)):
        write_json(folder / f"{name}.json", {"pixel_correlation": value})
    study_card = card.collect(judged, pd.DataFrame(columns=list(FEATURE_COLUMNS)), [])
    assert study_card["recovery"] == [{"variant": "direct", "n": 2, "mean": pytest.approx(0.3), "poor": True}]


def test_an_equal_image_under_another_name_is_an_overlap(make_study, fill_workspace, run_verb, monkeypatch):
    study = make_study(CONTENT, subjects=["S1"], reconstruct={})
    fill_workspace(study)
    real = images.read_images
    first = real(study.workspace, np.array([0]))[0]

    def with_a_copy(workspace, rows=None):
        block = real(workspace) if rows is None else real(workspace, rows)
        if rows is not None and not isinstance(rows, slice):
            block = np.where((np.asarray(rows) == 13)[:, None, None, None], first, block)  # the second natural stimulus
        return block

    monkeypatch.setattr(images, "read_images", with_a_copy)
    run_verb(evaluate, study)
    (found,) = read(study)["overlap"]
    assert (found["dataset"], found["n_same"], found["n_equal"]) == ("natural", 0, 1)
    assert found["examples"] == ["natural001 = training000"]


def test_images_are_read_once_for_all_subjects(make_study, fill_workspace, monkeypatch):
    study = make_study(CONTENT, reconstruct={})
    assert len(study.subjects) > 1
    fill_workspace(study)
    real, read_rows = images.read_images, []
    monkeypatch.setattr(images, "read_images", lambda where, rows: [read_rows.extend(rows), real(where, rows)][1])
    assert card.collect(study, pd.DataFrame(columns=list(FEATURE_COLUMNS)), [])["overlap"] == []
    assert len(read_rows) == len(set(read_rows)) > 0


def test_layers_below_zero_are_named():
    keys = {
        "subject": "S1",
        "split": "all",
        "roi": "VC",
        "dataset": "d",
        "network": "n",
        "metric": "pattern_correlation",
    }
    values = {"good": [0.1, 0.2, -0.1], "bad": [-0.1, -0.2, 0.3], "half": [0.1, -0.1, np.nan]}
    rows = [{**keys, "layer": layer, "value": value} for layer, own in values.items() for value in own]
    (found,) = card._negative_layers(pd.DataFrame(rows))
    assert (found["layer"], found["n"], found["share"]) == ("bad", 3, pytest.approx(2 / 3))


def entry(metric, mean, p_one, p_two, n=6):
    return {"metric": metric, "mean": mean, "p_one": p_one, "p_two": p_two, "n": n}


@pytest.mark.parametrize(
    ("compared", "expected"),
    [
        ([], None),
        ([entry("identification", 0.1, 0.02, 0.04), entry("pixel_correlation", 0.0, 0.5, 1.0)], True),
        ([entry("identification", 0.1, 0.03, 0.06), entry("pixel_correlation", 0.0, 0.5, 1.0)], False),  # Holm: .06
        ([entry("identification", -0.1, 0.99, 0.01), entry("pixel_correlation", 0.3, 0.001, 0.002)], False),
        (
            [entry("identification", 0.2, 1 / 32, 1 / 16, n=5), entry("pixel_correlation", 0.3, 1 / 32, 1 / 16, n=5)],
            None,
        ),
        ([entry("identification", 0.2, 1 / 64, 1 / 32), entry("pixel_correlation", 0.3, 1 / 64, 1 / 32)], True),
        ([entry("pixel_correlation", 0.3, 1 / 32, 1 / 16, n=5)], True),
    ],
)
def test_above_means_above_in_one_score_and_below_in_none(compared, expected):
    assert card.above(compared) is expected


def test_a_method_that_draws_the_mean_of_the_category_is_found_out(make_study, fill_workspace, run_verb):
    """Its images identify well, and look like their category; within it they are the same but for noise."""
    study = make_study(CONTENT, subjects=["S1"])
    fill_workspace(study, per_dataset=24)
    rng = np.random.default_rng(0)
    items = brain.read_items(study, "S1", "natural")
    seen = images.read_images(study.workspace)[items.rows] / 255
    group = items.rows % 2
    for i, name in enumerate(items.names):
        made = seen[group == group[i]].mean(axis=0) + 0.02 * rng.normal(size=seen[i].shape)
        images.write_picture(layout.image_file(study, "direct", "S1", "VC", "natural", name), made.clip(0, 1))
    run_verb(evaluate, study)
    (found,) = read(study)["sets"]
    assert found["verdict"] == "category only"
    assert found["identification"]["p"] < 0.001
    # of 23 others 11 are of the same category: .5 x 11 / 23 + 12 / 23 if categories never mix; within: .289 / sqrt(24)
    assert found["identification"]["mean"] == pytest.approx(0.5 * 11 / 23 + 12 / 23, abs=0.06)
    assert found["within_category"]["mean"] == pytest.approx(0.5, abs=2 * 0.289 / np.sqrt(24))


CHEAT = {
    "name": "cheat",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}, "shapes": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 120, "n_natural": 40, "n_shapes": 40, "n_voxels": 200,
                 "training_repeats": 2},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "fit": {"n_voxels": 50, "alpha": 10.0},
    "reconstruct": {"direct": {"method": "pixels", "network": "image", "images_per_tile": 40}},
    "evaluate": {"resamples": 100},
}  # fmt: skip


@pytest.mark.parametrize("signal", ["category", "image"])
def test_a_brain_of_categories_is_found_out(make_study, run_verb, signal):
    study = make_study(CHEAT, simulate={**CHEAT["simulate"], "signal": signal})
    for verb in (simulate, extract, fit, decode, reconstruct, evaluate):
        run_verb(verb, study)
    sets = {e["dataset"]: e for e in read(study)["sets"]}
    if signal == "image":  # so the other is not caught for want of data
        assert {e["verdict"] for e in sets.values()} == {"reconstruction"}
        return
    assert {e["verdict"] for e in sets.values()} <= {"category only", "not above chance"}
    # One of k equal categories is all that may be known: half of the comparisons within, at most the expected in all.
    for name, k in (("natural", 4), ("shapes", 8)):
        assert sets[name]["within_category"]["mean"] == pytest.approx(0.5, abs=0.1)
        assert sets[name]["identification"]["mean"] < expected_from_clusters(k) + 0.05
