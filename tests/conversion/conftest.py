"""Two simulated subjects, converted into each other, for all tests of the library."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hpc_recon import convert, simulate
from hpc_recon.core.config import Study
from hpc_recon.core.loading import load_study
from hpc_recon.core.tiles import Shapes, Tile

CONTENT = {
    "name": "two",
    "subjects": ["S1", "S2"],
    "rois": ["VC", "V1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"image_size": 16, "n_training": 30, "n_natural": 6, "n_voxels": 60, "training_repeats": 2},
    "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
    "convert": {"alpha": 20, "areas": ["V2"], "pool": [1], "permutations": 100},
}


def load(folder: Path) -> Study:
    """Write and load the study in a folder."""
    content = {**CONTENT, "workspace": str(folder / "runs")}
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return load_study(folder / "study.yaml", [])


@pytest.fixture(scope="session")
def simulated(tmp_path_factory, run_verb) -> Study:
    """The study with brains alone: nothing may be written into its workspace."""
    study = load(tmp_path_factory.mktemp("brains"))
    run_verb(simulate, study)
    return study


@pytest.fixture(scope="session")
def converted(tmp_path_factory, run_verb) -> Study:
    """The study after `convert`: nothing may be written into its workspace."""
    study = load(tmp_path_factory.mktemp("converted"))
    run_verb(simulate, study)
    run_verb(convert, study)
    return study


@pytest.fixture
def fit(simulated, with_options, tmp_path, run_verb):
    """Return a function that fits the converters alone, with other options, in a workspace of its own.

    More stages run if they are named.
    """

    def fitted(*more: str, **options: object) -> Study:
        shutil.copytree(simulated.workspace, tmp_path / "runs")
        study = with_options(**options).model_copy(update={"workspace": tmp_path / "runs"})

        def of_stage(study: Study, shapes: Shapes) -> list[Tile]:
            return [tile for tile in convert.plan(study, shapes) if tile.stage in ("spaces", "converters", *more)]

        run_verb(SimpleNamespace(plan=of_stage, prepare=convert.prepare, work=convert.work), study)
        return study

    return fitted


@pytest.fixture
def with_options(simulated):
    """Return a function that gives the study with brains alone other options of `convert`."""

    def changed(*, rois: tuple[str, ...] = ("VC", "V1"), **options: object) -> Study:
        section = simulated.convert.model_validate(CONTENT["convert"] | options)
        return simulated.model_copy(update={"convert": section, "rois": tuple(rois)})

    return changed
