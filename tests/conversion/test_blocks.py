"""Which voxels a block joins, and its arrays."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.conversion import blocks
from hpc_recon.core.errors import DataError
from hpc_recon.stores import brain


def test_areas_are_blocks_and_shared_voxels_belong_to_the_first(with_options):
    study = with_options(blocks=["V1", "VC"])
    first, second = blocks.voxels(study, "S2.from-S1")
    mask = {s: brain.read_roi(study.workspace, s, "V1") for s in ("S1", "S2")}
    np.testing.assert_array_equal(first.source, np.flatnonzero(mask["S1"]))
    np.testing.assert_array_equal(first.target, np.flatnonzero(mask["S2"]))
    np.testing.assert_array_equal(second.target, np.flatnonzero(~mask["S2"]))
    assert len(second.source) == len(mask["S1"]), "a source voxel may be read by several blocks"


def test_hemispheres_cut_blocks(with_options):
    study = with_options(blocks=["VC"], hemispheres=["V1", "V2"])
    found = blocks.voxels(study, "S2.from-S1")
    assert [one.name for one in found] == blocks.names(study.convert) == ["VC.V1", "VC.V2"]
    np.testing.assert_array_equal(found[1].target, np.flatnonzero(brain.read_roi(study.workspace, "S2", "V2")))
    with pytest.raises(DataError, match=r"hemispheres must not overlap, but \d+ voxels of S1"):
        blocks.voxels(with_options(hemispheres=["V1", "VC"]), "S2.from-S1")


def test_a_block_without_voxels_of_its_own_and_voxels_without_a_block_are_errors(with_options):
    with pytest.raises(DataError, match=r"V1 of S2.from-S1 has .* and 0 of the target that no block before it has"):
        blocks.voxels(with_options(blocks=["VC", "V1"]), "S2.from-S1")
    with pytest.raises(DataError, match=r"voxels of VC of S2 are in no block \(V1\)"):
        blocks.require_covered(with_options(blocks=["V1"]), "S2.from-S1")
    blocks.require_covered(with_options(blocks=["V1", "VC"]), "S2.from-S1")


def test_a_written_block_predicts_what_it_did(converted):
    """Read back from the workspace, against ridge regression solved here."""
    ((where, block),) = blocks.read(converted, "S2.from-S1")
    samples = {s: brain.read_brain(converted.workspace, s, "training") for s in ("S1", "S2")}
    order = {s: sorted(range(60), key=lambda i, s=s: (samples[s].labels[i], i)) for s in samples}
    X, Y = (samples[s].samples[order[s]].astype(np.float64) for s in ("S1", "S2"))
    np.testing.assert_array_equal(where.source, np.arange(X.shape[1]))
    Z, T = ((M - M.mean(axis=0)) / M.std(axis=0, ddof=1) for M in (X, Y))
    W = np.linalg.solve(Z.T @ Z + 20 * np.eye(Z.shape[1]), Z.T @ T)
    np.testing.assert_allclose(block.dense(), W, atol=2e-5)
    expected = Z @ W * Y.std(axis=0, ddof=1) + Y.mean(axis=0)
    np.testing.assert_allclose(block.predict(X.astype(np.float32)), expected, rtol=1e-3, atol=1e-4 * np.abs(Y).max())
