"""The small network: learns, is what torch computes, and its hidden units of held-out images are no memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.shape_options import SemanticStage
from hpc_recon.methods import semantic
from hpc_recon.numerics.semantics import crossed

OPTIONS = SemanticStage(hidden=(24, 8), epochs=15, learning_rate=3e-3)


@pytest.fixture(scope="module")
def told():
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    return rng.normal(size=(3, 12))[classes] + 0.5 * rng.normal(size=(60, 12)), classes.astype(np.int64)


@pytest.fixture(scope="module")
def trained(told):
    return semantic.fit(*told, OPTIONS, n_outputs=3, seed=1)


def test_it_tells_classes_and_is_reproducible(told, trained):
    before = torch.get_rng_state()
    again = semantic.fit(*told, OPTIONS, n_outputs=3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again.vectors(told[0]), trained.vectors(told[0]))
    other = semantic.fit(*told, OPTIONS, n_outputs=3, seed=2)
    assert not np.allclose(other.vectors(told[0]), trained.vectors(told[0]))
    assert (trained.outputs(told[0]).argmax(axis=1) == told[1]).mean() > 0.95


def test_its_numbers_are_those_of_the_layers(told, trained):
    z = (told[0] - told[0].mean(axis=0)) / told[0].std(axis=0)
    (w1, b1), (w2, b2), (w3, b3) = trained.layers
    assert [w.shape for w in (w1, w2, w3)] == [(12, 24), (24, 8), (8, 3)]
    hidden = np.tanh(np.tanh(z @ w1 + b1) @ w2 + b2)
    np.testing.assert_allclose(trained.vectors(told[0]), hidden, atol=1e-6)
    np.testing.assert_allclose(trained.outputs(told[0]), hidden @ w3 + b3, atol=1e-6)
    logits = semantic.fit(*told, OPTIONS.model_copy(update={"feature": "logits"}), n_outputs=3, seed=1)
    np.testing.assert_allclose(logits.vectors(told[0]), trained.outputs(told[0]), atol=1e-6)
    assert (logits.is_aligned, trained.is_aligned) == (True, False)


def test_it_learns_an_embedding_by_its_numbers(told):
    wanted = np.tanh(told[0][:, :2])
    options = SemanticStage(target="embedding", network="net", hidden=(24, 8), epochs=40, learning_rate=3e-3)
    found = semantic.fit(told[0], wanted, options, n_outputs=2, seed=0).outputs(told[0])
    assert np.mean((found - wanted) ** 2) < 0.1 * wanted.var()


def test_crossed_hidden_units_lie_where_those_of_new_images_do(told, trained):
    samples, classes = told
    folds = [np.flatnonzero(np.arange(60) // 3 % 4 == f) for f in range(4)]

    def fit(rows):
        return semantic.fit(samples[rows], classes[rows], OPTIONS, n_outputs=3, seed=1)

    found = crossed(samples, folds, fit=fit, whole=trained)
    logits = found @ trained.layers[-1][0] + trained.layers[-1][1]
    assert (logits.argmax(axis=1) == classes).mean() > 0.8  # the whole network's last layer understands them
