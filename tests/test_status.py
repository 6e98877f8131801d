"""Status, from receipts alone."""

import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import yaml

from hpc_recon import status
from hpc_recon.core import receipts, storage
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Group, Tile
from hpc_recon.run import failures, lease, ledger


def write_study(folder, **changes):
    content = {
        "name": "tiny",
        "workspace": str(folder / "ws"),
        "subjects": ["S1"],
        "datasets": {"training": {"role": "training"}, "natural": {"role": "test"}},
        "simulate": {"preset": "easy"},
        "networks": {"pixels": {"architecture": "pixels", "layers": ["image"]}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return str(path)


def test_an_untouched_study(tmp_path, capsys):
    assert status.main(["--study", write_study(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no controller runs" in printed
    assert "reconstruct" in printed
    assert "ingest" not in printed
    assert not (tmp_path / "ws").exists()


def test_counts(tmp_path, capsys):
    workspace = tmp_path / "ws"
    plan = [Tile(Group("fit", ("S1", layer)), "fit", i, i + 1) for layer in ("a", "b") for i in range(4)]
    ledger.commit(workspace, plan, ledger.survey(workspace, plan))
    for tile in plan[:5]:
        receipts.write(workspace, tile, [], {})
    failures.record(workspace, plan[5], "why")
    row = next(row for row in status.survey(workspace) if row.verb == "fit")
    assert (row.groups, row.total, row.done, row.failed, row.left) == (2, 8, 5, 1, 2)
    assert status.main(["--study", write_study(tmp_path)]) == 1
    assert "fit" in capsys.readouterr().out


def test_a_controller_that_was_killed_is_not_said_to_compute(tmp_path, capsys):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    with lease.hold(tmp_path / "ws", cluster="local", study_name="tiny", cancel=print, say=print) as held:
        assert status.main(["--study", write_study(tmp_path)]) == 0
        assert f"computed by {held.owner}, cluster local" in capsys.readouterr().out
        dead = replace(held.owner, pid=process.pid)
    write_json(lease.lease_path(tmp_path / "ws"), asdict(dead))
    assert status.main(["--study", write_study(tmp_path), "--watch"]) == 0, "it does not wait for a dead one"
    assert f"the controller ({dead}) has died; run the same command again" in capsys.readouterr().out


def test_a_controller_elsewhere_without_heartbeat_ends_the_watch(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(status, "WATCH_EVERY", 0.01)
    monkeypatch.setattr(lease, "PATIENCE", 0.1)
    elsewhere = lease.Owner("far", 1, 1, "abc", "slurm", "hpc_recon-tiny-abc")
    write_json(lease.lease_path(tmp_path / "ws"), asdict(elsewhere))
    assert status.main(["--study", write_study(tmp_path), "--watch"]) == 0
    printed = capsys.readouterr().out
    assert "computed by process 1 on far" in printed
    assert printed.count("has died") == 1


@pytest.fixture
def computed(tmp_path):
    """A workspace with a compacted group of 12 tiles, one file each."""
    workspace = tmp_path / "ws"
    plan = [Tile(Group("fit", ("S1", "a")), "fit", i, i + 1) for i in range(12)]
    ledger.commit(workspace, plan, ledger.survey(workspace, plan))
    for tile in plan:
        path = workspace / "data" / f"{tile.start}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content")
        receipts.write(workspace, tile, [path], {})
    assert ledger.compact_finished(workspace, ledger.survey(workspace, plan)) == 1
    return workspace


def test_compacted_groups_count(computed):
    row = next(row for row in status.survey(computed) if row.verb == "fit")
    assert (row.groups, row.total, row.done, row.left) == (1, 12, 12, 0)


def test_verify_names_damaged_files_and_their_tiles(computed, tmp_path, capsys):
    study = write_study(tmp_path)
    assert status.main(["--study", study, "--verify"]) == 0
    assert "0 of 12 files are damaged (lengths compared" in capsys.readouterr().out
    for i in range(11):
        (computed / "data" / f"{i}.bin").unlink()
    (computed / "data" / "11.bin").write_bytes(b"c0ntent")
    assert status.main(["--study", study, "--verify"]) == 1
    printed = capsys.readouterr().out
    assert "11 of 12 files are damaged" in printed
    assert "fit/S1/a/fit-00000000-00000001: " in printed
    assert "0.bin is absent, its receipt says 7 bytes" in printed
    assert "and 1 more tiles" in printed
    assert status.main(["--study", study, "--verify", "--checksums"]) == 1
    assert "12 of 12 files are damaged (lengths and checksums compared" in capsys.readouterr().out


def test_checksums_go_with_verify(computed, tmp_path, capsys):
    assert status.main(["--study", write_study(tmp_path), "--checksums"]) == 2
    assert "--checksums goes with --verify" in capsys.readouterr().err


def test_a_damaged_group_of_receipts_is_named(computed, tmp_path, capsys):
    (computed / "receipts/fit/S1/a/finished.json").write_text("{")
    for options in ([], ["--verify"]):
        assert status.main(["--study", write_study(tmp_path), *options]) == 2
        assert "finished.json, the receipts of a finished group, is damaged" in capsys.readouterr().err


def test_a_study_whose_arrays_lie_elsewhere_is_refused(computed, tmp_path, capsys):
    study = write_study(tmp_path, arrays=str(tmp_path / "other"))
    assert status.main(["--study", study]) == 2
    assert "but they lie in" in capsys.readouterr().err


def test_status_reads_receipts_where_the_arrays_lie(tmp_path, capsys):
    study = write_study(tmp_path, arrays=str(tmp_path / "other"))
    assert status.main(["--study", study]) == 0
    workspace = tmp_path / "ws"
    storage.bind(workspace, f"file://{tmp_path}/other")
    plan = [Tile(Group("fit", ("S1", "a")), "fit", i, i + 1) for i in range(3)]
    ledger.commit(workspace, plan, ledger.survey(workspace, plan))
    receipts.write(workspace, plan[0], [], {})
    assert (tmp_path / "other/receipts/fit/S1/a/group.json").exists()
    row = next(row for row in status.survey(workspace) if row.verb == "fit")
    assert (row.total, row.done) == (3, 1)
