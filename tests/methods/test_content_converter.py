"""The content-loss converter against its loss and gradient written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_recon.core.content_options import Content
from hpc_recon.methods.content_converter import ContentConverter, Judge


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    blocks = [(np.arange(4), np.array([0, 2])), (np.arange(2, 7), np.array([1, 3, 4]))]
    judges = [
        Judge(
            np.stack([rng.permutation(5)[:2] for _ in range(n)]),
            rng.normal(size=(n, 2)).astype(np.float32),
            rng.normal(size=n).astype(np.float32),
            rng.normal(size=(6, n)).astype(np.float32),
        )
        for n in (3, 8)
    ]
    Z = rng.normal(size=(9, 7)).astype(np.float32)
    return blocks, judges, Z, np.array([0, 1, 2, 3, 4, 5, 0, 1, 2])


def written_out(blocks, judges, Z, stimulus, weights):
    """Return the loss, and its gradient with respect to the weights and biases of the blocks."""
    made = np.zeros((len(Z), 5))
    ones = np.ones((len(Z), 1))
    for (source, target), W in zip(blocks, weights, strict=True):
        made[:, target] = np.hstack([Z[:, source], ones]) @ W
    loss, back = 0.0, np.zeros_like(made)
    for judge in judges:
        D = np.zeros((len(judge.bias), 5))
        np.put_along_axis(D, judge.voxel, judge.weight, axis=1)
        error = made @ D.T + judge.bias - judge.wanted[stimulus]
        loss += (error**2).mean() / len(judges)
        back += 2 * error @ D / error.size / len(judges)
    return loss, [np.hstack([Z[:, source], ones]).T @ back[:, target] for source, target in blocks]


def test_losses_and_the_first_step_are_those_written_out(problem):
    """Adam's first step is the learning rate times the sign of the gradient."""
    blocks, judges, Z, stimulus = problem
    options = Content(at_once=8, learning_rate=0.01)
    trained = ContentConverter(blocks, 5, judges, options=options, device="cpu")
    weights = [np.zeros((5, 2)), np.zeros((6, 3))]
    loss, gradient = written_out(blocks, judges, Z, stimulus, weights)
    assert trained.loss(Z, stimulus) == pytest.approx(loss, rel=1e-5)
    assert trained.step(Z, stimulus, np.random.default_rng(0)) == pytest.approx(loss, rel=1e-5)
    trained.keep()
    for (W, b), expected in zip(trained.best(), gradient, strict=True):
        np.testing.assert_allclose(np.vstack([W, b]), -0.01 * np.sign(expected), rtol=1e-3)
    after, _ = written_out(blocks, judges, Z, stimulus, [np.vstack(parts) for parts in trained.best()])
    assert trained.loss(Z, stimulus) == pytest.approx(after, rel=1e-4)


def test_parts_of_units_give_the_loss_of_all(problem):
    blocks, judges, Z, stimulus = problem
    found = [
        ContentConverter(blocks, 5, judges, options=Content(at_once=n), device="cpu").loss(Z, stimulus) for n in (3, 8)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_what_goes_on_from_a_state_ends_at_the_same_bits(problem):
    blocks, judges, Z, stimulus = problem

    def new():
        return ContentConverter(blocks, 5, judges, options=Content(at_once=4), device="cpu")

    def train(trained, start, stop):
        for step in range(start, stop):
            trained.step(Z, stimulus, np.random.default_rng(step))

    whole, first, second = new(), new(), new()
    train(whole, 0, 6)
    train(first, 0, 3)
    second.load(first.state())
    train(second, 3, 6)
    whole.keep()
    second.keep()
    for (W, b), (other, c) in zip(whole.best(), second.best(), strict=True):
        np.testing.assert_array_equal(W, other)
        np.testing.assert_array_equal(b, c)
