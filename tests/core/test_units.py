"""Which units are decoded: forms, files of every format, content that counts instead of the path, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpc_recon.core import units
from hpc_recon.core.errors import StudyError
from hpc_recon.core.units import EveryNth, UnitFile

NUMBERS = {"conv1_1": [0, 3, 7], "fc6": [1, 2]}


def save(folder: Path, kind: str) -> UnitFile:
    path = folder / f"units.{kind}"
    if kind == "npz":
        np.savez(path, **{layer: np.array(numbers, np.uint16) for layer, numbers in NUMBERS.items()})
    elif kind == "json":
        path.write_text(json.dumps(NUMBERS))
    elif kind == "npy":
        np.save(path, np.array([0, 3, 7]))
    else:
        path.write_text("0\n3 7\n")
    return UnitFile(file=path)


@pytest.mark.parametrize("kind", ["npz", "json"])
def test_files_name_the_units_of_each_layer(tmp_path: Path, kind: str) -> None:
    given = save(tmp_path, kind)
    for layer, numbers in NUMBERS.items():
        found = units.from_file(given, layer, 8)
        assert found.dtype == np.int64
        assert found.tolist() == numbers


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_a_plain_list_counts_for_every_layer(tmp_path: Path, kind: str) -> None:
    given = save(tmp_path, kind)
    assert units.from_file(given, "conv1_1", 8).tolist() == units.from_file(given, "any", 9).tolist() == [0, 3, 7]


def test_the_content_counts_not_the_path_nor_the_format(tmp_path: Path) -> None:
    first, second = save(tmp_path, "npz"), save(tmp_path, "json")
    assert units.label(first) == units.label(second)
    assert str(first) == str(second) == f"file:{units.content_sha256(first)}"
    assert units.label(first) == f"file-{units.content_sha256(first)[:8]}"
    assert units.label(save(tmp_path, "npy")) == units.label(save(tmp_path, "txt")) != units.label(first)
    second.file.write_text(json.dumps({**NUMBERS, "fc6": [1, 3]}))
    assert units.label(first) != units.label(second)


def test_a_unit_that_the_layer_does_not_have_is_refused_with_the_numbers(tmp_path: Path) -> None:
    given = save(tmp_path, "npz")
    with pytest.raises(StudyError, match=r"names the unit 7 of the layer 'conv1_1', which has 7 units.*1 of its 3"):
        units.from_file(given, "conv1_1", 7)


def test_a_layer_that_is_not_named_is_refused_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"names no units of the layer 'conv1_2'; did you mean 'conv1_1'"):
        units.from_file(save(tmp_path, "json"), "conv1_2", 100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": [3, 1]}, r"layer 'a': .*ascending without repeats, but number 1 is 1 after 3; save numpy\.unique"),
        ({"a": [1, 1]}, "number 1 is 1 after 1"),
        ({"a": [-1, 1]}, "number 0 is -1"),
        ({"a": [0.5]}, "must be a list of whole numbers.*float64"),
        ({"a": []}, "must be a list of whole numbers"),
        ({"a": [[1], [2, 3]]}, "must be a list of whole numbers"),
        ({"a": [True]}, "must be a list of whole numbers.*bool"),
        ([1, 2], "one list of unit numbers a layer"),
        ({}, "one list of unit numbers a layer"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "units.json"
    path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match=message):
        units.from_file(UnitFile(file=path), "a", 100)


def test_all_wrong_layers_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "units.json"
    path.write_text(json.dumps({"a": [2, 1], "b": [0.5], "c": [1]}))
    with pytest.raises(StudyError) as caught:
        units.from_file(UnitFile(file=path), "c", 100)
    assert len(caught.value.problems) == 2


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for name, text, message in (
        ("units.csv", "1,2", r"the ending of .* must be one of \.npz, \.json, \.mat, \.npy, \.txt; got '\.csv'"),
        ("units.txt", "1, 2", r"not a \.txt file of unit numbers"),
        ("units.npy", "no array", r"not a \.npy file"),
        ("units.npz", "no archive", r"not a \.npz file"),
        ("units.json", "{", r"not a \.json file"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(StudyError, match=message):
            units.from_file(UnitFile(file=tmp_path / name), "a", 100)
    with pytest.raises(StudyError, match="cannot be read"):
        units.from_file(UnitFile(file=tmp_path / "absent.npz"), "a", 100)
    with pytest.raises(StudyError, match="must be absolute"):
        units.from_file(UnitFile(file=Path("units.npz")), "a", 100)


def test_the_content_is_hashed_once_however_often_it_is_named(tmp_path: Path, monkeypatch) -> None:
    hashed = []
    plain = units.hashlib.sha256
    monkeypatch.setattr(units.hashlib, "sha256", lambda *given: hashed.append(1) or plain(*given))
    given = save(tmp_path, "json")
    assert len({units.label(given) for _ in range(3)}) == len(hashed) == 1


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    given = save(tmp_path, "txt")
    assert len(units.from_file(given, "a", 100)) == 3
    given.file.write_text("0 3 7 11")
    assert len(units.from_file(given, "a", 100)) == 4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "at least 1 unit"),
        (True, "number of units per layer"),
        (1.5, "number of units per layer"),
        ("many", "number of units per layer"),
        ({"every": 1}, "every must be a whole number of at least 2"),
        ({"every": "x"}, "got 'x'"),
        ({"file": 3}, "file must be a path"),
        ({"evry": 3}, "did you mean 'every'"),
        ({"every": 3, "file": "a"}, "with one key; got the keys every, file"),
        ({}, r"got the keys \(none\)"),
    ],
)
def test_other_forms_are_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.parse(value)


def test_forms_in_words() -> None:
    assert units.in_words(EveryNth(every=13)) == "every 13th unit of each layer"
    assert units.in_words(EveryNth(every=23)) == "every 23rd unit of each layer"
    assert units.in_words(UnitFile(file=Path("/a/b.npz"))) == "the units of each layer that b.npz names"


def test_a_labs_file_of_units_is_read_in_any_order(tmp_path: Path) -> None:
    """As bdpy's `feature index file`: a structure `index` of layers, written by scipy (v5)."""
    import scipy.io

    path = tmp_path / "index.mat"
    scipy.io.savemat(path, {"index": {"conv1_1": np.array([7, 0, 3]), "fc6": np.array([[1], [2]])}})
    given = UnitFile(file=path)
    for layer, numbers in NUMBERS.items():
        assert units.from_file(given, layer, 8).tolist() == numbers
    assert units.content_sha256(given) == units.content_sha256(save(tmp_path, "json"))
    scipy.io.savemat(path, {"index": {"conv1_1": np.array([0.5])}})
    with pytest.raises(StudyError, match=r"not a \.mat file of unit numbers .*distinct whole numbers"):
        units.from_file(given, "conv1_1", 8)
