"""Where a workspace keeps its arrays: one place, of one workspace, and no secret in its name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core import storage
from hpc_recon.core.config import Study
from hpc_recon.core.errors import ChangedStudy, DamagedStore, StudyError
from hpc_recon.core.loading import load_study, save_study, validate
from hpc_recon.core.places import Bound, Folder

TOKEN = "t0psecret"


@pytest.fixture
def place(tmp_path):
    return f"file://{tmp_path}/arrays"


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "ws"


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("s3://lab", "s3://lab"),
        ("s3://lab/a//b/", "s3://lab/a/b"),
        ("gs://lab-1/x", "gs://lab-1/x"),
        ("az://container/x", "az://container/x"),
        ("/scratch/me", "file:///scratch/me"),
        ("file:///scratch/me/", "file:///scratch/me"),
    ],
)
def test_urls_have_one_form(given_text, normal):
    assert storage.normalise(given_text) == storage.normalise(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        f"s3://key:{TOKEN}@lab/x",
        f"s3://{TOKEN}@lab/x",
        f"az://lab/x?sig={TOKEN}",
        f"s3://lab/x#{TOKEN}",
        f"s3://lab:{TOKEN}/x",
        f"https://{TOKEN}/x",
        f"s3://lab/../{TOKEN}",
        f"s3://LAB/{TOKEN}",
        f"s3://lab/x {TOKEN}",
        f"s3://lab/x\n{TOKEN}",
        f"file://{TOKEN}/x",
        f"runs/{TOKEN}",
        f"s3://[{TOKEN}",
        "/",
        "",
    ],
)
def test_a_study_with_another_place_is_refused_and_the_text_is_not_repeated(make_study, text):
    with pytest.raises(StudyError, match="arrays") as caught:
        make_study(arrays=text)
    assert TOKEN not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    with pytest.raises(StudyError, match="arrays") as caught:
        make_study(set_=[f"arrays={json.dumps(text)}"])
    assert TOKEN not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_is_taken_for_a_place_outside_itself(text):
    try:
        normal = storage.normalise(text)
    except ValueError:
        return
    assert storage.normalise(normal) == normal
    assert ".." not in normal.split("/")
    assert not set("?#@ \n") & set(normal.partition("://")[2].partition("/")[0])


def test_the_place_survives_saving(make_study, tmp_path):
    study = make_study(arrays="s3://lab/x/")
    path = tmp_path / "resolved.yaml"
    path.write_text(save_study(study))
    assert load_study(path).arrays == "s3://lab/x"
    assert make_study(arrays=None).arrays is None
    assert "arrays" not in save_study(make_study())
    assert validate(Study, study.model_dump(), where="copy") == study


def test_by_default_everything_lies_in_the_workspace_and_nothing_is_written(workspace):
    storage.bind(workspace, None)
    assert isinstance(storage.of(workspace), Folder)
    assert not workspace.exists()


def test_binding_is_remembered_and_may_be_repeated(workspace, place, tmp_path):
    assert isinstance(storage.of(workspace), Folder), "a plan may look before the workspace is bound"
    storage.bind(workspace, place)
    storage.bind(workspace, f"{place}/")
    found = storage.of(workspace)
    assert isinstance(found, Bound)
    assert found.where("x.zarr/c/0") == str(tmp_path / "arrays" / "x.zarr/c/0")
    assert json.loads((workspace / storage.MARKER).read_text())["url"] == place


def test_a_study_that_names_another_place_is_refused(workspace, place):
    storage.bind(workspace, place)
    for other in (None, f"{place}2"):
        for act in (storage.check, storage.bind):
            with pytest.raises(ChangedStudy, match=rf"the arrays of .*ws lie in {place}, but the study has them in"):
                act(workspace, other)


@pytest.mark.parametrize("name", ["brain.zarr/zarr.json", "receipts/fit/S1/group.json"])
def test_arrays_that_lie_in_the_workspace_are_not_left_behind(workspace, place, name):
    Folder(workspace).write_atomic(name, b"{}")
    with pytest.raises(ChangedStudy, match=r"but they lie in .*ws itself"):
        storage.bind(workspace, place)
    assert not (workspace / storage.MARKER).exists()


def test_the_lease_alone_does_not_count_as_arrays(workspace, place):
    Folder(workspace).write_atomic("receipts/controller.json", b"{}")
    storage.bind(workspace, place)


def test_two_workspaces_cannot_share_a_place(workspace, place, tmp_path):
    storage.bind(workspace, place)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ChangedStudy, match="holds the arrays of another workspace") as caught:
        storage.bind(other, place)
    assert not list(other.iterdir())
    # The remedy works: a workspace that takes the place of one that is gone.
    (other / storage.MARKER).write_text(str(caught.value).partition("write ")[2].partition(" into")[0])
    storage.bind(other, place)
    assert isinstance(storage.of(other), Bound)


def test_a_kill_between_the_two_marks_is_mended_by_the_next_start(workspace, place, tmp_path):
    storage.bind(workspace, place)
    owner = tmp_path / "arrays" / storage.OWNER
    before = owner.read_bytes()
    owner.unlink()
    storage.bind(workspace, place)
    assert owner.read_bytes() == before


def test_a_moved_workspace_keeps_its_arrays(workspace, place, tmp_path):
    storage.bind(workspace, place)
    moved = workspace.rename(tmp_path / "moved")
    storage.bind(moved, place)
    assert isinstance(storage.of(moved), Bound)


def test_release_frees_the_place_for_another(workspace, place, tmp_path):
    storage.release(workspace)
    storage.bind(workspace, place)
    storage.release(workspace)
    assert isinstance(storage.of(workspace), Folder)
    storage.bind(tmp_path / "other", place)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"url": 3, "id": 1}', '{"url": "s3://a:' + TOKEN + '@lab/x", "id": ""}']
)
def test_a_garbled_marker_is_damage_and_not_another_place(workspace, text):
    workspace.mkdir()
    (workspace / storage.MARKER).write_text(text)
    for act in (storage.of, lambda ws: storage.check(ws, None)):
        with pytest.raises(DamagedStore, match=r"arrays\.json, which says where the arrays .* is damaged") as caught:
            act(workspace)
        assert TOKEN not in str(caught.value)


def test_a_garbled_owner_is_damage(workspace, place, tmp_path):
    storage.bind(workspace, place)
    (tmp_path / "arrays" / storage.OWNER).write_text("{")
    with pytest.raises(DamagedStore, match="whose arrays lie there"):
        storage.bind(workspace, place)


def test_without_obstore_the_error_names_the_package(workspace, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(StudyError, match=r"pip install 'hpc_recon\[s3\]'"):
        storage.bind(workspace, "s3://lab/x")
    assert not (workspace / storage.MARKER).exists()
