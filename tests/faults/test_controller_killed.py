"""A controller that is killed or told to stop: its workers go with it, and the next one finishes what is left."""

import contextlib
import os
import signal
import threading
import time

import harness
import psutil
import pytest


@pytest.fixture
def study(tmp_path):
    """One whose fifth tile waits until it is let go on: the run is in its middle until then.

    A tile that starts after that takes long enough for a controller to notice that it was told to stop.
    """
    return harness.write_fake(tmp_path / "ws", hold=[40], late=3.0)


def until_it_stops(process):
    """Read what a controller prints until it says that it heard the signal."""
    said = ""
    for line in process.stderr:
        said += line
        if "stopping when the tiles that run now are done" in said:
            return said
    raise AssertionError(f"it did not hear the signal: {said}")


def go_when_it_stops(process, workspace):
    """Let the held tile go when the controller has heard the signal; return its exit code and all that it printed."""
    said = until_it_stops(process)
    harness.go(workspace)
    code, printed = harness.finish(process)
    return code, said + printed


def test_killed_half_way_and_started_again(study, tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    first = harness.start_fake(study)
    harness.wait_until(lambda: harness.n_done(workspace) >= 3, first)
    workers = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert workers
    harness.wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers))
    assert (workspace / "receipts" / "controller.json").exists()
    before = harness.times(workspace)
    assert 3 <= len(before) <= 4
    printed = harness.complete(harness.write_fake(workspace))  # orders of the fake verb are no settings of its results
    assert f"process {first.pid} on" in printed
    assert "taking over" in printed
    after = harness.times(workspace)
    # The last file may have been written after the kill of the controller and before its worker ended: no receipt.
    kept = sorted(before, key=before.get)[:-1]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}, "computed again"
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_ctrl_c_in_a_terminal_finishes_the_running_tile(study, tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(study)
    harness.wait_until(lambda: harness.n_done(workspace) >= 2, process)
    harness.wait_until(lambda: harness.starts(workspace, 4), process)
    os.killpg(process.pid, signal.SIGINT)  # the workers get it too
    code, printed = go_when_it_stops(process, workspace)
    assert code == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    before = harness.times(workspace)
    assert 5 <= len(before) < harness.N_TILES
    assert harness.starts(workspace, len(before)) == [], "a tile was begun after Ctrl-C, or left half done"
    harness.assert_nothing_is_left(workspace)
    harness.complete(harness.write_fake(workspace))
    after = harness.times(workspace)
    assert {name: after[name] for name in before} == before
    assert harness.outputs(workspace) == undisturbed


def test_sigterm_drains_as_a_batch_system_expects(study, tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(study)
    harness.wait_until(lambda: harness.starts(workspace, 4), process)
    process.terminate()  # the controller alone, as `--signal=B:TERM` does
    code, printed = go_when_it_stops(process, workspace)
    assert code == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    n_done = harness.n_done(workspace)
    assert 5 <= n_done < harness.N_TILES
    assert harness.starts(workspace, n_done) == []
    harness.complete(harness.write_fake(workspace))
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_a_second_interrupt_leaves_at_once(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(harness.write_fake(workspace, hold=[0]))
    harness.wait_until(lambda: harness.starts(workspace, 0), process)
    process.send_signal(signal.SIGINT)
    said = until_it_stops(process)
    process.send_signal(signal.SIGINT)
    code, printed = harness.finish(process)  # which does not wait for the tile: nobody lets it go
    assert code == 1, said + printed
    assert harness.n_done(workspace) == 0
    harness.assert_nothing_is_left(workspace)
    harness.complete(harness.write_fake(workspace))
    assert harness.outputs(workspace) == undisturbed


class Terminal:
    """A terminal that shows what is printed (to nobody, but printing does not block) until it is lost."""

    def __init__(self):
        self._mine, self.theirs = os.openpty()
        os.set_blocking(self._mine, False)
        self._lost = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while not self._lost.wait(0.02):
            with contextlib.suppress(BlockingIOError):
                os.read(self._mine, 65536)

    def lose(self):
        """Close the window; a second time does nothing."""
        if not self._lost.is_set():
            self._lost.set()
            self._reader.join()
            os.close(self._mine)


@pytest.fixture
def terminal():
    opened = Terminal()
    yield opened
    opened.lose()
    os.close(opened.theirs)


def in_its_middle(terminal, study, workspace, prefix):
    """Start a controller on a terminal and return it when the tile that is held has begun."""
    process = harness.start_fake_on(terminal.theirs, study, prefix)
    harness.wait_until(lambda: harness.starts(workspace, 4))
    assert process.poll() is None
    return process


def test_a_lost_terminal_finishes_the_running_tile(study, tmp_path, terminal, undisturbed):
    """A window that is closed, a connection that breaks: the kernel sends SIGHUP, and there is nobody to tell."""
    workspace = tmp_path / "ws"
    in_a_terminal = ["setsid", "--ctty", "env", "--default-signal=HUP"]  # these tests may run under `nohup`
    process = in_its_middle(terminal, study, workspace, in_a_terminal)
    workers = psutil.Process(process.pid).children(recursive=True)
    terminal.lose()
    for worker in workers:
        worker.send_signal(signal.SIGHUP)  # as shells send it to the whole job, after the kernel did
    process.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    harness.go(workspace)
    assert process.wait(300) == 1
    n_done = harness.n_done(workspace)
    assert 5 <= n_done < harness.N_TILES
    assert harness.starts(workspace, n_done) == []
    assert len(harness.starts(workspace, 4)) == 1, "the running tile was cut off and begun again"
    harness.assert_nothing_is_left(workspace)
    harness.complete(harness.write_fake(workspace))
    assert harness.outputs(workspace) == undisturbed


@pytest.mark.parametrize("prefix", [["setsid", "nohup"], ["setsid"]], ids=["nohup", "disown"])
def test_a_run_that_is_to_outlive_its_terminal_goes_on(tmp_path, terminal, undisturbed, prefix):
    workspace = tmp_path / "ws"
    process = in_its_middle(terminal, harness.write_fake(workspace, hold=[40]), workspace, prefix)
    terminal.lose()
    if "nohup" in prefix:
        process.send_signal(signal.SIGHUP)
    harness.go(workspace)
    assert process.wait(300) == 0
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)
