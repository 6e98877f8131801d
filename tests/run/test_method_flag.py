"""`--method`."""

from __future__ import annotations

import pytest
import yaml

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import load_study
from hpc_recon.run import cli, method_flag

CONTENT = {
    "name": "some",
    "subjects": ["S1"],
    "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
    "simulate": {"preset": "easy"},
    "networks": {
        "pixels": {"architecture": "pixels", "layers": ["pixels"]},
        "vgg": {"architecture": "vgg11_quarter", "layers": ["conv1_1"]},
    },
    "reconstruct": {
        "direct": {"method": "pixels", "network": "pixels"},
        "deep": {"method": "icnn", "network": "vgg", "optimiser": {"name": "adam", "learning_rate": [1e-5, 0.0]}},
        "again": {"method": "icnn", "network": "vgg"},
    },
}


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return path


def test_entries_of_the_method_are_left_as_they_are(study):
    whole, some = load_study(study), load_study(study, [method_flag.method_assignment("icnn", study, ())])
    assert list(some.reconstruct) == ["again", "deep"]
    assert all(some.reconstruct[name] == whole.reconstruct[name] for name in some.reconstruct)
    assert some.model_copy(update={"reconstruct": whole.reconstruct}) == whole


def test_what_overrides_the_study_counts(study):
    text = method_flag.method_assignment("pixels", study, ["reconstruct.deep.method=pixels"])
    assert set(yaml.safe_load(text.partition("=")[2])) == {"direct", "deep"}


def test_a_method_that_no_entry_has_names_those_that_there_are(study, capsys):
    with pytest.raises(StudyError, match=r"among: again \(icnn\), deep \(icnn\), direct \(pixels\)"):
        method_flag.method_assignment("latent", study, ())
    study.write_text(yaml.safe_dump({**CONTENT, "reconstruct": {}}))
    assert cli.main("reconstruct", ["--study", str(study), "--method", "end_to_end", "--dry-run"]) == 2
    assert "no entry under reconstruct has this method; add one, or choose among: none" in capsys.readouterr().err
