"""What a worker executes, without a worker; counting of attempts."""

import json
import time
from types import SimpleNamespace

import pytest

from hpc_recon.core import receipts
from hpc_recon.core.errors import DataError
from hpc_recon.core.loading import load_study
from hpc_recon.run import runner
from hpc_recon.run.runner import ATTEMPTS_LOST_WORKER, Drain, Outcome, StageRun, Stop, is_out_of_memory


@pytest.fixture
def tile_of(fake):
    def tile_of(path, number=0):
        study = load_study(path)
        module = fake.load()
        study.workspace.mkdir(exist_ok=True)
        module.prepare(study)
        return study.workspace, module.plan(study, None)[number]

    return tile_of


def test_call_writes_the_receipt_after_the_files(tile_of, write_study, monkeypatch):
    path = write_study(warn=[0])
    workspace, tile = tile_of(path)
    monkeypatch.setenv("HPC_RECON_XP", "auto")
    figures = runner.call("fake_verb", str(path), tile, "numpy")
    receipt = receipts.parse(receipts.receipt_path(workspace, tile))
    assert set(receipt.files) == {f"out/{tile.name}.bin"}
    assert receipt.run["warnings"] == figures["warnings"] == ["RuntimeWarning: a warning from the tile"]
    assert receipt.run["xp"] == "numpy"


def test_a_tile_that_fails_has_no_receipt_even_if_it_had_one(tile_of, write_study):
    good = write_study("good.yaml")
    workspace, tile = tile_of(good)
    runner.call("fake_verb", str(good), tile)
    with pytest.raises(RuntimeError, match="told to fail"):
        runner.call("fake_verb", str(write_study("bad.yaml", fail=[0])), tile)
    assert not receipts.receipt_path(workspace, tile).exists()


def test_a_worker_leaves_before_its_job_ends(tile_of, write_study, monkeypatch):
    path = write_study(seconds=5.0)
    _, tile = tile_of(path)
    left = []
    worker = SimpleNamespace(
        loop=SimpleNamespace(add_callback=left.append), close_gracefully=print, log_event=lambda *_: None
    )
    monkeypatch.setattr(runner, "get_worker", lambda: worker)
    monkeypatch.setattr(runner.time, "sleep", lambda seconds: None)
    monkeypatch.setenv(runner.DEADLINE, str(time.time() + 9.0))
    with pytest.raises(runner.Reschedule):
        runner._announce(tile)
    assert len(left) == 1
    monkeypatch.setenv(runner.DEADLINE, str(time.time() + 11.0))
    runner._announce(tile)
    assert len(left) == 1


def test_out_of_memory_by_name():
    class OutOfMemoryError(RuntimeError):
        """As torch and cupy call theirs."""

    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OutOfMemoryError())
    assert not is_out_of_memory(RuntimeError("out of memory?"))


def test_drain_twice_is_now():
    drain = Drain()
    drain.ask()
    with pytest.raises(Stop):
        drain.ask()


def test_outcomes_add_up_and_know_bad_input():
    one = Outcome(["t1"], [("t2", "x", DataError("NaN"))], {"w": 1}, 5)
    two = Outcome(["t3"], [("t4", "x", DataError("NaN")), ("t5", "x", OSError("disk"))], {"w": 2}, 3)
    total = one.plus(two)
    assert total.done == ["t1", "t3"]
    assert total.warnings == {"w": 3}
    assert total.peak_bytes == 5
    assert total.bad_input() == ["NaN"]


def test_a_tile_that_kills_its_workers_is_given_up(tile_of, write_study):
    path = write_study()
    workspace, tile = tile_of(path)
    cancelled = []
    client = SimpleNamespace(cancel=lambda futures, force: cancelled.extend(futures))
    progress = SimpleNamespace(begin=lambda: None, failed=0)
    run = StageRun(client, "fake_verb", "fit", path, workspace, "auto", [tile], progress)
    run.flying["fit-x"] = ("future", tile)
    run.attempts[tile.id] = 1
    for _ in range(ATTEMPTS_LOST_WORKER):  # the first start and nine after a loss: still hope
        run.begun.put(tile.id)
    run._count_starts()
    assert not cancelled
    run.begun.put(tile.id)
    run._count_starts()
    assert cancelled == ["future"]
    assert not run.flying
    assert "10 workers died" in run.outcome.failed[0][1]
    assert json.loads(json.dumps(run.outcome.failed[0][1]))
