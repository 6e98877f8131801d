from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hpc_recon import ingest
from hpc_recon.exchange import checking
from hpc_recon.formats.bdata_write import write_bdata

SIZES = {"image_size": [4, 4], "voxels": {"VC": 3}, "datasets": {"training": {"stimuli": 2, "samples": 4}}}


@pytest.fixture
def study(tmp_path, make_study):
    """Return a function that writes four rows of training data, and a study that says where they come from."""

    def make(*, n=4, md5=None, size=None):
        table = tmp_path / "S1.h5"
        blocks = {"VoxelData": np.arange(3.0 * (n + 2)).reshape(-1, 3), "kind": np.array([1.0] * n + [2.0] * 2)}
        names = np.array([1.0, 2.0] * n)[: n + 2]
        write_bdata(table, {**blocks, "name": names}, vmaps={"name": {1.0: "a", 2.0: "b"}})
        digest = hashlib.md5(table.read_bytes()).hexdigest() if md5 is None else md5
        samples = {"files": "S1.h5", "labels": {"key": "name"}, "rows": {"kind": 1}}
        sources = [
            {"file": "S1.h5", "source": "figshare article 1, file 2", "md5": digest, "bytes": size},
            {"file": "photos", "source": "ask the authors"},
        ]
        content = {
            "subjects": {"S1": {"datasets": {"training": {"bdata": samples}}}},
            "stimuli": {"training": {"folder": "photos"}, "natural": {"folder": "more"}},
            "sources": sources,
        }
        return make_study(simulate=None, ingest=content, sizes=SIZES)

    return make


def _states(study):
    return {finding.what.rpartition("/")[2]: (finding.state, finding.detail) for finding in checking.check(study)}


def test_files_are_present_or_missing_with_their_source(study):
    found = _states(study())
    assert found["S1.h5"][0] == "ok"
    assert found["S1.h5"][1].endswith("md5 as published")
    assert found["photos"] == ("missing", "get it: ask the authors")
    assert found["more"][0] == "missing"
    assert "the study does not say where" in found["more"][1]
    assert found["S1 training"] == ("ok", "4 samples of 2 stimuli")


def test_other_contents_are_wrong(study):
    assert _states(study(md5="0" * 32))["S1.h5"][0] == "wrong"
    assert "are published; download it again" in _states(study(size=3))["S1.h5"][1]
    state, detail = _states(study(n=3))["S1 training"]
    assert (state, detail.split(";")[0]) == ("wrong", "3 samples, but sizes.datasets.training.samples is 4")


def test_the_flag_prints_the_findings_and_writes_nothing(study, tmp_path, capsys):
    loaded = study()
    arguments = ["--study", str(tmp_path / "study.yaml"), "--check"]
    assert ingest.main(arguments) == 1
    out = capsys.readouterr().out
    assert "missing " in out
    assert "get it: ask the authors" in out
    assert out.splitlines()[-1] == "4 looked at, 2 missing, 0 wrong"
    for folder in ("photos", "more"):
        (tmp_path / folder).mkdir()
    assert ingest.main(arguments) == 0
    assert not loaded.workspace.exists()


def _imagery(tmp_path, make_study, *, labels, null, **sizes):
    np.savez(tmp_path / "i.npz", x=np.zeros((len(labels), 3)), labels=np.array(labels))
    arrays = {"samples": {"file": "i.npz", "key": "x"}, "labels": {"file": "i.npz", "key": "labels"}}
    content = {
        "subjects": {"S1": {"datasets": {"natural": {**arrays, "repeats": "keep", "null_labels": null}}}},
        "stimuli": {"training": {"folder": "photos"}},
    }
    declared = {**SIZES, "datasets": {"natural": {"samples": len(labels), "own_stimuli": False, **sizes}}}
    return _states(make_study(simulate=None, ingest=content, sizes=declared))["S1 natural"]


def test_samples_without_a_stimulus_are_counted(tmp_path, make_study):
    numbers = [3.0, np.nan, 4, 3, np.nan]
    given = {"labels": numbers, "null": {"n/a": "fixation"}}
    expected = ("ok", "3 samples of 2 stimuli, 2 more of 1 condition without a stimulus")
    assert _imagery(tmp_path, make_study, **given, stimuli=2, null_conditions=1, null_samples=2) == expected
    state, detail = _imagery(tmp_path, make_study, **given, stimuli=2)
    assert state == "wrong"
    assert "2 null samples, but sizes.datasets.natural.null_samples is 0" in detail
    state, detail = _imagery(tmp_path, make_study, labels=numbers, null=[], stimuli=2)
    assert state == "wrong"
    assert "3 stimuli, but sizes.datasets.natural.stimuli is 2" in detail
