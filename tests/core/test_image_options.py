from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.bold.samples import SampleOptions
from hpc_recon.core.image_options import BetasSource, BoldRun, BoldSource, VoxelPositions
from hpc_recon.core.ingest_options import IngestDataset, IngestRoi, IngestSubject
from hpc_recon.formats.bids import MOTION

RUN = {"file": "a.nii.gz", "events": "a.tsv"}
BOLD = {"runs": [RUN], "labels": {"column": "x"}}
BETAS = {"files": ["a.nii", "b.nii"], "trials": {"files": "t.txt"}}
KEY = {"file": "x.npz", "key": "x"}


def test_defaults_are_those_of_the_steps():
    source = BoldSource.model_validate(BOLD)
    own = SampleOptions()
    for name in ("shift_s", "drop_s", "baseline_s", "linear_trend", "despike_sd", "despike_passes", "normalise"):
        assert getattr(source, name) == getattr(own, name), name
    assert source.drop_repetitions == own.drop_repetitions
    assert source.confounds == MOTION


def test_numbers_in_tables_are_texts():
    source = BoldSource.model_validate({**BOLD, "stimuli": {"event_type": 1, "kind": ["a", 2]}})
    assert source.stimuli == {"event_type": ("1",), "kind": ("a", "2")}


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        (BoldRun, {"events": "a.tsv"}, "give either file, or left and right"),
        (BoldRun, {"left": "a.gii", "events": "a.tsv"}, "give either file, or left and right"),
        (BoldRun, {**RUN, "left": "a.gii", "right": "b.gii"}, "give either file, or left and right"),
        (BoldSource, {"labels": {"column": "x"}}, "give either runs or bids"),
        (BoldSource, {**BOLD, "bids": {"folder": "f", "subject": "01"}}, "give either runs or bids"),
        (BoldSource, {**BOLD, "left_mask": "a.gii"}, "give left_mask and right_mask, or neither"),
        (BoldSource, {**BOLD, "columns": {"run": "x", "block": "y"}}, "block, run are made from the runs"),
        (BetasSource, {"trials": {"files": "t.txt"}}, "give either files, or as many left_files as right_files"),
        (BetasSource, {**BETAS, "sessions": [1]}, "sessions needs one number a file: 2, not 1"),
        (BetasSource, {**BETAS, "trials": {"files": ["a.txt"] * 3}}, "one file, or one a file of betas: 2, not 3"),
        (VoxelPositions, {}, "give one of mask, ijk, xyz and bdata, not none"),
        (VoxelPositions, {"mask": "m.nii", "ijk": KEY}, "not mask and ijk"),
        (VoxelPositions, {"ijk": KEY}, "a grid belongs to ijk, xyz and bdata"),
        (VoxelPositions, {"mask": "m.nii", "grid": "m.nii"}, "a grid belongs to ijk, xyz and bdata"),
        (IngestRoi, {"mask": "m.nii", "atlas": "a.nii"}, "not mask and atlas"),
        (IngestRoi, {"left": "a.gii"}, "give the labels of both hemispheres"),
        (IngestRoi, {"mask": "m.nii", "labels": ["V1"]}, "labels belong to an atlas, or to left and right"),
        (IngestRoi, {"atlas": "m.nii", "above": 0.5}, "above belongs to mask"),
        (IngestRoi, {"file": "m.npy", "table": "t.tsv"}, "table belongs to atlas"),
        (IngestSubject, {"datasets": {"t": {"samples": KEY}}, "drop_nan_voxels": True}, "is for bold and betas"),
        (IngestDataset, {"bold": BOLD, "labels": KEY}, "those of bold go under bold"),
        (IngestDataset, {"bold": BOLD, "betas": BETAS}, "not bold and betas"),
    ],
)
def test_contradictions_are_refused(model, content, message):
    with pytest.raises(ValidationError, match=message):
        model.model_validate(content)
