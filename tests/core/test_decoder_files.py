"""The section fit.files: paths of the study, and everything that does not go with it, at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpc_recon.core import decoder_files
from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study, save_study

FOLDS = {"folds": 2, "training_dataset": "training", "test_dataset": "natural"}
STUDY = {
    "name": "others",
    "subjects": ["S1"],
    "rois": ["VC", "V1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "ingest": {"subjects": {"S1": {"datasets": {"natural": {"samples": {"file": "x.npy"}}}}}, "stimuli": {}},
    "networks": {"vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]}},
    "fit": {"files": {"vgg": {"folders": "lab/vgg", "subjects": {"S1": "sub-01"}, "rois": {"V1": "ROI_V1"}}}},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def test_folders_start_at_the_study_file_and_the_resolved_study_is_the_same(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    assert study.fit.files["vgg"].folders == (tmp_path / "lab" / "vgg",)
    assert list(decoder_files.problems(study)) == []
    (tmp_path / "resolved.yaml").write_text(save_study(study))
    assert load_study(tmp_path / "resolved.yaml") == study


def test_nothing_is_said_of_studies_that_fit(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, fit={"out_of_fold": True}))
    assert list(decoder_files.problems(study)) == []


def test_everything_that_does_not_go_with_it_is_named(tmp_path: Path) -> None:
    files = {"vg": {"folders": ["a", "b"], "subjects": {"S2": "sub-02"}, "rois": {"V2": "b"}}}
    options = {"alpha": {"grid": [1, 2]}, "decode": True, "samples": {"session": [1]}, "statistics_by": "session"}
    ingest = {**STUDY["ingest"], "cross_validation": FOLDS}
    changed = {"files": files, **options, "out_of_fold": True}
    with pytest.raises(StudyError) as caught:
        load_study(write(tmp_path, fit=changed, ingest=ingest, decode={"files": {"vgg": {"folders": "c"}}}))
    found = list(caught.value.problems)
    for text in (
        "fit.files: unknown network 'vg'; did you mean 'vgg'",
        "fit.files: nothing is fitted then; give files of vgg too",
        *(
            f"so {name} would have no effect"
            for name in ("fit.alpha", "fit.decode", "fit.samples", "fit.statistics_by")
        ),
        *(f"so {name} would have no effect" for name in ("fit.out_of_fold", "decode.files", "ingest.cross_validation")),
        "fit.files.vg.subjects: 'S2' is not in the study",
        "fit.files.vg.rois: 'V2' is not in the study",
    ):
        assert sum(text in line for line in found) == 1, (text, found)
