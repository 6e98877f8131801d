"""BIDS tables and names, good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_recon.core.errors import DataError
from hpc_recon.formats.bids import (
    MOTION,
    EventRow,
    entities_of,
    read_confounds,
    read_events,
    read_repetition_time,
    read_table,
)

EVENTS = (
    "onset\tduration\ttrial_type\tstim_file\n"
    "40.0\t8.0\tstimulus\tb.jpg\n"
    "0.0\t32.0\trest\tn/a\n"
    "32.0\t8.0\tstimulus\ta.jpg\n"
)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", [EVENTS, EVENTS.replace("\n", "\r\n"), "\ufeff" + EVENTS, EVENTS + "\n"])
def test_events_are_chosen_and_in_order(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "e.tsv", text)
    found = read_events(path, only={"trial_type": ["stimulus"]})
    assert found == [EventRow(32.0, 8.0, "a.jpg"), EventRow(40.0, 8.0, "b.jpg")]
    assert [e.label for e in read_events(path, label_column="trial_type")] == ["rest", "stimulus", "stimulus"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (EVENTS, r"1 of 3 events have no onset.* first is line 3"),
        (EVENTS.replace("stim_file", "image"), r"no column 'stim_file'. Columns: onset, duration, trial_type, image"),
        (EVENTS.replace("40.0", "4O.0"), r"line 2: column onset has '4O.0'"),
        (EVENTS.replace("\tb.jpg", ""), r"line 2: 3 cells, the header has 4"),
        (EVENTS.replace("trial_type", "onset"), "each once"),
        ("onset\tduration\n", "at least one row"),
        ("", "at least one row"),
        (b"onset\xff\n1\n", "not UTF-8"),
    ],
)
def test_bad_events_are_named(tmp_path: Path, text: str | bytes, rule: str) -> None:
    with pytest.raises(DataError, match=rf"e\.tsv.*{rule}"):
        read_events(write(tmp_path / "e.tsv", text))


def test_no_event_chosen_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row has .*'image'.*\['rest', 'stimulus'\]"):
        read_events(write(tmp_path / "e.tsv", EVENTS), only={"trial_type": ["image"]})


def test_confounds_are_what_pandas_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((9, 6)), columns=list(MOTION))
    frame.insert(0, "framewise_displacement", [np.nan, *rng.random(8)])
    frame.to_csv(tmp_path / "c.tsv", sep="\t", index=False, na_rep="n/a")
    np.testing.assert_array_equal(read_confounds(tmp_path / "c.tsv"), frame[list(MOTION)].to_numpy())
    displacement = read_confounds(tmp_path / "c.tsv", ["framewise_displacement"])
    assert np.isnan(displacement[0, 0])
    assert not np.isnan(displacement[1:]).any()
    with pytest.raises(DataError, match=r"no column 'X'"):
        read_confounds(tmp_path / "c.tsv", ["X"])


def test_the_tr_of_a_sidecar_is_seconds(tmp_path: Path) -> None:
    assert read_repetition_time(write(tmp_path / "b.json", '{"RepetitionTime": 2}')) == 2.0
    for text, rule in [
        ("{}", "not None"), ('{"RepetitionTime": 0}', "not 0"), ('{"RepetitionTime": "2"}', "not '2'"),
        ("[1]", "not None"),
        ('{"RepetitionTime": 2000}', "milliseconds"), ('{"RepetitionTime": true}', "not True"), ("{", "not a JSON"),
        ('{"RepetitionTime": NaN}', "not nan"), ('{"RepetitionTime": Infinity}', "not inf"),
        ("[" * 100_000, "not a JSON"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=rule):
            read_repetition_time(write(tmp_path / "b.json", text))


def test_entities_are_those_of_the_name() -> None:
    name = "sub-01_ses-p01_task-perception_run-02_space-T1w_desc-preproc_bold.nii.gz"
    assert entities_of(Path("x_y/" + name)) == {
        "sub": "01", "ses": "p01", "task": "perception", "run": "02", "space": "T1w", "desc": "preproc",
        "suffix": "bold", "extension": ".nii.gz",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["bold.nii", "sub-01_sub-02_bold.nii", "sub01_bold.nii", "sub-_bold.nii", "sub-01_.nii"]
)
def test_names_that_are_not_bids_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="BIDS"):
        entities_of(Path(name))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.tsv", content)
    try:
        table = read_table(path)
    except DataError as error:
        message = str(error)
    else:
        message = f"{table.path}"
        assert all(len(column) == table.n_rows > 0 for column in table.columns.values())
    assert "any.tsv" in message
