"""A disk that is full or read-only: said before anything is computed, or kept what is done until there is room."""

import errno
import os
import re
import subprocess
from pathlib import Path

import harness
import pytest

#: Bytes of the small disk, of what a tile of the fake verb writes, and of the file that takes the rest of the room.
DISK, TILE = 24 * 2**20, 2**20


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, unmounted at the end."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "hpc_recon-test", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        harness.need(f"no file system can be mounted here: {result.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path):
    """Write until the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, bytes(4096)):
            continue
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(descriptor)


def remount(folder, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


@pytest.fixture
def large(tmp_path):
    """What each tile of one MiB holds, by file, from an undisturbed run."""
    workspace = tmp_path / "large"
    harness.complete(harness.write_fake(workspace, out_bytes=TILE))
    return harness.outputs(workspace)


def test_full_in_mid_write_keeps_what_is_done_and_goes_on_when_there_is_room(disk, tmp_path, large):
    study = harness.write_fake(disk / "ws", out_bytes=TILE, seconds=0.5)  # time to notice that one has failed
    workspace = disk / "ws"
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK - int(3.5 * TILE)))
    code, printed = harness.finish(harness.start_fake(study))
    assert code == 1, printed
    assert "Traceback" not in printed
    # Said before: how much is to be written, and how much is free.
    assert "projected to write 8.0 MiB, but where" in printed
    assert "the run stops when the disk is full" in printed
    # Said when it was full: one tile failed (or the next too, which had begun before the run stopped), the others
    # are left; what is free, missing, kept, and what to do.
    done = harness.times(workspace)
    assert 2 <= len(done) <= 3
    counted = re.search(r"(\d) tiles done, (\d) failed, (\d) left", printed)
    assert counted, printed
    n_done, n_failed, n_left = map(int, counted.groups())
    assert n_done == len(done)
    assert 1 <= n_failed <= 3
    assert n_done + n_failed + n_left == harness.N_TILES
    assert "No space left on device" in printed
    assert f"the {harness.N_TILES - len(done)} tiles left are projected to write" in printed
    assert "are missing). Finished tiles are kept. Make room, then run the same command again" in printed
    harness.assert_nothing_is_left(workspace)
    ballast.unlink()
    harness.complete(study)
    assert {name: harness.times(workspace)[name] for name in done} == done, "finished tiles were computed again"
    assert harness.outputs(workspace) == large
    harness.assert_nothing_is_left(workspace)
    assert not list((workspace / "logs").glob("*"))


def test_full_before_the_first_file_is_a_message(disk, undisturbed):
    study = harness.write_fake(disk / "ws")
    fill(disk / "ballast")
    code, printed = harness.attempt(study)
    assert code == 2, printed
    assert "Traceback" not in printed
    assert "No space left on device" in printed
    assert "0 B and" in printed
    assert "correct this, then run the same command again" in printed
    (disk / "ballast").unlink()
    harness.complete(study)
    assert harness.outputs(disk / "ws") == undisturbed


def test_read_only_is_said_before_anything(disk, undisturbed):
    study = harness.write_fake(disk / "ws")
    remount(disk, "ro")
    code, printed = harness.attempt(study)
    assert code == 2, printed
    assert f"the workspace {disk / 'ws'} cannot be written: {disk} is not writable" in printed
    assert "it is mounted read-only" in printed
    assert "--set workspace=" in printed
    remount(disk, "rw")
    harness.complete(study)
    remount(disk, "ro")
    printed = harness.complete(study)
    assert "nothing to do" in printed, "results on a read-only disk are as done as others"
    assert harness.outputs(disk / "ws") == undisturbed


def test_a_disk_that_becomes_read_only_stops_the_run(disk, undisturbed):
    workspace = disk / "ws"
    go = disk.parent / "go"
    study = harness.write_fake(workspace, hold=[20], go=str(go))
    process = harness.start_fake(study)
    harness.wait_until(lambda: harness.starts(workspace, 2), process)
    # A sudden end of writing, as by a server that fails over: as long as files are open, a kernel only goes so far.
    while subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True).returncode:
        assert process.poll() is None
    go.touch()
    code, printed = harness.finish(process)
    assert code != 0
    assert "Traceback" not in printed
    assert "Read-only file system" in printed
    assert harness.n_done(workspace) < harness.N_TILES
    remount(disk, "rw")
    printed = harness.complete(study)
    assert "taking over" in printed, "the lease could not be removed"
    assert harness.outputs(workspace) == undisturbed
    harness.assert_nothing_is_left(workspace)


def test_a_folder_that_is_a_file_is_a_message(tmp_path):
    (tmp_path / "ws").write_text("not a folder")
    code, printed = harness.attempt(harness.write_fake(Path(tmp_path / "ws")))
    assert code == 2
    assert "is a file" in printed
    assert "Traceback" not in printed
