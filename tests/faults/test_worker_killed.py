"""A worker that dies in the middle of a tile: killed by hand, by its own tile, or by the kernel for want of memory."""

import os
import shutil
import signal
import uuid
from pathlib import Path

import harness
import pytest

#: Where a memory control group can be made, in either version of the kernel's interface.
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def test_killed_in_mid_tile(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    process = harness.start_fake(harness.write_fake(workspace, hold=[20, 30]), jobs=2)
    harness.wait_until(lambda: harness.starts(workspace, 2) and harness.starts(workspace, 3), process)
    os.kill(harness.starts(workspace, 2)[0], signal.SIGKILL)
    harness.go(workspace)
    code, printed = harness.finish(process)
    assert code == 0, printed
    assert f"{harness.N_TILES} tiles done, 0 failed, 0 left" in printed
    assert "Task fit-" not in printed, "dask calls failed what was tried again"
    assert "another environment" not in printed, "workers of this machine have what the controller has"
    begun = [len(harness.starts(workspace, i)) for i in range(harness.N_TILES)]
    assert begun == [1, 1, 2, 1, 1, 1, 1, 1], "only the tile that ran on the killed worker is started again"
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_an_innocent_tile_beside_killed_ones_keeps_its_attempts(tmp_path, undisturbed):
    """Tiles 0 to 4 kill their worker, and tile 5, which shares workers with them, still may raise once."""
    workspace = tmp_path / "ws"
    study = harness.write_fake(workspace, die=[0, 10, 20, 30, 40], once=[50])
    # dask, if left to itself, ends for good what waits longer than this for a new worker: on a busy machine, all.
    patience = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "10 ms"}
    code, printed = harness.finish(harness.start_fake(study, jobs=2, **patience), seconds=200)
    assert code == 0, printed
    assert [len(harness.starts(workspace, i)) for i in range(harness.N_TILES)] == [2, 2, 2, 2, 2, 2, 1, 1]
    assert "ERROR" not in printed, "dask speaks of a worker that died, of which we say what matters"
    assert harness.outputs(workspace) == undisturbed
    assert not list((workspace / "logs").glob("*"))


def test_a_tile_that_raises_memory_error_is_tried_once_with_projected_against_used(tmp_path, undisturbed):
    workspace = tmp_path / "ws"
    code, printed = harness.finish(harness.start_fake(harness.write_fake(workspace, memory=[30])))
    assert code == 1, printed
    assert f"{harness.N_TILES - 1} tiles done, 1 failed, 0 left" in printed
    line = next(line for line in printed.splitlines() if line.startswith("failed: "))
    assert "MemoryError: told to need too much; projected to need 176.0 MiB; its process held at most" in line
    assert len(harness.starts(workspace, 3)) == 1
    log = next((workspace / "logs").glob("*.txt")).read_text()
    assert "in work" in log
    assert "projected to need" in log
    harness.complete(harness.write_fake(workspace))
    assert harness.outputs(workspace) == undisturbed
    assert not list((workspace / "logs").glob("*"))


@pytest.fixture
def limited():
    """A command prefix that starts a program in a memory control group, and a function that says how many were killed.

    The kernel kills the largest process of a group that needs more than its limit, as a scheduler's node does.
    """
    name = f"hpc_recon-{uuid.uuid4().hex[:8]}"
    is_v1 = V1.is_dir()
    folder = (V1 if is_v1 else V2) / name
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(900 * 2**20))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        harness.need(f"no memory control group can be made here: {error}")
    script = f'echo $$ > {folder}/cgroup.procs && exec "$@"'

    def killed():
        text = (folder / ("memory.oom_control" if is_v1 else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    try:
        yield [shutil.which("bash"), "-c", script, "limited"], killed
    finally:
        harness.wait_until(
            lambda: not (folder / "cgroup.procs").read_text(), seconds=30
        )  # the killed are still leaving
        folder.rmdir()


def test_a_worker_killed_by_the_kernel_for_want_of_memory_is_reported_and_not_repeated(limited, tmp_path, undisturbed):
    prefix, killed = limited
    workspace = tmp_path / "ws"
    study = harness.write_fake(workspace, hog=[20], hog_bytes=2**30, seconds=0.1)
    code, printed = harness.finish(harness.start_fake(study, prefix=prefix))
    assert killed() >= 1, "the kernel killed nothing"
    assert code == 1, printed
    assert f"{harness.N_TILES - 1} tiles done, 1 failed, 0 left" in printed
    line = next(line for line in printed.splitlines() if line.startswith("failed: "))
    assert "was killed because memory ran out" in line
    assert "when last seen; the tile is projected to need 176.0 MiB" in line
    assert len(harness.starts(workspace, 2)) == 1
    harness.complete(harness.write_fake(workspace))
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)
