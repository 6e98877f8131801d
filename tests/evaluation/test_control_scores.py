"""What controls say, of small studies that are fitted again for real: honest, of categories alone, and with a leak."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from hpc_recon import evaluate, extract, simulate
from hpc_recon.evaluation import control_scores, controls

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """Return the benchmark of controls: the study of these tests is the one that it repeats with other seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("bench_controls")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("controls")


@pytest.fixture
def controlled(make_study, bench, kept):
    """Return a function that runs a control of a study, which itself is only simulated and extracted."""

    def run(signal, name):
        simulated, methods = {**bench.STUDY["simulate"], "signal": signal}, bench.STUDY["reconstruct"]
        if signal != "image":
            methods = {"honest": methods["honest"]}
        study = make_study(bench.STUDY, simulate=simulated, reconstruct=methods, workspace=str(kept / signal))
        if not study.workspace.exists():
            bench.run(simulate, study)
            bench.run(extract, study)
        if not controls.workspace_of(study, name).exists():
            bench.refit(study, name)
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
    assert len(sets["honest"]["identification"]) == len(sets["cheat"]["p"]) == 3
    assert min(sets["cheat"]["identification"]) > 0.9
    assert (sets["cheat"]["leaks"], sets["honest"]["leaks"]) == (True, False)
    # 12 images, three shuffles: each shuffle's mean varies more than .289 / sqrt(12) (one fixed map), so four of it
    assert sum(sets["honest"]["identification"]) / 3 == pytest.approx(0.5, abs=4 * 0.289 / 12**0.5)
    assert found["leaks"] == [{"variant": "cheat", "roi": "VC"}]
    assert found["controls"][1] == {"name": "noise", "state": "not run", "sets": []}


def test_a_brain_of_categories_leaks_nothing(controlled):
    for name in ("shuffled", "noise"):
        (own,) = sets_of(control_scores.collect(controlled("category", name)), name).values()
        assert not own["leaks"]
    # noise is another for every image, so images are independent: 36 of them
    assert sum(own["identification"]) / 3 == pytest.approx(0.5, abs=4 * 0.289 / 36**0.5)


def test_a_control_counts_for_the_study_that_it_was_made_of(controlled):
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


def test_evaluate_writes_what_controls_say(controlled, kept):
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
