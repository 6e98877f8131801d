"""The loop: batches in order, rows, checkpoints, and the end of a job."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hpc_recon.core import deadline
from hpc_recon.core.errors import Unfinished
from hpc_recon.training import loop


class Counting:
    """A trainer that notes what it was given."""

    columns = ("value", "absent")

    def __init__(self):
        self.seen = []

    def step(self, batch):
        self.seen.append(int(batch["n"][0]))
        return {"value": 10.0 * self.seen[-1]}


def batch(step):
    time.sleep(0.002 * (step % 3))  # threads end in another order than they begin
    return {"n": np.array([step])}


def run(start, stop, *, threads=3, log_every=2, checkpoint_every=3, keep=None):
    trainer, progress = Counting(), loop.Progress(start)
    pace = loop.Pace(log_every, checkpoint_every, threads)
    loop.run(trainer, batch, progress, stop=stop, pace=pace, keep=keep or (lambda progress: None))
    return trainer, progress


@pytest.mark.parametrize("threads", [1, 4])
def test_steps_come_in_order_whatever_the_threads(threads):
    trainer, progress = run(5, 18, threads=threads)
    assert trainer.seen == list(range(5, 18))
    assert progress.step == 18


def test_rows_and_checkpoints_count_from_the_beginning_of_the_training():
    kept = []
    _, progress = run(4, 11, keep=lambda progress: kept.append(progress.step))
    assert [row[0] for row in progress.rows] == [6, 8, 10, 11]  # the last step is always there
    assert [row[1] for row in progress.rows] == [50, 70, 90, 100]
    assert np.isnan([row[2] for row in progress.rows]).all()
    assert kept == [6, 9]


def test_a_job_that_ends_soon_leaves_a_checkpoint(monkeypatch):
    monkeypatch.setenv(deadline.VARIABLE, str(time.time() + 5.0))
    kept = []
    with pytest.raises(Unfinished, match="6 of the part's steps are left"):
        run(0, 7, keep=lambda progress: kept.append(progress.step))
    assert kept == [1]
    monkeypatch.setenv(deadline.VARIABLE, str(time.time() + 600.0))
    assert run(0, 7)[1].step == 7


def test_an_error_of_a_batch_ends_the_training():
    def bad(step):
        raise ValueError("no such image")

    with pytest.raises(ValueError, match="no such image"):
        loop.run(Counting(), bad, loop.Progress(0), stop=3, pace=loop.Pace(1, 1, 2), keep=lambda progress: None)
