"""The progress line."""

import time

from hpc_recon.run.progress import StageProgress


def test_line_counts_rates_and_the_time_left():
    progress = StageProgress("fit", 10, 1000)
    assert progress.line() == "done 0, failed 0, left 10"
    progress.begin()
    progress.started = time.monotonic() - 10
    progress.done, progress.failed, progress.n_units = 5, 1, 500
    assert progress.line() == "done 5, failed 1, left 4; 50 units/s; 10 s left"
    progress.waiting = "waiting for workers: 2 pending (Priority)"
    assert progress.line().endswith("2 pending (Priority)")


def test_plain_output_is_one_line_at_the_end(capsys):
    with StageProgress("fit", 1, 10) as progress:
        progress.begin()
        progress.done, progress.n_units = 1, 10
        progress.show()
        progress.show()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("fit: done 1, failed 0, left 0")


def test_what_is_counted_is_called_by_its_name():
    for title, noun in (
        ("reconstruct", "images"),
        ("reconstruct recovery", "images"),
        ("train", "steps"),
        ("fit", "units"),
    ):
        progress = StageProgress(title, 3, 100, done=1, n_units=50, started=time.monotonic() - 2)
        assert f"; 25 {noun}/s; " in progress.line()
