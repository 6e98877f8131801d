from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpc_recon.core.ingest_options import BDataSource, IngestDataset, IngestRoi, IngestSubject, SourceFile

BDATA = {"files": "a.h5", "labels": {"key": "stimulus_name"}}


def test_one_file_or_value_may_stand_for_a_list():
    source = BDataSource.model_validate({**BDATA, "rows": {"DataType": 1}})
    assert source.files == (Path("a.h5"),)
    assert source.rows == {"DataType": (1.0,)}
    assert IngestRoi.model_validate({"file": "a.npy", "values": 3}).values == (3,)


def test_a_text_is_a_combination_of_rois():
    subject = IngestSubject.model_validate({"datasets": {}, "rois": {"VC": "V1 + V2"}})
    assert subject.rois["VC"].combine == "V1 + V2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "give one of samples, bdata, bold and betas"),
        ({"samples": {"file": "x.npy"}, "bdata": BDATA}, "give one of samples, bdata, bold and betas"),
        ({"bdata": BDATA, "labels": {"file": "x.npy"}}, "are for plain arrays; those of bdata go under bdata"),
        ({"bdata": BDATA, "repeats": "average", "average_groups_of": 3}, "not both"),
        ({"bdata": {**BDATA, "files": []}}, "at least 1"),
        ({"bdata": {**BDATA, "labels": {"key": "x", "by": "guess"}}}, "vmap"),
    ],
)
def test_contradictions_of_a_dataset_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        IngestDataset.model_validate(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "give one of file, mask, atlas, left and right, select and combine, not none"),
        ({"file": "a.npy", "select": "ROI_V1"}, "not file and select"),
        ({"select": "ROI_V1", "values": [1]}, "values belongs to file"),
    ],
)
def test_an_roi_has_one_source(content, message):
    with pytest.raises(ValidationError, match=message):
        IngestRoi.model_validate(content)


def test_a_checksum_has_32_digits():
    with pytest.raises(ValidationError, match="md5"):
        SourceFile.model_validate({"file": "a.h5", "source": "x", "md5": "12"})
