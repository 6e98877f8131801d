"""Messages of a disk that is full, read-only, or soon will be."""

import errno

import pytest

from hpc_recon.core.errors import DamagedStore, WorkspaceError
from hpc_recon.core.tiles import Group, Need, Tile
from hpc_recon.run import room


def tiles(n, n_bytes):
    return [Tile(Group("fit", ("S1",)), "fit", i, i + 1, Need(bytes_out=n_bytes)) for i in range(n)]


def test_too_little_room_is_said_with_both_numbers(tmp_path):
    assert room.shortage(tmp_path / "ws", tiles(3, 10)) is None
    text = room.shortage(tmp_path / "ws", tiles(3, 2**60))
    assert "projected to write 3145728.0 TiB" in text
    assert "files are free" in text


def test_a_full_disk_says_what_is_missing(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    text = room.stopped(tmp_path, tiles(2, 2**60), [RuntimeError("other"), full])
    assert "the 2 tiles left are projected to write 2097152.0 TiB (about" in text
    assert "are missing). Finished tiles are kept" in text
    assert "1 tile left" in room.stopped(tmp_path, tiles(1, 1), [full])
    assert "a quota may be used up" in room.stopped(tmp_path, tiles(1, 1), [OSError(errno.EDQUOT, "quota")])


def test_a_disk_that_became_read_only_is_called_that(tmp_path):
    text = room.stopped(tmp_path, tiles(1, 1), [OSError(errno.EROFS, "Read-only file system")])
    assert f"{tmp_path} has become read-only" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_the_controllers_own_files_are_explained(tmp_path, number):
    said = r"group\.json cannot be written .*Finished tiles are kept"
    with pytest.raises(WorkspaceError, match=said), room.explained(tmp_path):
        raise OSError(number, "why", str(tmp_path / "group.json"))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "other"), DamagedStore("ours"), ValueError("other")])
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, room.explained(tmp_path):
        raise error
    assert caught.value is error
