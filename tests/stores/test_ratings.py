"""Files of ratings: read strictly, whatever they hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.stores import ratings

GOOD = {
    "format": 1,
    "kind": "hpc_recon ratings",
    "set": "letters",
    "design": "a" * 64,
    "rater": "Zoë",
    "started": "2026-01-01T10:00:00Z",
    "saved": "2026-01-01T10:05:00Z",
    "complete": True,
    "answers": [[1, 0, 1, 1500], [0, 1, 0, 700], [2, 1, 1, 900]],
}


@pytest.fixture
def write(tmp_path):
    def make(content):
        path = tmp_path / "rater.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return make


def test_answers_are_in_the_order_of_trials(write):
    found = ratings.read(write(GOOD))
    assert (found.set_name, found.rater, found.design) == ("letters", "Zoë", "a" * 64)
    assert found.choices.tolist() == [1, 0, 1]
    assert found.left.tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.seconds, [0.7, 1.5, 0.9])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "says format 1"),
        ({"kind": "other"}, "says format 1"),
        ({"more": 1}, "has the keys"),
        ({"set": "../../etc"}, "names its set"),
        ({"set": 3}, "names its set"),
        ({"design": "A" * 64}, "64 hexadecimal"),
        ({"design": None}, "64 hexadecimal"),
        ({"rater": ""}, "names its rater"),
        ({"rater": "x" * 41}, "names its rater"),
        ({"rater": "\x1b[2J"}, "names its rater"),
        ({"rater": "\ud800"}, "names its rater"),
        ({"rater": ["x"]}, "names its rater"),
        ({"complete": False}, "3 judgements so far"),
        ({"complete": 1}, "so far"),
        ({"answers": []}, "lists its answers"),
        ({"answers": {"0": 1}}, "lists its answers"),
        ({"answers": [[0, 1, 0]]}, "answer 1 of 1"),
        ({"answers": [[0, 2, 0, 9]]}, "answer 1 of 1"),
        ({"answers": [[0, True, 0, 9]]}, "answer 1 of 1"),
        ({"answers": [[0, 1.0, 0, 9]]}, "answer 1 of 1"),
        ({"answers": [[0, 1, 0, -1]]}, "answer 1 of 1"),
        ({"answers": [[0, 1, 0, 10**30]]}, "answer 1 of 1"),
        ({"answers": [[10**30, 1, 0, 1]]}, "counts its trials"),
        ({"answers": [[-1, 1, 0, 1]]}, "counts its trials"),
        ({"answers": [[0, 1, 0, 1], [0, 0, 0, 1]]}, "one answer a trial"),
        ({"answers": [[0, 1, 0, 1], [2, 0, 0, 1]]}, "one answer a trial"),
    ],
)
def test_what_no_page_saves_is_refused(write, change, message):
    with pytest.raises(DataError, match=rf"rater\.json.*{message}") as caught:
        ratings.read(write({**GOOD, **change}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff\xfe", b"null", b"[" * 100_000, b"1" * 5000, b"NaN", b'{"format": 1, "format": 1}',
        json.dumps(GOOD).encode()[:-40],
    ],
    ids=["empty", "brace", "bytes", "null", "deep", "long", "nan", "twice", "cut"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(write, content):
    with pytest.raises(DataError, match=r"rater\.json.*save it again"):
        ratings.read(write(content))


@settings(max_examples=150)
@given(at=st.integers(0, 400), new=st.binary(min_size=0, max_size=6))
def test_no_damage_is_an_unexpected_error(tmp_path_factory, at, new):
    path = tmp_path_factory.mktemp("damaged") / "rater.json"
    whole = json.dumps(GOOD).encode()
    path.write_bytes(whole[:at] + new + whole[at + len(new) :])
    try:
        n_trials = len(ratings.read(path).choices)
    except DataError as error:
        n_trials = 3 if "rater.json" in str(error) else 0
    assert n_trials == 3


def test_too_large_a_file_is_not_read(write, monkeypatch):
    monkeypatch.setattr(ratings, "LARGEST", 100)
    with pytest.raises(DataError, match="at most 100 bytes"):
        ratings.read(write(GOOD))


def test_folders_stand_for_their_files(tmp_path):
    for name in ("b.json", "a.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in ratings.files_of([tmp_path])] == ["a.json", "b.json"]
    assert ratings.files_of([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    (tmp_path / "none").mkdir()
    for bad, message in (("none", "holds no .json file"), ("absent.json", "is no file")):
        with pytest.raises(DataError, match=message):
            ratings.files_of([tmp_path / bad])
