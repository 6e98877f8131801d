from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import Ingest
from hpc_recon.exchange import images, mapping, places
from hpc_recon.stores.brain import Brain


def brain(values):
    return Brain(np.array(values, dtype=np.float32), tuple("ab"[: len(values)]))


def test_voxels_with_nan_in_any_dataset_are_not_kept():
    nan = np.nan
    datasets = {"training": brain([[1, nan, 3, 4], [1, 2, 3, 4]]), "test": brain([[nan, 2, 3, 4]])}
    assert images.drop_nan(datasets, allowed=True).tolist() == [False, False, True, True]
    with pytest.raises(DataError, match=r"2 of 4 voxels are NaN in some sample \(training 1, test 1\); take them out"):
        images.drop_nan(datasets, allowed=False)
    assert images.drop_nan({"training": brain([[1, 2]])}, allowed=False).all()


def test_infinite_values_are_never_dropped():
    with pytest.raises(DataError, match="test: 1 voxels have infinite values"):
        images.drop_nan({"training": brain([[1, 2]]), "test": brain([[1, np.inf]])}, allowed=True)


def test_something_must_be_left():
    with pytest.raises(DataError, match=r"all 2 voxels are NaN in some sample"):
        images.drop_nan({"a": brain([[1, np.nan]]), "b": brain([[np.nan, 1]])}, allowed=True)


def test_kept_positions_are_those_of_the_kept_voxels():
    whole = places.of_hemispheres(np.ones(3, bool), np.ones(2, bool))
    found = images.kept_positions(whole, np.array([True, False, True, False, True]))
    assert found.vertex.tolist() == [0, 2, 1]
    assert found.structure.tolist() == [0, 0, 1]
    assert found.surface_sizes == whole.surface_sizes


def test_runs_of_a_folder_are_numbered(bold_lab, make_study):
    lab = bold_lab()
    study = make_study(lab.study())
    found = mapping.section(study).subjects["S1"].datasets["training"].bold
    assert found.bids is None
    assert [(run.session, run.run) for run in found.runs] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [run.file for run in found.runs] == [
        lab.images(f"training0{s}", "perception", r)[0] for s in (1, 2) for r in (1, 2)
    ]
    assert {run.confounds for run in found.runs} == {None}  # the study regresses none out


def test_runs_whose_labels_repeat_are_numbered_in_order(bold_lab, make_study):
    """Two tasks in one session both have a run 1."""
    lab = bold_lab(runs=1, sessions=1)
    lab.write_run("training01", "control", 1, lab.training[:3], 4)
    found = mapping.section(make_study(lab.study())).subjects["S1"].datasets["training"].bold
    assert [(run.file.name.split("_")[2], run.session, run.run) for run in found.runs] == [
        ("task-control", 1, 1),
        ("task-perception", 1, 2),
    ]


def test_every_folder_that_cannot_be_used_is_a_problem(bold_lab, make_study):
    lab = bold_lab(runs=1, sessions=1)
    content = lab.study()
    datasets = content["ingest"]["subjects"]["S1"]["datasets"]
    datasets["training"]["bold"]["bids"]["subject"] = "02"
    datasets["test"]["bold"]["bids"]["space"] = "MNI"
    problems: list[str] = []
    section = make_study(content).ingest
    assert isinstance(section, Ingest)
    images.resolved(section, problems)
    assert len(problems) == 2
    assert problems[0].startswith("subjects.S1.datasets.training.bold.bids: ")
    assert "sub-02 does not exist; " in problems[0]
    assert "has sub-01. Correct it." in problems[0]
    assert "space T1w" in problems[1]


def test_positions_of_images_and_of_the_study_agree(bold_lab, make_study):
    lab = bold_lab(runs=1, sessions=1)
    subject = make_study(lab.study(positions={"mask": "lab/mask.nii.gz"})).ingest.subjects["S1"]
    own = places.given(subject, lab.n_voxels)
    assert images.positions_of(subject, {"training": own}, lab.n_voxels) is own
    other = places.of_mask(places.common_mask([lab.root / "lab" / "mask.nii.gz"]))
    moved = images.kept_positions(other, np.arange(lab.n_voxels) > 0)
    with pytest.raises(DataError, match="the voxels of training and test are not the same"):
        images.positions_of(subject, {"training": own, "test": moved}, lab.n_voxels)
    with pytest.raises(DataError, match="they are not those of the images of training; leave `positions` out"):
        images.positions_of(
            subject, {"training": places.of_hemispheres(np.ones(3, bool), np.ones(2, bool))}, lab.n_voxels
        )
