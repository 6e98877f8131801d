"""Conversion accuracy, its ceiling, and which areas the weights join."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from hpc_recon.conversion import accuracy, blocks
from hpc_recon.stores import brain, layout


def rows(study, name, split="S2.from-S1"):
    with layout.conversion_file(study, split, name=name).open(newline="") as file:
        return list(csv.DictReader(file))


def trials(study, split):
    """Single trials (n_trials, n_stimuli, n_voxels), by label."""
    found = brain.read_brain(study.workspace, split, "natural")
    labels = sorted(set(found.labels))
    return np.stack([found.samples[[i for i, x in enumerate(found.labels) if x == label]] for label in labels], axis=1)


def correlations(first, second):
    """Every trial with every trial, written out: the mean over pairs for each series."""
    found = [[np.corrcoef(a, b)[0, 1] for b in second] for a in first]
    return np.mean(found)


def test_profile_accuracy_and_ceiling_are_means_over_all_pairs_of_single_trials(converted):
    (row,) = [r for r in rows(converted, "accuracy.csv") if (r["roi"], r["kind"]) == ("V1", "profile")]
    made, measured = trials(converted, "S2.from-S1"), trials(converted, "S2")
    mask = np.flatnonzero(brain.read_roi(converted.workspace, "S2", "V1"))
    expected = [correlations(made[:, :, v], measured[:, :, v]) for v in mask]
    assert float(row["value"]) == pytest.approx(np.mean(expected), abs=1e-5)
    q = len(measured)
    pairs = [(i, j) for i in range(q) for j in range(q) if i != j]
    ceiling = [
        max(0, np.mean([np.corrcoef(measured[i, :, v], measured[j, :, v])[0, 1] for i, j in pairs])) for v in mask[:5]
    ]
    with np.load(layout.conversion_file(converted, "ceilings", "S2", name="natural.npz")) as stored:
        np.testing.assert_allclose(stored["profile"][0][mask[:5]], ceiling, atol=1e-5)
    assert (int(row["n"]), int(row["n_trials"]), int(row["n_source_trials"])) == (len(mask), q, len(made))
    assert 0 < int(row["n_reliable"]) <= len(mask)


def test_pattern_accuracy_is_of_patterns_that_the_targets_training_statistics_z_score(converted):
    (row,) = [r for r in rows(converted, "accuracy.csv") if (r["roi"], r["kind"]) == ("V2", "pattern")]
    training = brain.read_brain(converted.workspace, "S2", "training").samples
    mask = brain.read_roi(converted.workspace, "S2", "V2")
    made, measured = (
        (trials(converted, s)[:, :, mask] - training.mean(axis=0)[mask]) / training.std(axis=0, ddof=1)[mask]
        for s in ("S2.from-S1", "S2")
    )
    expected = [correlations(made[:, i], measured[:, i]) for i in range(made.shape[1])]
    assert float(row["value"]) == pytest.approx(np.mean(expected), abs=1e-5)


def test_every_region_that_is_decoded_or_named_has_both_kinds(converted):
    found = [(r["dataset"], r["roi"], r["kind"]) for r in rows(converted, "accuracy.csv")]
    assert found == [("natural", roi, kind) for roi in ("VC", "V1", "V2") for kind in ("profile", "pattern")]
    assert tuple(rows(converted, "accuracy.csv")[0]) == accuracy.COLUMNS


def test_shares_of_areas_are_squared_weights_and_sum_to_one(converted):
    found = {(r["source_area"], r["target_area"]): float(r["share"]) for r in rows(converted, "areas.csv")}
    ((where, block),) = blocks.read(converted, "S2.from-S1")
    W = np.zeros((60, 60))
    W[np.ix_(where.source, where.target)] = block.dense()
    own, other = (brain.read_roi(converted.workspace, s, "V2") for s in ("S1", "S2"))
    expected = (W[own][:, other] ** 2).sum() / (W[:, other] ** 2).sum()
    assert found["V2", "V2"] == pytest.approx(expected, rel=1e-5)
    assert found["V2", "V2"] + found["elsewhere", "V2"] == pytest.approx(1)
