"""Adam as Caffe computes it, against a plain loop in float64."""

from __future__ import annotations

import numpy as np
import torch

from hpc_recon.core.train_options import AdamOptions
from hpc_recon.methods.caffe_adam import CaffeAdam


def reference(weights: np.ndarray, gradients: np.ndarray, *, decay: float, halve_at: tuple[int, ...]) -> np.ndarray:
    """Caffe's solver, from its formula; iteration counts from 0."""
    m, v, w = np.zeros_like(weights), np.zeros_like(weights), weights.copy()
    for iteration, plain in enumerate(gradients):
        g = plain + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rate = 2e-4 * 0.5 ** sum(iteration >= at for at in halve_at)
        t = iteration + 1
        w = w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-8)
    return w


def test_updates_equal_the_formula():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(4, 5)), rng.normal(size=(12, 4, 5)) * 10.0 ** rng.integers(-9, 2, (12, 4, 5))
    for decay, halve_at in ((0.0, (3, 7)), (0.5, ())):
        parameter = torch.tensor(start, requires_grad=True)
        adam = CaffeAdam([parameter], AdamOptions(halve_at=halve_at or (99,)), decay=decay)
        for gradient in gradients:
            parameter.grad = torch.tensor(gradient)
            adam.update()
        expected = reference(start, gradients, decay=decay, halve_at=halve_at)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-14)
        assert parameter.grad is None


def test_epsilon_is_added_to_the_root_and_not_to_the_corrected_one():
    """torch's Adam divides by sqrt(v / (1 - b2^t)) + eps: for tiny first gradients that is another step."""
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = CaffeAdam([parameter], AdamOptions(learning_rate=1.0))
    parameter.grad = torch.tensor([1e-8], dtype=torch.float64)
    adam.update()
    root = np.sqrt(0.001) * 1e-8
    np.testing.assert_allclose(parameter.item(), -np.sqrt(0.001) / 0.1 * 1e-9 / (root + 1e-8), rtol=1e-9)


def test_the_rate_counts_own_updates_and_survives_a_checkpoint():
    parameter = torch.zeros(1, requires_grad=True)
    adam = CaffeAdam([parameter], AdamOptions(halve_at=(2, 3)))
    rates = []
    for _ in range(5):
        rates.append(adam.rate)
        parameter.grad = torch.ones(1)
        adam.update()
    assert rates == [2e-4, 2e-4, 1e-4, 5e-5, 5e-5]
    other = CaffeAdam([torch.zeros(1, requires_grad=True)], AdamOptions(halve_at=(2, 3)))
    other.load(adam.state())
    assert (other.rate, other.n_updates) == (5e-5, 5)
    assert torch.equal(other.second[0], adam.second[0])
    assert other.second[0] is not adam.second[0]
