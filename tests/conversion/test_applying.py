"""Brains that hold converted samples."""

from __future__ import annotations

import numpy as np

from hpc_recon.conversion import applying, blocks
from hpc_recon.stores import arrays, brain, layout


def test_a_converted_brain_has_the_sources_labels_and_the_targets_voxels(converted):
    workspace = converted.workspace
    source, found = (brain.read_brain(workspace, s, "natural") for s in ("S1", "S2.from-S1"))
    assert found.labels == source.labels
    assert found.columns == source.columns
    ((where, block),) = blocks.read(converted, "S2.from-S1")
    np.testing.assert_allclose(found.samples[:, where.target], block.predict(source.samples), rtol=1e-6)
    for roi in ("V1", "V2"):
        np.testing.assert_array_equal(
            brain.read_roi(workspace, "S2.from-S1", roi), brain.read_roi(workspace, "S2", roi)
        )


def test_the_mean_of_converted_repeats_is_the_converted_mean(converted):
    source = brain.read_brain(converted.workspace, "S1", "natural")
    repeats = source.samples[[i for i, label in enumerate(source.labels) if label == source.labels[0]]]
    assert len(repeats) > 1
    of_mean = applying.convert(converted, "S2.from-S1", repeats.mean(axis=0, keepdims=True))
    each = applying.convert(converted, "S2.from-S1", repeats)
    np.testing.assert_allclose(each.mean(axis=0), of_mean[0], rtol=1e-4, atol=1e-4)


def test_a_pooled_brain_has_its_own_samples_then_converted_ones(converted):
    workspace = converted.workspace
    own, other, pooled = (brain.read_brain(workspace, s, "training") for s in ("S2", "S1", "S2.with-1"))
    assert pooled.labels == own.labels + other.labels
    np.testing.assert_array_equal(pooled.samples[:60], own.samples)
    np.testing.assert_array_equal(pooled.samples[60:], applying.convert(converted, "S2.from-S1", other.samples))
    test, tested = (arrays.read(workspace, layout.samples(s, "natural")) for s in ("S2", "S2.with-1"))
    np.testing.assert_array_equal(test, tested)


def test_pooled_samples_are_as_fitted_and_converted_test_samples_scaled_up(fit):
    study = fit("pool", variance="matched", pairs=["S1-S2"], alpha=5000, pool=[1])
    other = brain.read_brain(study.workspace, "S1", "training")
    pooled = brain.read_brain(study.workspace, "S2.with-1", "training").samples[60:]
    ((where, block),) = blocks.read(study, "S2.from-S1")
    factor, scaled = blocks.variance_factor(study, "S2.from-S1", "VC"), block.predict(other.samples)
    assert factor > 2
    np.testing.assert_allclose(pooled[:, where.target] - block.y_mean, (scaled - block.y_mean) / factor, atol=1e-5)
    np.testing.assert_array_equal(applying.convert(study, "S2.from-S1", other.samples)[:, where.target], scaled)


def test_voxels_of_no_block_have_the_mean_of_the_targets_training_samples(fit):
    """Only ROIs that are decoded must be covered."""
    study = fit(rois=["V1"], blocks=["V1"], pairs=["S1-S2"])
    mask = brain.read_roi(study.workspace, "S2", "V1")
    found = applying.convert(study, "S2.from-S1", brain.read_brain(study.workspace, "S1", "natural").samples)
    expected = brain.read_brain(study.workspace, "S2", "training").samples.mean(axis=0)[~mask]
    np.testing.assert_allclose(found[:, ~mask], np.broadcast_to(expected, (len(found), len(expected))), rtol=1e-5)
    assert (found[:, mask].std(axis=0) > 0).all()
