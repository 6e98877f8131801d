"""Noise ceilings of an ROI's voxels: which samples they are made from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hpc_recon.evaluation import voxels
from hpc_recon.numerics import ceilings
from hpc_recon.stores import brain, shapes


@pytest.fixture
def study(make_study, fill_workspace):
    study = make_study(rois=["VC", "V1"])
    fill_workspace(study)
    return study


def test_a_row_a_voxel_of_each_roi(study):
    found = pd.DataFrame(list(voxels.score(study, "S1", "V1")), columns=list(voxels.COLUMNS))
    numbers = np.flatnonzero(brain.read_roi(study.workspace, "S1", "V1"))
    assert found["voxel"].tolist() == numbers.tolist()
    read = brain.read_brain(study.workspace, "S1", "natural", "V1")
    labels = sorted(set(read.labels))
    at = [[i for i, label in enumerate(read.labels) if label == name] for name in labels]
    trials = np.stack([[read.samples[own[repeat]] for own in at] for repeat in range(2)])
    np.testing.assert_allclose(found["repeat_correlation"], ceilings.repeat_correlation(trials), atol=1e-6)
    assert (found["n_repeats"] == 2).all()
    assert (found["n_stimuli"] == len(labels)).all()
    assert found["split_half"].between(0, 1).all()


def test_conditions_and_single_trials_have_none(study, monkeypatch):
    read = brain.read_brain(study.workspace, "S1", "natural", "V1")
    single = brain.Brain(read.samples[:4], ("a", "b", "c", "d"))
    monkeypatch.setattr(brain, "read_brain", lambda *_: single)
    assert list(voxels.score(study, "S1", "V1")) == []
    resting = brain.Brain(read.samples[:7], ("a", "b", "c", "a", "b", "c", "rest"), {}, {"rest": "nothing"})
    monkeypatch.setattr(brain, "read_brain", lambda *_: resting)
    assert {row["n_stimuli"] for row in voxels.score(study, "S1", "V1")} == {3}


def test_the_distribution_is_that_of_numpy():
    values = [0.1, 0.5, np.nan, 0.9]
    frame = pd.DataFrame(
        {"subject": "S1", "split": "all", "roi": "V1", "dataset": "natural", "voxel": range(4), "n_stimuli": 5,
         "repeat_correlation": values, "split_half": np.nan, "n_repeats": 2}
    )  # fmt: skip
    one, other = voxels.distribution(frame)
    assert one["mean"] == pytest.approx(0.5)
    assert (one["q25"], one["median"], one["q75"]) == pytest.approx((0.3, 0.5, 0.7))
    assert (one["n"], one["n_missing"], one["n_repeats"]) == (3, 1, 2)
    assert other["median"] is None
    assert voxels.distribution(pd.DataFrame(columns=list(voxels.COLUMNS))) == []


def test_one_tile_a_subject_and_roi(study):
    found = voxels.tiles(study, shapes.read(study))
    assert [tile.group.path for tile in found] == [("voxels", "S1", "VC"), ("voxels", "S1", "V1")]
    assert found[0].group.upstream == ("simulate/S1",)
    assert found[0].need.host_bytes >= found[1].need.host_bytes > 0
