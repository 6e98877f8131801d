"""The verb: tables and samples that a later verb can read, the split by photograph, and its projections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_recon import simulate
from hpc_recon.core.config import Study
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study
from hpc_recon.stores import brain, images, shapes

ROOT = Path(__file__).parents[1]
CONTENT = {
    "name": "tiny",
    "subjects": ["S1", "S2"],
    "rois": ["VC", "V1"],
    "datasets": {
        "training": {"role": "training"},
        "natural": {"role": "test"},
        "shapes": {"role": "test"},
        "letters": {"role": "test"},
        "imagery": {"role": "test"},
    },
    "simulate": {
        "image_size": 32,
        "n_training": 26,
        "n_natural": 4,
        "n_shapes": 3,
        "n_letters": 2,
        "n_voxels": 80,
        "imagery": True,
    },
    "networks": {"pixels": {"architecture": "pixels", "layers": ["pixels"]}},
}
Make = Callable[..., Study]
Run = Callable[..., list]


def test_a_study_is_written_as_later_verbs_read_it(make_study: Make, run_verb: Run):
    study = make_study(CONTENT)
    tiles = run_verb(simulate, study)
    assert [(t.group.path, t.stage) for t in tiles] == [
        (("stimuli",), "stimuli"),
        (("S1",), "brain"),
        (("S2",), "brain"),
    ]
    workspace = study.workspace
    assert workspace is not None
    table = images.read_table(workspace)
    assert (table.height, table.width) == (32, 32)
    counts = {name: table.dataset.count(name) for name in dict.fromkeys(table.dataset)}
    assert counts == {"training": 26, "natural": 4, "shapes": 3, "letters": 2}
    sizes = shapes.read(study)
    expected = {"training": 130, "natural": 96, "shapes": 60, "letters": 24, "imagery": 60}
    assert {name: sizes.n_samples("S1", name) for name in study.datasets} == expected
    assert sizes.n_voxels("S1", "VC") == 80
    assert sizes.n_voxels("S1", "V1") == 32
    assert sizes.n_items("S1", "imagery") == 3
    assert {*brain.read_labels(workspace, "S1", "imagery")} == {*brain.read_labels(workspace, "S1", "shapes")}
    training = brain.read_brain(workspace, "S1", "training")
    assert set(training.columns) == {"session", "run", "repeat", "n_averaged"}
    assert (training.samples != brain.read_brain(workspace, "S2", "training").samples).all()
    items = brain.read_items(study, "S1", "natural", "VC")
    assert items.n_averaged.tolist() == [24] * 4


def test_no_test_photograph_occurs_in_training(make_study: Make, run_verb: Run):
    """By the stored table, not by the code that made it; `tests/simulation` compares the photographs by content."""
    study = make_study(CONTENT, subjects=["S1"])
    run_verb(simulate, study)
    assert study.workspace is not None
    table = images.read_table(study.workspace)
    sources = {
        name: {s for s, d in zip(table.source, table.dataset, strict=True) if d == name} for name in study.datasets
    }
    assert sources["training"]
    for name in ("natural", "shapes", "letters"):
        assert sources[name]
        assert not sources[name] & sources["training"]
    pixels = images.read_images(study.workspace)
    assert len({image.tobytes() for image in pixels}) == len(pixels)


def test_a_tile_gives_the_same_bytes_anywhere(make_study: Make, run_verb: Run, tmp_path: Path):
    found = []
    for name in ("one", "two"):
        study = make_study(CONTENT, subjects=["S1"], workspace=str(tmp_path / name))
        run_verb(simulate, study)
        files = sorted((tmp_path / name).rglob("*.zarr/**/c/**/*"))
        found.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files if path.is_file()})
    assert found[0] == found[1]
    assert len(found[0]) > 10


def test_averaged_training_has_one_sample_a_stimulus(make_study: Make, run_verb: Run):
    study = make_study(CONTENT, set_=["simulate.average_training=true", "subjects=[S1]"])
    run_verb(simulate, study)
    assert study.workspace is not None
    averaged = brain.read_brain(study.workspace, "S1", "training")
    assert averaged.samples.shape == (26, 80)
    assert averaged.columns == {"n_averaged": [5.0] * 26}


def test_the_plan_says_what_is_written(make_study: Make, run_verb: Run):
    study = make_study(CONTENT)
    tiles = simulate.plan(study, shapes.read(study))
    simulate.prepare(study)
    assert study.workspace is not None
    assert not study.workspace.exists()
    run_verb(simulate, study)
    for tile in tiles:
        written = simulate.work(study, tile)
        assert len(written) == tile.need.files_out
        assert tile.need.host_bytes > tile.need.bytes_out > 0


def test_settings_follow_what_results_depend_on(make_study: Make):
    def fingerprints(*assignments: str) -> list[tuple[str, str]]:
        study = make_study(CONTENT, set_=list(assignments))
        return [(t.group.key, t.group.settings) for t in simulate.plan(study, shapes.read(study))]

    plain = fingerprints()
    assert fingerprints("report.title=other", "fit.alpha=3", "subjects=[S1, S2]") == plain
    assert fingerprints("simulate.preset=realistic")[0] == plain[0]
    assert fingerprints("simulate.preset=realistic")[1] != plain[1]
    assert fingerprints("simulate.n_training=30")[0] != plain[0]
    assert all(a != b for a, b in zip(fingerprints("seed=1"), plain, strict=True))


def test_mistakes_are_refused_before_anything_is_written(make_study: Make):
    study = make_study(CONTENT, rois=["VC", "V9"])
    for call in (lambda: simulate.plan(study, shapes.read(study)), lambda: simulate.prepare(study)):
        with pytest.raises(StudyError, match="'V9' cannot be simulated"):
            call()
    assert study.workspace is not None
    assert not study.workspace.exists()


@pytest.mark.parametrize("name", ["demo", "demo_latents", "realistic", "null"])
def test_the_studies_that_ship_can_be_planned(name: str):
    study = load_study(ROOT / "configs" / "studies" / f"{name}.yaml")
    tiles = simulate.plan(study, shapes.read(study))
    assert len(tiles) == 1 + len(study.subjects)
