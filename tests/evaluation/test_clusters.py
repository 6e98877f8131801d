"""Clusters kept as a file; that they are found is tested with the control that uses them (test_cluster_scores.py)."""

from __future__ import annotations

from hpc_recon.evaluation import clusters


def test_a_file_gives_back_what_was_kept(tmp_path):
    found = clusters.Clusters("abc", "vgg", "conv1_1", {"a": 0, "b": 1}, {"c": 1})
    assert clusters.keep(found, tmp_path) == tmp_path / clusters.NAME
    assert clusters.read(tmp_path, of=clusters.digest_of(found)) == found
    other = clusters.Clusters("abc", "vgg", "conv1_1", {"a": 1, "b": 1}, {"c": 1})
    assert clusters.digest_of(other) != clusters.digest_of(found)
