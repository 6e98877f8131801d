from __future__ import annotations

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.ingest_options import ArrayKey, IngestStimuli
from hpc_recon.exchange import mapping


def test_missing_files_are_all_named(tmp_path):
    value = {"a": ArrayKey(file=tmp_path / "x.mat", key="k"), "b": IngestStimuli(folder=tmp_path / "y")}
    with pytest.raises(StudyError) as caught:
        mapping.input_files(value)
    assert [problem.split()[0] for problem in caught.value.problems] == [str(tmp_path / "x.mat"), str(tmp_path / "y")]


def test_fingerprint_of_a_folder_follows_its_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    source = IngestStimuli(folder=tmp_path)
    first = mapping.fingerprint(source)
    (tmp_path / "notes.txt").write_text("not an image")
    assert mapping.fingerprint(source) == first
    (tmp_path / "b.png").write_bytes(b"2")
    assert mapping.fingerprint(source)["folder"].keys() == {"a.png", "b.png"}


def test_study_without_ingest_says_so(make_study):
    with pytest.raises(StudyError, match="its brain data come from `simulate`"):
        mapping.section(make_study())
