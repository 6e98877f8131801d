"""Which files count as the same: by size and time, then by content."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hpc_recon.core import file_records
from hpc_recon.core.errors import DamagedStore


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {label: tmp_path / "lab" / f"{label}.mat" for label in "abc"}
    (tmp_path / "lab").mkdir()
    for label, path in made.items():
        path.write_text(label * 8)
    return made


def test_files_that_are_touched_or_copied_are_the_same_and_changed_ones_are_not(files, tmp_path: Path) -> None:
    records = tmp_path / "records"

    def identity(found=files) -> str:
        return file_records.identity(records, found, redo="`this`")

    def record() -> None:
        for name, labels in (("0", "ab"), ("2", "c")):
            file_records.record(records, files, labels, name=name, redo="`this`")

    first = identity()
    record()
    assert identity() == first
    os.utime(files["a"], (1e9, 1e9))
    shutil.copytree(tmp_path / "lab", tmp_path / "copy", copy_function=shutil.copyfile)
    assert identity() == first
    assert identity({label: tmp_path / "copy" / path.name for label, path in files.items()}) == first
    record()  # read again: what is still the same keeps its token
    assert identity() == first
    assert identity({label: files[label] for label in "ab"}) != first

    files["c"].write_text("d" * 8)  # of the same length
    changed = identity()
    assert changed != first
    record()
    assert identity() == changed


def test_a_damaged_record_is_named(files, tmp_path: Path) -> None:
    path = file_records.record(tmp_path / "records", files, "ab", name="0", redo="`this`")
    path.write_text('{"files": {"a": 3}}')
    with pytest.raises(DamagedStore, match=r"0\.json.* is damaged .*; remove it and run `this`"):
        file_records.identity(tmp_path / "records", files, redo="`this`")
