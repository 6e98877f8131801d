"""Plans before there are data, and what finished tiles of other choices of units say about them."""

import os
from pathlib import Path

import pytest

from hpc_recon.core import threads
from hpc_recon.core.cluster_file import load_cluster
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore, StudyError
from hpc_recon.core.files import write_json
from hpc_recon.core.loading import load_study
from hpc_recon.core.units import EveryNth
from hpc_recon.run import preview
from hpc_recon.run.clusters import Place
from hpc_recon.run.options import Jobs, Options
from hpc_recon.run.verbs import step

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "configs" / "studies" / "shen2019.yaml"


def place(name: str = "local") -> Place:
    return Place(name, load_cluster(name), Jobs(1, 1), "auto", None)


def planner(study: Study, where: str = "local") -> preview.Forecaster:
    return preview.forecaster(study, Options(study=Path("study.yaml")), place=place(where))


def verbs(*names: str):
    return [step(name) for name in names]


def test_the_published_study_is_projected_without_data_and_without_weights(tmp_path):
    study = load_study(PUBLISHED, [f"workspace={tmp_path}/ws", "subjects=[S1]"])
    found = planner(study)
    forecasts, notes = preview.forecast_all(verbs("ingest", "extract", "fit", "decode", "evaluate", "report"), found)
    by_verb = {forecast.verb: forecast.todo for forecast in forecasts}
    assert set(by_verb) == {"extract", "fit", "decode", "evaluate", "report"}
    assert len(notes) == 1
    assert "ingest is left out" in notes[0]
    assert found.absent_weights == ["vgg19", "vgg19_leaky"]
    assert found.absent_generators == ["generator"]
    assert found.shapes.used
    fits = [tile for tile in by_verb["fit"] if tile.stage == "fit"]
    # 14,861,288 units in shards of 32,768: 465 tiles, 500 voxel numbers (2 bytes) and weights (4 bytes) a unit;
    # twice, because imagery has a network of its own
    assert len(fits) == 2 * 465
    assert sum(tile.stop - tile.start for tile in fits) == 2 * 14_861_288
    decoders = 2 * 14_861_288 * 500 * 6
    assert decoders < sum(tile.need.bytes_out for tile in fits) < 1.01 * decoders
    # 1,300 stimuli of all datasets, float32
    features = 1300 * 2 * 14_861_288 * 4
    assert features < sum(tile.need.bytes_out for tile in by_verb["extract"]) < 1.01 * features
    assert not (tmp_path / "ws").exists()


def test_a_generator_that_is_not_there_stops_no_projection_and_hides_nothing_that_is_done(make_study, run_verb):
    from hpc_recon import extract, simulate

    entry = {"method": "icnn", "network": "vgg", "latent": {"generator": "small", "weights": "absent.pt"}}
    network = {"architecture": "vgg11_quarter", "weights": "random:0", "layers": ["conv1_1"]}
    study = make_study(networks={"vgg": network}, reconstruct={"generator": entry})
    for module in (simulate, extract):
        run_verb(module, study)
    found = planner(study)
    forecasts, _ = preview.forecast_all(verbs("extract", "fit", "decode", "reconstruct"), found)
    assert found.absent_generators == ["generator"]
    todo = {forecast.verb: len(forecast.todo) for forecast in forecasts}
    assert todo["extract"] == 0
    assert min(todo[verb] for verb in ("fit", "decode", "reconstruct")) > 0


def test_a_simulated_study_is_projected_from_its_section_and_then_as_it_is(make_study, run_verb):
    from hpc_recon import extract, simulate

    study = make_study()
    before, _ = preview.forecast_all(verbs("extract", "fit"), planner(study))
    for module in (simulate, extract):
        run_verb(module, study)
    again = planner(study)
    after, _ = preview.forecast_all(verbs("fit"), again)
    assert not again.shapes.used
    assert [tile.id for tile in after[0].todo] == [tile.id for tile in before[1].todo]
    assert [tile.need for tile in after[0].todo] == [tile.need for tile in before[1].todo]
    assert preview.forecast_all(verbs("extract"), planner(study))[0][0].todo == []


def test_without_declared_sizes_the_command_and_the_section_are_named(make_study, tmp_path):
    content = load_study(PUBLISHED).model_dump(mode="json", exclude_none=True, exclude={"sizes", "workspace"})
    study = make_study({**content, "reconstruct": {}})
    with pytest.raises(MissingStore, match=r"hpc_recon\.(ingest|simulate).*declare their sizes under `sizes:`"):
        preview.forecast_all(verbs("fit"), planner(study))
    with pytest.raises(StudyError, match="does not exist"):
        preview.forecast_all(verbs("ingest"), planner(study))


def test_a_verb_of_a_chain_whose_sizes_are_unknown_is_named(make_study):
    content = load_study(PUBLISHED).model_dump(mode="json", exclude_none=True, exclude={"workspace"})
    content["sizes"]["datasets"].pop("letters")
    found, notes = preview.forecast_all(verbs("extract", "fit", "decode", "report"), planner(make_study(content)))
    assert [forecast.verb for forecast in found] == ["extract", "fit"]
    assert "decode, report: cannot be planned" in notes[0]
    assert "sizes.datasets.letters" in notes[0]


def test_plans_are_for_the_threads_of_a_worker(make_study, monkeypatch):
    study = make_study()
    assert place("slurm").worker_threads == 8
    here, there = (planner(study, where).forecast(step("fit")) for where in ("local", "slurm"))
    need = {forecast.todo[-1].need.host_bytes for forecast in (here, there)}
    assert len(need) == 2
    monkeypatch.setenv(threads.VARIABLE, "3")
    with threads.planned_for(5):
        assert threads.available() == 5
    assert os.environ[threads.VARIABLE] == "3"


def test_choices_of_units_are_read_from_the_names_of_receipts(tmp_path):
    for path in ("S1/VC/vgg@1000/conv", "S1/VC/vgg@every16/conv", "S1/VC/vgg@file-0a1b2c3d/conv", "S1/VC/vgg/conv"):
        write_json(tmp_path / "receipts" / "fit" / path / "group.json", {})
    write_json(tmp_path / "receipts/evaluate/features/S1/VC/vgg@7/conv/group.json", {})
    assert preview.units_on_disk(tmp_path, "fit") == [1000, EveryNth(every=16)]
    assert preview.units_on_disk(tmp_path, "evaluate") == [7]
    assert preview.units_on_disk(tmp_path, "decode") == []
