"""A controller that is killed or told to stop: its workers go with it, and the next one finishes what is left."""

import os
import signal
import time

import harness
import psutil
import pytest


@pytest.fixture
def study(tmp_path):
    return harness.write_fake(tmp_path / "ws", seconds=0.3)


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
    assert 3 <= len(before) < harness.N_TILES
    printed = harness.run_fake(study)
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
    os.killpg(process.pid, signal.SIGINT)  # the workers get it too
    code, printed = harness.finish(process)
    assert code == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    before = harness.times(workspace)
    assert 2 <= len(before) < harness.N_TILES
    assert harness.starts(workspace, len(before)) == [], "a tile was begun after Ctrl-C, or left half done"
    harness.assert_nothing_is_left(workspace)
    harness.run_fake(study)
    after = harness.times(workspace)
    assert {name: after[name] for name in before} == before
    assert harness.outputs(workspace) == undisturbed


def test_sigterm_drains_as_a_batch_system_expects(study, tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(study)
    harness.wait_until(lambda: harness.n_done(workspace) >= 1, process)
    process.terminate()  # the controller alone, as `--signal=B:TERM` does
    code, printed = harness.finish(process)
    assert code == 1, printed
    assert "stopping when the tiles that run now are done" in printed
    n_done = harness.n_done(workspace)
    assert 1 <= n_done < harness.N_TILES
    assert harness.starts(workspace, n_done) == []
    harness.run_fake(study)
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_a_second_interrupt_leaves_at_once(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(harness.write_fake(workspace, seconds=20))
    harness.wait_until(lambda: harness.starts(workspace, 0), process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    code, printed = harness.finish(process)
    assert code == 1, printed
    assert time.monotonic() - begin < 15, "it waited for the tile"
    assert harness.n_done(workspace) == 0
    harness.assert_nothing_is_left(workspace)
    harness.run_fake(harness.write_fake(workspace))  # `seconds` of the fake verb is no setting of its results
    assert harness.outputs(workspace) == undisturbed
