"""What controls say, of small studies that are fitted again for real: honest, of categories alone, and with a leak."""

from __future__ import annotations

import json

import pytest

from hpc_recon import control, decode, evaluate, extract, fit, reconstruct, simulate
from hpc_recon.core.files import write_atomic
from hpc_recon.core.loading import load_study, save_study
from hpc_recon.evaluation import control_scores, controls

CONTENT = {
    "name": "tiny",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 60, "n_natural": 12, "n_voxels": 80, "training_repeats": 1},
    "networks": {
        "image": {"architecture": "pixels", "layers": ["pixels"]},
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]},
    },
    "fit": {"n_voxels": 30, "alpha": 10.0},
    # The second method is one that reads the true features of the test stimuli instead of the decoded ones.
    "reconstruct": {
        "direct": {"method": "pixels", "network": "image", "images_per_tile": 12},
        "cheat": {"method": "icnn", "network": "vgg", "source": "true", "iterations": 3, "images_per_tile": 12},
    },
    "evaluate": {"resamples": 100},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("controls")


@pytest.fixture
def controlled(make_study, run_verb, kept):
    """Return a function that runs a control of a study, which itself is only simulated and extracted."""

    def run(signal, name):
        simulated = {**CONTENT["simulate"], "signal": signal}
        methods = CONTENT["reconstruct"] if signal == "image" else {"direct": CONTENT["reconstruct"]["direct"]}
        study = make_study(CONTENT, simulate=simulated, reconstruct=methods, workspace=str(kept / signal))
        if not study.workspace.exists():
            run_verb(simulate, study)
            run_verb(extract, study)
        folder = controls.workspace_of(study, name)
        if not folder.exists():
            text = save_study(controls.derive(study, name))
            derived = load_study(write_atomic(folder / "study.yaml", text.encode()))
            for verb in (control, fit, decode, reconstruct, evaluate):
                run_verb(verb, derived)
        return study

    return run


def sets_of(found, name):
    (entry,) = [e for e in found["controls"] if e["name"] == name]
    assert entry["state"] == control_scores.FINISHED
    return {s["variant"]: s for s in entry["sets"]}


def test_a_method_that_reads_true_features_leaks_and_an_honest_one_does_not(controlled):
    study = controlled("image", "shuffled")
    found = control_scores.collect(study)
    sets = sets_of(found, "shuffled")
    assert len(sets["direct"]["identification"]) == len(sets["cheat"]["p"]) == 3
    assert min(sets["cheat"]["identification"]) > 0.9
    assert (sets["cheat"]["leaks"], sets["direct"]["leaks"]) == (True, False)
    # 12 images, three shuffles: each shuffle's mean varies more than .289 / sqrt(12) (one fixed map), so four of it
    assert sum(sets["direct"]["identification"]) / 3 == pytest.approx(0.5, abs=4 * 0.289 / 12**0.5)
    assert found["leaks"] == [{"variant": "cheat", "roi": "VC"}]
    assert found["controls"][1] == {"name": "noise", "state": "not run", "sets": []}


def test_a_brain_of_categories_leaks_nothing(controlled):
    for name in ("shuffled", "noise"):
        (own,) = sets_of(control_scores.collect(controlled("category", name)), name).values()
        assert not own["leaks"]
    # noise is another for every image, so images are independent: 36 of them
    assert sum(own["identification"]) / 3 == pytest.approx(0.5, abs=4 * 0.289 / 36**0.5)


def test_a_control_counts_for_the_study_that_it_was_made_of(controlled, run_verb):
    study = controlled("image", "shuffled")
    before = control_scores.digest(study)
    assert control_scores.state(study, "noise") == control_scores.NOT_RUN
    other = study.model_copy(update={"fit": study.fit.model_copy(update={"alpha": 20.0})})
    assert control_scores.state(other, "shuffled") == control_scores.CHANGED
    assert control_scores.digest(other) != before
    titled = study.model_copy(update={"report": study.report.model_copy(update={"title": "Another title"})})
    assert control_scores.state(titled, "shuffled") == control_scores.FINISHED, "what the page shows changes no result"
    card = controls.workspace_of(study, "shuffled") / "scores" / "validity.json"
    kept = card.read_bytes()
    try:
        card.unlink()
        assert control_scores.state(study, "shuffled") == control_scores.NOT_RUN
        assert control_scores.digest(study) is None
    finally:
        card.write_bytes(kept)
    assert control_scores.digest(study) == before


def test_evaluate_writes_what_controls_say(controlled, run_verb, kept):
    study = controlled("image", "shuffled")
    (tile,) = evaluate._controls_tile(study)
    (path,) = evaluate.work(study, tile)
    assert path == study.workspace / "scores" / "controls.json"
    assert json.loads(path.read_text()) == control_scores.collect(study)
    assert evaluate._controls_tile(study.model_copy(update={"workspace": kept / "none"})) == []


def test_one_repeat_at_chance_is_no_leak():
    assert control_scores.leaks([0.049, 0.001, 0.02])
    assert not control_scores.leaks([0.05, 0.001, 0.02])
    assert not control_scores.leaks([0.001, 0.001, None])
    assert not control_scores.leaks([])
