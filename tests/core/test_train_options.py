"""Options of `train:`: profiles, ablations, seeds, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core import train_options
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.core.train_options import EndToEndTraining

TINY = {"method": "end_to_end", "profile": "tiny"}


def test_the_paper_is_the_default():
    given = EndToEndTraining(method="end_to_end")
    assert (given.steps, given.batch, given.image_size, given.crop) == (500_000, 64, 248, 227)
    assert given.losses.model_dump() == {"pixel": 2e-6, "feature": 0.01, "adversarial": 100.0}
    adam = given.adam
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.epsilon) == (2e-4, 0.9, 0.999, 1e-8)
    assert given.adam.halve_at == (300_000, 500_000, 700_000, 900_000, 1_100_000)
    assert given.adam.discriminator_decay == 4e-4
    assert (given.comparator.architecture, given.comparator.layers) == ("caffenet", ("pool5",))
    assert given.order == "fixed"


def test_a_profile_fills_what_is_left_out():
    given = EndToEndTraining(**TINY, steps=7, losses={"pixel": 1.0}, comparator={"weights": "random:5"})
    assert (given.steps, given.crop) == (7, 60)
    assert (given.losses.pixel, given.losses.feature) == (1.0, train_options.PROFILES["tiny"]["losses"]["feature"])
    assert (given.comparator.architecture, given.comparator.weights) == ("vgg11_quarter", "random:5")
    other = EndToEndTraining(**TINY, comparator={"architecture": "alexnet", "layers": ["features.12"]})
    assert (other.comparator.architecture, other.comparator.layers) == ("alexnet", ("features.12",))
    for profile in train_options.PROFILES:
        given = EndToEndTraining(method="end_to_end", profile=profile)
        assert EndToEndTraining(**given.model_dump()) == given


def test_ablations_and_seeds_make_entries():
    given = EndToEndTraining(**TINY, ablations=("feature", "pixel"), seeds=(0, 3))
    found = given.entries("e2e")
    assert list(found) == [
        *("e2e.seed0", "e2e.seed3", "e2e.no-feature.seed0", "e2e.no-feature.seed3"),
        *("e2e.no-pixel.seed0", "e2e.no-pixel.seed3"),
    ]
    part = found["e2e.no-feature.seed3"]
    assert (part.losses.feature, part.losses.pixel, part.seed) == (0, given.losses.pixel, 3)
    assert list(part.entries("x")) == ["x"]  # what was made stands for itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 65}, "crop must not exceed image_size"),
        ({"losses": {"pixel": 0, "feature": 0, "adversarial": 0}}, "nothing would be learnt"),
        ({"losses": {"feature": 0}, "ablations": ["feature"]}, "whose weight is 0 already"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"loss": {}}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        EndToEndTraining(**TINY, **changes)


def images(**changes):
    return {"e2e": {"method": "end_to_end", "network": "pixels", **changes}}


def test_entries_of_reconstruct_follow_those_of_train(make_study, tmp_path):
    trained = {"e2e": {**TINY, "seeds": [0, 1], "ablations": ["pixel"]}}
    study = make_study(train=trained, reconstruct=images(model="e2e", expand=True, display="both", title="E2E"))
    assert list(study.reconstruct) == [
        f"{name}.{display}"
        for name in ("e2e.seed0", "e2e.seed1", "e2e.no-pixel.seed0", "e2e.no-pixel.seed1")
        for display in ("raw", "stretched")
    ]
    part = study.reconstruct["e2e.no-pixel.seed1.stretched"]
    assert (part.model, part.display) == ("e2e.no-pixel.seed1", "stretched")
    assert part.title == "E2E, no-pixel.seed1, stretched"
    assert study.trained_sets("e2e.seed0") == [("S1", "VC")]
    saved = tmp_path / "saved.yaml"
    saved.write_text(save_study(study))
    again = load_study(saved)
    assert (again.train, again.reconstruct) == (study.train, study.reconstruct)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reconstruct": images(model="e2f")}, "reconstruct.e2e.model: unknown name 'e2f'.*did you mean 'e2e'"),
        ({"reconstruct": images()}, "give either model"),
        ({"reconstruct": images(weights={"S2": "a.caffemodel"})}, "unknown subject 'S2'"),
        ({"reconstruct": images(weights={"S2": "a.caffemodel"})}, "no generator of 'S1'"),
        ({"train": {"e2e": {**TINY, "rois": ["V1"]}}}, "train.e2e.rois: unknown name 'V1'"),
        ({"rois": ["VC", "V1"], "train": {"e2e": {**TINY, "rois": ["V1"]}}}, "VC not trained by 'e2e'"),
        ({"train": {"a": {**TINY, "ablations": ["pixel"]}, "a.no-pixel": TINY}}, "makes the entry 'a.no-pixel'"),
    ],
)
def test_mistakes_between_sections_are_named(make_study, changes, message):
    content = {"train": {"e2e": TINY}, "reconstruct": images(model="e2e"), **changes}
    with pytest.raises(StudyError, match=f"(?s){message}"):
        make_study(**content)


def test_files_become_absolute(make_study, tmp_path):
    study = make_study(
        train={"e2e": {**TINY, "comparator": {"weights": "a.caffemodel"}}},
        reconstruct=images(weights={"S1": "g.caffemodel"}),
    )
    assert study.train["e2e"].comparator.weights == tmp_path / "a.caffemodel"
    assert study.reconstruct["e2e"].weights["S1"] == tmp_path / "g.caffemodel"
