"""What a study holds, and mistakes in it."""

from __future__ import annotations

from hpc_recon.core.config import Study
from hpc_recon.simulation import areas, contents


def study(**changes: object) -> Study:
    content = {
        "name": "tiny",
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "shapes": {"role": "test"}},
        "simulate": {"n_training": 10, "n_shapes": 3, "n_voxels": 60},
        "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    }
    return Study.model_validate({**content, **changes})


def problems(**changes: object) -> list[str]:
    made = study(**changes)
    assert made.simulate is not None
    return contents.problems(made, made.simulate)


def test_a_good_study_has_no_problem():
    assert problems() == []


def test_all_mistakes_are_named_at_once():
    found = "\n".join(
        problems(
            datasets={"training": {"role": "training"}, "natrual": {"role": "test"}, "imagery": {"role": "test"}},
            rois=["V1", "V7"],
            simulate={"n_shapes": 41, "n_voxels": 60},
        )
    )
    for part in ("'natrual' cannot", "natural", "simulate.imagery is false", "list 'shapes'", "40 coloured", "'V7'"):
        assert part in found
    assert "role" in problems(datasets={"shapes": {"role": "training"}, "letters": {"role": "test"}})[0]
    assert "does not list 'imagery'" in problems(simulate={"imagery": True, "n_voxels": 60})[0]


def test_the_network_of_the_brain_is_never_decoded():
    brain = areas.model_network(0)
    for architecture in ("vgg11", "vgg11_features"):
        same = {"vgg": {"architecture": architecture, "weights": brain.weights, "layers": ["conv1_1"]}}
        assert "simulated brain sees with" in problems(networks=same)[0]


def test_numbers_of_stimuli_repeats_and_samples():
    section = study().simulate
    assert section is not None
    assert [contents.n_stimuli(section, d) for d in ("training", "natural", "shapes", "letters", "imagery")] == [
        10, 12, 3, 6, 3,
    ]  # fmt: skip
    assert [contents.n_repeats(section, d) for d in ("training", "natural", "shapes", "letters")] == [5, 24, 20, 12]
    assert contents.n_samples(section, "training") == 50
    assert contents.n_samples(section.model_copy(update={"average_training": True}), "training") == 10
    assert contents.preset_of(section, "imagery").signal < contents.preset_of(section, "shapes").signal
    assert contents.preset_of(section.model_copy(update={"noise_scale": 2.0}), "shapes").noise == 4.0


def test_each_dataset_is_drawn_by_its_name():
    section = study().simulate
    assert section is not None
    sources = {name: set(contents.draw(section, name, study_seed=0).source) for name in contents.DRAWN}
    assert sources["shapes"] == {"shape"}
    assert sources["letters"] == {"letter"}
    assert not sources["training"] & sources["natural"]
