"""Hard links of one workspace's files in another."""

import os

import pytest

from hpc_recon.core.errors import DataError
from hpc_recon.stores.linking import link_tree


@pytest.fixture
def trees(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "x").mkdir(parents=True)
    (source / "x" / "1").write_text("one")
    (source / "2").write_text("two")
    (source / ".tmp").write_text("unfinished")
    return source, target


def test_files_are_linked_once_and_follow_what_replaced_them(trees):
    source, target = trees
    assert link_tree(source, target) == 2
    assert (target / "x" / "1").samefile(source / "x" / "1")
    assert not (target / ".tmp").exists()
    assert link_tree(source, target) == 0
    (source / "new").write_text("other")
    (source / "new").replace(source / "2")  # as stores replace a file
    assert (target / "2").read_text() == "two", "a link keeps the bytes that it was made of"
    assert link_tree(source, target) == 1
    assert (target / "2").read_text() == "other"


def test_what_the_source_lost_is_removed(trees):
    source, target = trees
    link_tree(source, target)
    (source / "2").unlink()
    assert link_tree(source, target) == 0
    assert sorted(p.name for p in target.rglob("*") if p.is_file()) == ["1"]
    assert link_tree(source / "absent", target) == 0
    assert not [p for p in target.rglob("*") if p.is_file()]


def test_a_file_system_without_links_is_named(trees, monkeypatch):
    def refuse(source, target):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(DataError, match=r"hard links, but .* cannot be linked .*Operation not supported.*put the work"):
        link_tree(*trees)
