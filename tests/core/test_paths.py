"""Paths that nobody else can lead astray."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_recon.core import paths
from hpc_recon.core.errors import ClusterError, DataError


def test_inside_a_workspace_that_is_itself_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "ws"
    link.symlink_to(tmp_path / "real")
    for inside in (link, link / "new" / "file", tmp_path / "real" / "x", link / "a" / ".." / "b"):
        paths.require_inside(link, inside)
    paths.require_inside(link, link / "a" / "b", link / "a" / "c", link)


def test_links_and_parents_that_lead_out_of_the_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "jobs").mkdir(parents=True)
    (workspace / "images").symlink_to(tmp_path)
    (workspace / "deep").mkdir()
    (workspace / "deep" / "link").symlink_to("../../elsewhere")  # of what does not exist yet
    for path in ("images", "images/a/b", "deep/link/x", "..", "jobs/../../x"):
        with pytest.raises(DataError, match="stays in the workspace"):
            paths.require_inside(workspace, workspace / path)
        with pytest.raises(DataError, match="stays in the workspace"):
            paths.require_inside(workspace, workspace / "jobs", workspace / "deep" / "x", workspace / path)
    with pytest.raises(DataError, match=f"through the link {workspace / 'images'}"):
        paths.require_inside(workspace, workspace / "images" / "a")
    with pytest.raises(DataError, match="images"):
        paths.require_folders(workspace)
    (workspace / "images").unlink()
    paths.require_folders(workspace)
    paths.require_folders(tmp_path / "not made yet")


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    paths.require_folders(tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a//b", "", ".", "a/./b", "a\0b", "a/"])
def test_stored_names_that_climb(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain path"):
        paths.require_relative(name, where="the receipt")


def test_stored_names_that_do_not() -> None:
    for name in ("a", "features.zarr/net/fc/c/0/0", "images/v/S1/..png"):
        assert paths.require_relative(name, where="the receipt") == name


def test_private_folder_is_one_for_all_processes(tmp_path: Path) -> None:
    folder = paths.private_folder(tmp_path / "scratch")
    assert folder == tmp_path / "scratch" / f"hpc_recon-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert paths.private_folder(tmp_path / "scratch") == folder


def test_private_folder_that_others_can_write(tmp_path: Path) -> None:
    first = tmp_path / f"hpc_recon-{os.getuid()}"
    first.mkdir(mode=0o777)
    first.chmod(0o777)
    found = paths.private_folder(tmp_path)
    assert found != first
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_private_folder_that_is_a_link_to_a_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    first = tmp_path / f"hpc_recon-{os.getuid()}"
    first.symlink_to(tmp_path / "other")
    assert paths.private_folder(tmp_path) not in (first, tmp_path / "other")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_private_folder_of_a_stranger(tmp_path: Path) -> None:
    first = tmp_path / f"hpc_recon-{os.getuid()}"
    first.mkdir(mode=0o700)
    os.chown(first, 12345, 12345)
    assert paths.private_folder(tmp_path) != first


def test_what_others_can_read_is_not_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    for mode in (0o604, 0o640, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(ClusterError, match=f"{mode:04o}"):
            paths.require_private(path)
    path.chmod(0o600)
    paths.require_private(path)


@pytest.mark.parametrize(("umask", "expected"), [(0o000, 0o775), (0o002, 0o775), (0o022, 0o755), (0o077, 0o700)])
def test_nothing_is_writable_by_everybody(tmp_path: Path, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        with paths.not_world_writable():
            (tmp_path / "folder").mkdir()
            child = "import os, sys; os.mkdir(sys.argv[1])"
            subprocess.run([sys.executable, "-c", child, str(tmp_path / "of a child")], check=True)
        assert os.umask(umask) == umask, "the umask is as it was"
    finally:
        os.umask(before)
    for name in ("folder", "of a child"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == expected
