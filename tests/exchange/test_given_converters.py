"""Converters are exported, read by another study, and exported again to the same bytes."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import scipy.io

from hpc_recon import convert, simulate
from hpc_recon.core.errors import DataError
from hpc_recon.exchange import export_converters, exporting, given_converters
from hpc_recon.exchange.exporting import Selection
from hpc_recon.formats import transformations
from hpc_recon.stores import arrays, brain, layout


@pytest.fixture(scope="module")
def brains(make_study_in, run_verb):
    """Two subjects with different voxels, whose converters were fitted and exported."""
    study = make_study_in("fitted", {"pairs": ["S1-S2", "S2-S1"], "alpha": 5})
    run_verb(simulate, study)
    run_verb(convert, study)
    export(study, study.workspace.parent / "out")
    return study


@pytest.fixture(scope="module")
def make_study_in(tmp_path_factory):
    import yaml

    from hpc_recon.core.loading import load_study

    def made(name, section):
        folder = tmp_path_factory.mktemp(name)
        content = {
            "name": name,
            "workspace": str(folder / "runs"),
            "subjects": ["S1", "S2"],
            "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
            "simulate": {"image_size": 16, "n_training": 20, "n_natural": 3, "n_voxels": 50, "training_repeats": 1},
            "networks": {"image": {"architecture": "pixels", "layers": ["pixels"]}},
            "convert": {"permutations": 100, **section},
        }
        (folder / "study.yaml").write_text(yaml.safe_dump(content))
        return load_study(folder / "study.yaml", [])

    return made


def export(study, folder):
    batches = list(export_converters.converters(study, Selection()))
    exporting.run(exporting.plan(folder, batches, overwrite=False, workspace=study.workspace))


def reading(brains, make_study_in, **more):
    """Return a study with the same brains that reads the exported converters of one pair."""
    files = {"S1-S2": str(brains.workspace.parent / "out" / "S12S2" / "model")}
    study = make_study_in("reading", {"pairs": ["S1-S2"], "files": files, **more})
    for name in ("brain.zarr", "stimuli.zarr", "receipts/simulate"):
        shutil.copytree(brains.workspace / name, study.workspace / name)
    return study


def test_a_round_trip_keeps_every_value(brains, make_study_in, run_verb, tmp_path):
    study = reading(brains, make_study_in)
    run_verb(convert, study)
    known, found = (
        arrays.read(s.workspace, layout.samples("S2.from-S1", "natural")).astype(np.float64) for s in (brains, study)
    )
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-5 * known.std())
    export(study, tmp_path / "again")
    first, again = (
        transformations.read(folder / "S12S2" / "model")
        for folder in (brains.workspace.parent / "out", tmp_path / "again")
    )
    for name in ("M", *transformations.STATISTICS):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    with h5py.File(tmp_path / "again" / "S12S2" / "model" / "transformation.mat") as file:
        np.testing.assert_array_equal(file["M"][()].T, first.M)
    assert given_converters.identities(study) == given_converters.identities(study)


def test_files_as_scipy_writes_them_are_read(brains, make_study_in, tmp_path):
    study = reading(brains, make_study_in)
    first = transformations.read(brains.workspace.parent / "out" / "S12S2" / "model")
    content = {"M": first.M} | {name: getattr(first, name)[None] for name in transformations.STATISTICS}
    for file, (name, value) in zip(transformations.FILES, content.items(), strict=True):
        scipy.io.savemat(tmp_path / file, {name: value})
    options = study.convert.model_copy(update={"files": {"S1-S2": tmp_path}})
    own = study.model_copy(update={"convert": options})
    given_converters.require_fits(own)
    np.testing.assert_array_equal(given_converters.read(own, "S2.from-S1").M, first.M)


def test_what_does_not_fit_is_said_before_anything_is_read(brains, make_study_in, tmp_path):
    study = reading(brains, make_study_in)
    folder = study.convert.files["S1-S2"]
    n = {s: int(brain.read_roi(study.workspace, s, "V1").sum()) for s in ("S1", "S2")}
    other = study.model_copy(update={"convert": study.convert.model_copy(update={"files_roi": "V1"})})
    with pytest.raises(
        DataError,
        match=rf"x_mean is of 50 voxels, V1 of S1 has {n['S1']}; .*VC has these numbers: set convert.files_roi",
    ):
        given_converters.require_fits(other)
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "y_norm.mat").unlink()
    options = study.convert.model_copy(update={"files": {"S1-S2": tmp_path / "model"}})
    with pytest.raises(DataError, match=r"five files in one folder, but 1 of them are absent .*y_norm.mat"):
        given_converters.identities(study.model_copy(update={"convert": options}))
