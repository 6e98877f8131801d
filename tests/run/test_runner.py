"""What a worker executes, without a worker; counting of attempts."""

import errno
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from hpc_recon.core import receipts
from hpc_recon.core.errors import DataError, Unfinished
from hpc_recon.core.loading import load_study
from hpc_recon.run import environment, runner
from hpc_recon.run.failures import Epitaph
from hpc_recon.run.runner import ATTEMPTS_BLAMED, ATTEMPTS_LOST_WORKER, Outcome, StageRun


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
    runner.call("fake_verb", str(path), tile, "numpy")
    receipt = receipts.parse(receipts.receipt_path(workspace, tile))
    assert set(receipt.files) == {f"out/{tile.name}.bin"}
    assert receipt.run["warnings"] == ["RuntimeWarning: a warning from the tile"]
    assert receipt.run["xp"] == "numpy"


def test_a_tile_that_fails_has_no_receipt_even_if_it_had_one(tile_of, write_study):
    good = write_study("good.yaml")
    workspace, tile = tile_of(good)
    runner.call("fake_verb", str(good), tile)
    with pytest.raises(RuntimeError, match="told to fail"):
        runner.call("fake_verb", str(write_study("bad.yaml", fail=[0])), tile)
    assert not receipts.receipt_path(workspace, tile).exists()


