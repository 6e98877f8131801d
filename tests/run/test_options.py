"""Options: ranges of jobs and samples of units."""

from pathlib import Path

import pytest

from hpc_recon.core.errors import StudyError
from hpc_recon.core.loading import override
from hpc_recon.run import options
from hpc_recon.run.options import Jobs, reference_assignments, units_assignment


@pytest.mark.parametrize("text", ["0", "3:1", "x", "1:", "-2", "1:2:3"])
def test_bad_jobs(text):
    with pytest.raises(StudyError, match="N or N:M"):
        Jobs.parse(text)


@pytest.mark.parametrize(("left", "wanted"), [(0, 2), (1, 2), (5, 5), (100, 8)])
def test_jobs_follow_the_tiles_left(left, wanted):
    assert Jobs.parse("2:8").wanted(left) == wanted


@pytest.mark.parametrize("text", ["100", "0/layer", "a/layer", "10/unit", "every:", "every:x", "file:", "each:3"])
def test_bad_units(text):
    with pytest.raises(StudyError, match=r"1000/layer.*every:16.*file:PATH"):
        units_assignment(text)


def test_a_file_of_units_starts_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'my "units", 2.npz'
    assignment = override({}, [units_assignment(f"file:{name}")])
    assert assignment == {"units": {"file": str(tmp_path / name)}}


def test_a_reference_is_that_of_every_network_with_weights(tmp_path, monkeypatch):
    study = tmp_path / "study.yaml"
    study.write_text("networks: {vgg: {architecture: vgg19}, grey: {architecture: pixels_gray}, b: {architecture: x}}")
    (tmp_path / "my photos").mkdir()
    (tmp_path / "std.mat").touch()
    monkeypatch.chdir(tmp_path)
    found = override({}, reference_assignments("my photos", study))
    photos = {"folder": str(tmp_path / "my photos")}
    assert found == {"networks": {"vgg": {"reference": photos}, "b": {"reference": photos}}}
    found = override({}, reference_assignments("std.mat", study))
    assert found["networks"]["vgg"] == {"reference": {"file": str(tmp_path / "std.mat")}}


@pytest.mark.parametrize(
    ("networks", "path", "message"),
    [
        ("{vgg: {architecture: vgg19}}", "absent", "absent does not exist"),
        ("{grey: {architecture: pixels_gray}}", ".", "no network with weights"),
        ("{a.b: {architecture: vgg19}}", ".", r"write networks\.a\.b\.reference"),
    ],
)
def test_a_reference_that_is_not_there_or_for_nothing(tmp_path, monkeypatch, networks, path, message):
    (tmp_path / "study.yaml").write_text(f"networks: {networks}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=message):
        reference_assignments(path, tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda path: options.units_assignment(f"file:{path}"), "--units"),
        (options.publishable_assignment, "--publishable"),
        (lambda path: options.ratings_assignment([path]), "--ratings"),
        (lambda path: options.reference_assignments(path, Path("study.yaml")), "--reference"),
    ],
)
def test_the_home_of_an_unknown_user(make, option):
    with pytest.raises(StudyError, match=f"{option}.*\n.*'~nobody_of_that_name/x' begins with a home folder"):
        make("~nobody_of_that_name/x")
