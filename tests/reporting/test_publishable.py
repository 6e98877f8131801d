"""The list of labels whose images may be shown."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import DataError, MissingStore, StudyError
from hpc_recon.core.files import write_json
from hpc_recon.reporting import publishable


def test_without_a_list_everything_may_be_shown(make_study):
    assert publishable.read(make_study(), {"a": "natural"}).allows("a", "b")


def test_a_list_allows_what_it_names_alone(make_study, tmp_path):
    (tmp_path / "list.txt").write_text(" a \n\nb\n")
    study = make_study(report={"publishable": "list.txt"})  # beside the study file
    found = publishable.read(study, dict.fromkeys("abc", "natural"))
    assert found.allows("a", "b")
    assert not found.allows("a", "c")


def test_an_empty_list_allows_nothing(make_study, tmp_path):
    (tmp_path / "list.txt").write_text("")
    assert not publishable.read(make_study(report={"publishable": "list.txt"}), {"a": "natural"}).allows("a")


def test_a_label_that_nothing_has_is_an_error(make_study, tmp_path):
    (tmp_path / "list.txt").write_text("a\nwrong\n")
    with pytest.raises(DataError, match=r"list\.txt names 'wrong'; correct or remove"):
        publishable.read(make_study(report={"publishable": "list.txt"}), {"a": "natural"})


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path):
    with pytest.raises(StudyError, match=r"(?s)report\.publishable.*does not exist"):
        publishable.labels_of(tmp_path / "none.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        publishable.labels_of(tmp_path / "list.txt")


def test_datasets_that_are_not_publishable_are_withheld_unless_listed(make_study, tmp_path):
    datasets = {"training": {"role": "training", "publishable": False}, "natural": {"role": "test"}}
    known = {"a": "natural", "b": "training", "c": "training"}
    study = make_study(datasets=datasets)
    found = publishable.read(study, known)
    assert study.withholds
    assert found.allows("a")
    assert not found.allows("b")
    assert not found.allows("a", "b")
    (tmp_path / "list.txt").write_text("b\n")
    listed = publishable.read(make_study(datasets=datasets, report={"publishable": "list.txt"}), known)
    assert listed.allows("b")
    assert not listed.allows("a")
    assert not make_study().withholds


def test_a_retrieved_image_shows_the_training_images_that_it_is_made_of(make_study, tmp_path):
    (tmp_path / "list.txt").write_text("a\n")
    methods = {name: {"method": name, "network": "pixels"} for name in ("retrieval", "pixels")}
    study = make_study(reconstruct=methods, report={"publishable": "list.txt"})
    image = tmp_path / "a.png"
    with pytest.raises(MissingStore, match=r"a\.json.*reconstruct --redo"):
        publishable.copied(study, "retrieval", image)
    write_json(tmp_path / "a.json", {"retrieved": ["t1", "t2"]})
    assert publishable.copied(study, "retrieval", image) == ["t1", "t2"]
    assert publishable.copied(study, "pixels", image) == []
    assert publishable.copied(make_study(reconstruct=methods), "retrieval", image) == []