@pytest.fixture
def worker(monkeypatch):
    """A pretended worker that notes what is said and asked of it."""
    said, asked, introduced = [], [], []
    loop = SimpleNamespace(add_callback=asked.append)
    found = SimpleNamespace(
        address="tls://a:1", loop=loop, close_gracefully=print, log_event=lambda *event: said.append(event)
    )
    monkeypatch.setattr(runner, "get_worker", lambda: found)
    monkeypatch.setattr(runner.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(environment, "introduce", introduced.append)
    return SimpleNamespace(said=said, asked=asked, introduced=introduced)


def test_a_worker_says_what_it_starts_and_what_it_took(tile_of, write_study, worker):
    path = write_study(warn=[0])
    _, tile = tile_of(path)
    runner.call("fake_verb", str(path), tile)
    (started, first), (ended, (name, peak, warnings)) = worker.said
    assert (started, first) == (runner.STARTED_TOPIC, [tile.id, "tls://a:1"])
    assert (ended, name) == (runner.ENDED_TOPIC, tile.id)
    assert peak > 10**6
    assert [one.address for one in worker.introduced] == ["tls://a:1"]
    assert warnings == ["RuntimeWarning: a warning from the tile"]


def test_a_worker_leaves_before_its_job_ends(tile_of, write_study, monkeypatch, worker):
    path = write_study(seconds=0.0, need=5.0)
    _, tile = tile_of(path)
    monkeypatch.setenv(runner.DEADLINE, str(time.time() + 9.0))
    with pytest.raises(runner.Reschedule):
        runner.call("fake_verb", str(path), tile)
    assert len(worker.asked) == 1
    assert not worker.said, "a tile that is given back was not started"
    monkeypatch.setenv(runner.DEADLINE, str(time.time() + 11.0))
    runner.call("fake_verb", str(path), tile)
    assert len(worker.asked) == 1
    assert len(worker.said) == 2


def test_a_tile_that_stops_unfinished_is_placed_elsewhere(tile_of, write_study, monkeypatch, worker):
    path = write_study()
    workspace, tile = tile_of(path)

    def work(study, tile):
        raise Unfinished("the job ends in 9 s")

    monkeypatch.setattr("fake_verb.work", work)
    with pytest.raises(runner.Reschedule):
        runner.call("fake_verb", str(path), tile)
    assert len(worker.asked) == 1
    assert worker.said == [
        (runner.STARTED_TOPIC, [tile.id, "tls://a:1"]),
        (runner.STARTED_TOPIC, [tile.id, None]),
    ]
    assert not receipts.receipt_path(workspace, tile).exists()


def test_out_of_memory_has_a_note_of_bytes_projected_and_used(tile_of, write_study):
    path = write_study(memory=[0])
    _, tile = tile_of(path)
    with pytest.raises(MemoryError) as caught:
        runner.call("fake_verb", str(path), tile)
    assert "projected to need 176.0 MiB; its process held at most" in caught.value.__notes__[0]


def test_outcomes_add_up_and_know_bad_input():
    one = Outcome(["t1"], [("t2", "x", DataError("NaN"))], {"w": 1}, 5)
    two = Outcome(["t3"], [("t4", "x", DataError("NaN")), ("t5", "x", OSError("disk"))], {"w": 2}, 3)
    total = one.plus(two)
    assert total.done == ["t1", "t3"]
    assert total.warnings == {"w": 3}
    assert total.peak_bytes == 5
    assert total.bad_input() == ["NaN"]


class Client:
    """A scheduler that keeps what it is given."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.submitted = []
        self.cancelled = []

    def scheduler_info(self):
        return {"workers": dict.fromkeys(self.addresses)}

    def map(self, function, *columns, key, workers=None, **options):
        futures = [SimpleNamespace(key=name, add_done_callback=lambda callback: None) for name in key]
        self.submitted += [(name, workers) for name in key]
        return futures

    def cancel(self, futures, force):
        self.cancelled += [future.key for future in futures]


def killed(address):
    """A future whose worker died while it had the tile, as dask reports it."""
    error = KilledWorker("x", SimpleNamespace(address=address), 0)
    return SimpleNamespace(exception=lambda: error, traceback=lambda: None)


def failed(error):
    return SimpleNamespace(exception=lambda: error, traceback=lambda: None)


@pytest.fixture
def flown(tile_of, write_study):
    """A stage of one tile that has been submitted, its client, its trial, and what is said of dead workers."""
    path = write_study()
    workspace, tile = tile_of(path)
    graves = {}
    progress = SimpleNamespace(begin=lambda: None, failed=0)
    client = Client("a", "b")
    run = StageRun(client, "fake_verb", "fit", path, workspace, "auto", [tile], progress, epitaph=graves.get)
    run._submit([tile])
    return SimpleNamespace(run=run, client=client, tile=tile, trial=run.trials[tile.id], graves=graves)


def start(flown, address):
    flown.run.begun.put([flown.tile.id, address])
    flown.run._hear()


def test_a_tile_that_kills_its_workers_is_given_up_after_ten(flown):
    flown.graves["a"] = Epitaph(3 * 2**30, False, "17", "n1")
    for n in range(ATTEMPTS_LOST_WORKER):
        assert not flown.run.outcome.failed
        assert len(flown.client.submitted) == n + 1
        start(flown, "a")
        flown.run._land_badly(flown.tile, killed("a"))
        flown.run._judge()
    ((tile, text, _),) = flown.run.outcome.failed
    assert tile == flown.tile
    assert "10 workers died while they computed this tile (the last one: job 17 on n1)" in text
    assert "held 3.0 GiB when last seen" in text
    assert not flown.run.mourning


def test_a_worker_killed_for_want_of_memory_counts_at_once(flown):
    flown.graves["a"] = Epitaph(3 * 2**30, None, "17", "n1")
    start(flown, "a")
    flown.run._land_badly(flown.tile, killed("a"))
    flown.run._judge()
    assert flown.run.mourning, "the scheduler has not said yet why: the tile waits"
    flown.graves["a"] = Epitaph(3 * 2**30, True, "17", "n1")
    flown.run._judge()
    ((_, text, error),) = flown.run.outcome.failed
    assert isinstance(error, MemoryError)
    assert "its worker (job 17 on n1) was killed because memory ran out; it held 3.0 GiB when last seen" in text
    assert "projected to need 176.0 MiB" in text
    assert len(flown.client.submitted) == 1


def test_without_a_verdict_the_tile_is_tried_again(flown, monkeypatch):
    flown.graves["a"] = Epitaph(None, None, None, None)
    start(flown, "a")
    flown.run._land_badly(flown.tile, killed("a"))
    monkeypatch.setattr(runner, "VERDICT_WITHIN", 0.0)
    flown.run._judge()
    assert len(flown.client.submitted) == 2
    assert flown.trial.losses == 1


def test_a_tile_that_only_waited_on_a_dead_worker_loses_no_attempt(flown):
    for _ in range(3):
        flown.run._land_badly(flown.tile, killed("a"))
    assert (flown.trial.losses, flown.trial.errors, flown.trial.blames) == (0, 0, 3)
    assert len(flown.client.submitted) == 4
    flown.trial.blames = ATTEMPTS_BLAMED - 1
    flown.run._land_badly(flown.tile, killed("a"))
    assert flown.run.outcome.failed, "not for ever"


def test_a_tile_that_is_moved_too_often_is_given_up(flown):
    for _ in range(ATTEMPTS_LOST_WORKER):  # started, and placed elsewhere nine times: still hope
        start(flown, "a")
    assert not flown.client.cancelled
    start(flown, "b")
    assert flown.client.cancelled == [f"fit-{flown.tile.id}"]
    assert not flown.run.flying
    assert "10 workers died" in flown.run.outcome.failed[0][1]


def test_a_tile_given_back_unfinished_goes_on_however_many_jobs_it_takes(flown):
    for _ in range(ATTEMPTS_LOST_WORKER + 2):
        start(flown, "a")
        start(flown, None)
    assert flown.trial.losses == 0
    assert flown.trial.worker is None, "it waits for the next worker"
    assert flown.run.flying


def test_a_tile_that_raised_is_tried_on_another_worker(flown):
    start(flown, "a")
    flown.run._fail(flown.trial, RuntimeError("no"), None)
    assert flown.client.submitted == [(f"fit-{flown.tile.id}", None), (f"fit-{flown.tile.id}-attempt2", ["b"])]
    flown.run._fail(flown.trial, RuntimeError("no"), None)
    assert len(flown.client.submitted) == 2
    assert "RuntimeError: no (" in flown.run.outcome.failed[0][1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_not_tried_again(flown, number):
    flown.run._land_badly(flown.tile, failed(OSError(number, "no more")))
    assert flown.run.outcome.is_full
    assert len(flown.client.submitted) == 1


def test_what_has_not_begun_is_withdrawn(flown):
    flown.run._withdraw_queued()
    assert flown.client.cancelled == [f"fit-{flown.tile.id}"]
    again = SimpleNamespace(**flown.__dict__)
    again.run._submit([flown.tile])
    start(again, "a")
    again.run._withdraw_queued()
    assert len(flown.client.cancelled) == 1


def test_there_are_tiles_for_every_worker_of_a_large_cluster(flown, monkeypatch):
    tiles = [replace(flown.tile, start=start) for start in range(1500)]
    run = replace(flown.run, tiles=tiles, n_workers=600, flying={}, trials={})
    monkeypatch.setattr(flown.client, "subscribe_topic", lambda *_: None, raising=False)
    monkeypatch.setattr(flown.client, "unsubscribe_topic", lambda *_: None, raising=False)

    def enough(left):
        raise StopIteration

    monkeypatch.setattr(runner, "TICK", 0.0)
    with pytest.raises(StopIteration):
        run.run(SimpleNamespace(asked=0), enough)
    assert len(run.flying) == 1200, "one that runs and one that waits, for each of 600 workers"
