"""Files for others: what is kept, what is written again, what is never touched, and runs that were stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from hpc_recon.core import files, receipts
from hpc_recon.core.errors import DataError, MissingStore, StudyError, WorkspaceError
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.exchange import exporting
from hpc_recon.exchange.exporting import Batch, Selection
from hpc_recon.run import ledger


class Writer:
    """Writes `text` into each file, and remembers which; stops at the file `fails_at`."""

    def __init__(self, text: str = "one", fails_at: str = "") -> None:
        self.text, self.fails_at, self.written = text, fails_at, []

    def __call__(self, folder: Path, names: Collection[str]) -> None:
        for name in names:
            if name == self.fails_at:
                raise OSError("stopped")
            files.write_atomic(folder / name, self.text.encode())
            self.written.append(name)

    def batches(self, source: str = "s") -> list[Batch]:
        return [Batch({f"{layer}/{i}": 3 for i in range(2)}, source, self, 7 * n) for n, layer in enumerate("ab", 1)]


NAMES = ["a/0", "a/1", "b/0", "b/1"]


@pytest.fixture
def export(tmp_path):
    def run(writer: Writer, source: str = "s", *, overwrite: bool = False) -> int:
        planned = exporting.plan(
            tmp_path / "to", writer.batches(source), overwrite=overwrite, workspace=tmp_path / "ws"
        )
        return exporting.run(planned)

    return run


def test_files_of_the_same_source_are_kept_and_others_written_again(export, tmp_path) -> None:
    assert export(Writer()) == 4
    again = Writer("two")
    assert export(again) == 0
    assert again.written == []
    assert export(again, "other source") == 4
    assert (tmp_path / "to" / "b" / "1").read_text() == "two"
    (tmp_path / "to" / "a" / "1").unlink()
    gone = Writer("two")
    assert export(gone, "other source") == 1
    assert gone.written == ["a/1"]


def test_a_stopped_run_goes_on_although_its_last_batch_was_not_noted(export, tmp_path) -> None:
    with pytest.raises(OSError, match="stopped"):
        export(Writer(fails_at="b/1"))
    rest = Writer()
    assert export(rest) == 2  # b/0 is there, but nothing says that its batch was finished
    assert rest.written == ["b/0", "b/1"]


def test_a_file_edited_after_a_stopped_run_went_on_is_not_touched(export, tmp_path) -> None:
    with pytest.raises(OSError, match="stopped"):
        export(Writer(fails_at="b/1"))
    export(Writer())
    (tmp_path / "to" / "b" / "0").write_text("edited by hand")
    with pytest.raises(DataError, match=r"1 files in .*to were not written by this export.*\(first: b/0\)"):
        export(Writer("two"), "other source")
    with pytest.raises(OSError, match="stopped"):  # and a run that is stopped after that goes on again
        export(Writer("three", fails_at="b/1"), "other source", overwrite=True)
    assert export(Writer("three"), "other source") == 2


def test_a_journal_whose_last_line_was_cut(export, tmp_path) -> None:
    export(Writer())
    (journal,) = (tmp_path / "to").glob(f"{exporting.JOURNAL}*")
    text = journal.read_text()
    journal.write_text(text[: len(text) - 9])
    rest = Writer()
    assert export(rest) == 2
    assert rest.written == ["b/0", "b/1"]
    journal.write_text("{\n" + text)
    with pytest.raises(DataError, match=r"line 1 of .*jsonl.* is damaged"):
        export(Writer())


def test_files_of_others_are_only_replaced_where_that_is_asked_for(export, tmp_path) -> None:
    export(Writer())
    (tmp_path / "to" / "a" / "0").write_text("edited by hand")
    (tmp_path / "to" / "b" / "1").unlink()
    writer = Writer("two")
    with pytest.raises(DataError, match=r"1 files in .*to were not written by this export.*\(first: a/0\); nothing"):
        export(writer)
    assert not (tmp_path / "to" / "b" / "1").exists()
    assert export(writer, overwrite=True) == 2
    assert (tmp_path / "to" / "a" / "0").read_text() == "two"
    assert (tmp_path / "to" / "a" / "1").read_text() == "one"
    os.utime(tmp_path / "to" / "a" / "1", (1e9, 1e9))
    with pytest.raises(DataError, match="a/1"):
        export(writer)


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, monkeypatch) -> None:
    to, ws = tmp_path / "to", tmp_path / "ws"
    twice = Writer().batches() + Writer().batches()
    with pytest.raises(DataError, match=r"2 files would be written twice \(first: a/0\).*one --dataset"):
        exporting.plan(to, twice, overwrite=False, workspace=ws)
    with pytest.raises(DataError, match="is in the workspace"):
        exporting.plan(ws / "out", Writer().batches(), overwrite=False, workspace=ws)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; give a folder"):
        exporting.plan(tmp_path / "file", Writer().batches(), overwrite=False, workspace=ws)
    monkeypatch.setattr(exporting, "free_bytes", lambda folder: 11)
    with pytest.raises(WorkspaceError, match=r"4 files of 12 B do not fit on the disk of .*choose less"):
        exporting.plan(to, Writer().batches(), overwrite=False, workspace=ws)
    assert not to.exists()


def test_a_plan_says_files_bytes_and_memory(tmp_path) -> None:
    planned = exporting.plan(tmp_path / "to", Writer().batches(), overwrite=False, workspace=tmp_path / "ws")
    assert planned.files == dict.fromkeys(NAMES, 3)
    assert planned.host_bytes == 14
    assert not (tmp_path / "to").exists()


def test_sources_are_finished_groups_and_settings(tmp_path) -> None:
    plan = [Tile(Group("fit", ("S1", "a")), "fit", i, i + 1) for i in range(2)]
    with pytest.raises(MissingStore, match=r"fit/S1/a is not finished: 0 of its tiles.*hpc_recon\.fit"):
        exporting.source_of(tmp_path, ["fit/S1/a"])
    ledger.commit(tmp_path, plan, ledger.survey(tmp_path, plan))
    receipts.write(tmp_path, plan[0], [], {})
    with pytest.raises(MissingStore, match="1 of 2 tiles are done"):
        exporting.source_of(tmp_path, ["fit/S1/a"])
    receipts.write(tmp_path, plan[1], [], {})
    found = exporting.source_of(tmp_path, ["fit/S1/a"])
    assert found == exporting.source_of(tmp_path, ["fit/S1/a", "fit/S1/a"])
    assert found != exporting.source_of(tmp_path, ["fit/S1/a"], corrected=True)
    group = tmp_path / "receipts/fit/S1/a/group.json"
    group.write_text(json.dumps(json.loads(group.read_text()) | {"digest": "other"}))
    assert found != exporting.source_of(tmp_path, ["fit/S1/a"])


def test_selections(make_study) -> None:
    networks = {
        n: {"architecture": "vgg11_quarter", "layers": layers} for n, layers in (("a", ["x", "y"]), ("b", ["z"]))
    }
    study = make_study(networks=networks, subjects=["S1", "S2"], rois=["V1", "VC"])
    with pytest.raises(StudyError, match=r"give one --network of a, b"):
        Selection().network(study)
    chosen = Selection(subjects=("S2",), rois=("VC",), networks=("a",), layers=("y",))
    chosen.check(study)
    assert chosen.layers_of(study) == ["y"]
    assert chosen.splits(study) == ["S2"]
    assert chosen.chosen_rois(study) == ["VC"]
    with pytest.raises(StudyError, match=r"--layer 'z' is not a layer of a"):
        Selection(networks=("a",), layers=("z",)).layers_of(study)
    wrong = Selection(subjects=("S3",), rois=("V2",), networks=("c",), layers=("w",), datasets=("trainin",))
    with pytest.raises(StudyError, match=r"--dataset 'trainin' is not in the study; did you mean 'training'") as caught:
        wrong.check(study)
    assert len(caught.value.problems) == 5
