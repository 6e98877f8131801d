"""Clusters, the linear decoder, and vectors of held-out images: nothing of an image is in its own vector."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import ortho_group

from hpc_recon.core.errors import DataError
from hpc_recon.numerics import semantics
from hpc_recon.numerics.semantics import Linear, Voxels, clusters, crossed, logistic, nearest


@pytest.fixture(scope="module")
def told():
    """Sixty images of three classes, whose voxels tell the class."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    return rng.normal(size=(3, 12))[classes] + 0.8 * rng.normal(size=(60, 12)), classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_linear_decoder_is_at_the_minimum_of_its_loss(told, n_classes):
    samples, classes = told[0][told[1] < n_classes], told[1][told[1] < n_classes]
    found = logistic(samples, classes, n_classes=n_classes, penalty=2.0)

    def loss(weights, offset):
        logits = found.voxels.apply(samples) @ weights + offset
        cross_entropy = (logsumexp(logits, axis=1) - logits[np.arange(len(classes)), classes]).sum()
        size = ((weights[:, 1] - weights[:, 0]) ** 2).sum() if n_classes == 2 else (weights**2).sum()
        return cross_entropy + 2.0 / 2 * size

    least, rng = loss(found.weights, found.offset), np.random.default_rng(1)
    for _ in range(20):
        moved = found.weights + 0.02 * rng.normal(size=found.weights.shape)
        assert loss(moved, found.offset + 0.02 * rng.normal(size=n_classes)) > least - 1e-6


def test_a_class_that_does_not_occur_is_the_least_likely(told):
    found = logistic(*told, n_classes=5, penalty=1.0).vectors(np.zeros((1, 12)) + told[0].mean(axis=0))
    assert set(np.argsort(found[0])[:2]) == {3, 4}
    with pytest.raises(DataError, match="tells classes apart, but there is 1"):
        logistic(told[0], np.zeros(60, int), n_classes=3, penalty=1.0)


def test_clusters_are_groups_and_new_images_are_only_assigned():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6)) * 5
    embedding = centres[np.arange(40) % 4] + 0.1 * rng.normal(size=(40, 6))
    found = clusters(embedding, 4, seed=3)
    np.testing.assert_array_equal(found, clusters(embedding, 4, seed=3))
    assigned = nearest(embedding, found)
    assert all(len(set(assigned[i::4])) == 1 for i in range(4))
    assert len(set(assigned[:4])) == 4
    brute = ((embedding[:, None] - found[None]) ** 2).sum(axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(assigned, brute)
    with pytest.raises(DataError, match="2 for 3"):
        clusters(np.repeat(embedding[:2], 5, axis=0), 3, seed=0)


def linear(rotation, *, is_aligned):
    return Linear(Voxels(np.zeros(4), np.ones(4)), rotation, np.zeros(4), is_aligned=is_aligned)


def test_vectors_of_turned_decoders_are_turned_back():
    samples = np.random.default_rng(0).normal(size=(30, 4))
    folds = np.array_split(np.arange(30), 3)
    turns = iter(ortho_group.rvs(4, size=3, random_state=1))
    whole = linear(np.eye(4), is_aligned=False)
    found = crossed(samples, folds, fit=lambda rows: linear(next(turns), is_aligned=False), whole=whole)
    np.testing.assert_allclose(found, samples, atol=1e-10)


def test_a_vector_comes_from_a_decoder_without_its_image(told):
    samples, classes = told
    folds = [np.flatnonzero(np.arange(60) % 4 == f) for f in range(4)]
    seen = []

    def fit(rows):
        seen.append(set(rows.tolist()))
        return logistic(samples[rows], classes[rows], n_classes=3, penalty=1.0)

    whole = logistic(samples, classes, n_classes=3, penalty=1.0)
    found = crossed(samples, folds, fit=fit, whole=whole)
    assert all(not own & set(rows.tolist()) for own, rows in zip(seen, folds, strict=True))
    assert (found.argmax(axis=1) == classes).mean() > 0.8
    with pytest.raises(DataError, match="each of 60 rows once"):
        crossed(samples, folds[:2], fit=fit, whole=whole)


def test_noise_tells_nothing_of_the_images_it_was_not_learnt_from():
    """In sample a decoder knows every class of pure noise; its crossed vectors must not."""
    rng = np.random.default_rng(2)
    samples, classes = rng.normal(size=(60, 200)), np.arange(60) % 2
    folds = [np.flatnonzero(np.arange(60) // 2 % 5 == f) for f in range(5)]

    def fit(rows):
        return logistic(samples[rows], classes[rows], n_classes=2, penalty=1.0)

    whole = fit(np.arange(60))
    assert (whole.vectors(samples).argmax(axis=1) == classes).all()
    right = (crossed(samples, folds, fit=fit, whole=whole).argmax(axis=1) == classes).sum()
    assert 16 <= right <= 44  # 0.9997 of Binomial(60, 1/2)
    assert semantics.Voxels.of(np.ones((3, 2))).apply(np.full((1, 2), 7.0)).tolist() == [[0.0, 0.0]]
