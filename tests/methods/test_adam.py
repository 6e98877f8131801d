from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.icnn_options import Adam, AdamW
from hpc_recon.methods import adam

CURVATURE = torch.linspace(0.5, 3, 8, dtype=torch.float64)
AIM = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 8)))
FREE = (torch.full((8,), -9.0).double(), torch.full((8,), 9.0).double())


def evaluate(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (0.5 * CURVATURE * (x - AIM[rows]) ** 2).sum(dim=1), CURVATURE * (x - AIM[rows])


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_the_papers(decay: float):
    """Oracle: Kingma & Ba (2015), and Loshchilov & Hutter (2019), restated in numpy."""
    options = AdamW(learning_rate=(0.3, 0.1), weight_decay=decay) if decay else Adam(learning_rate=(0.3, 0.1))
    found = adam.descend(evaluate, torch.zeros(2, 8).double(), iterations=7, options=options, box=FREE)
    x, m, v, losses = np.zeros((2, 8)), 0.0, 0.0, []
    aim, curvature = AIM.numpy(), CURVATURE.numpy()
    for t in range(7):
        lr = 0.3 + t * (0.1 - 0.3) / 7
        losses.append((0.5 * curvature * (x - aim) ** 2).sum(axis=1))
        g = curvature * (x - aim)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x * (1 - lr * decay)
        x = x - lr * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    np.testing.assert_allclose(found.losses.numpy(), np.stack(losses, axis=1), rtol=1e-10)


def test_the_result_is_that_of_the_smallest_loss_row_by_row():
    options = Adam(learning_rate=(2.0, 2.0))  # far too large: it jumps about
    found = adam.descend(evaluate, torch.zeros(2, 8).double(), iterations=25, options=options, box=FREE)
    assert bool((found.losses[:, -1] > found.losses.amin(dim=1)).any())
    torch.testing.assert_close(evaluate(found.x, torch.arange(2))[0], found.losses.amin(dim=1))


def test_finds_the_minimum_in_the_box():
    box = (torch.full((8,), -0.3).double(), torch.full((8,), 0.3).double())
    options = AdamW(weight_decay=0.0)
    found = adam.descend(evaluate, torch.zeros(2, 8).double(), iterations=300, options=options, box=box)
    torch.testing.assert_close(found.x, AIM.clamp(*box), atol=2e-3, rtol=0)


def test_a_row_does_not_depend_on_the_others():
    options = Adam(learning_rate=(0.3, 0.1))
    both = adam.descend(evaluate, torch.zeros(2, 8).double(), iterations=9, options=options, box=FREE)
    alone = adam.descend(
        lambda x, rows: evaluate(x, rows + 1), torch.zeros(1, 8).double(), iterations=9, options=options, box=FREE
    )
    torch.testing.assert_close(alone.x[0], both.x[1], rtol=1e-12, atol=1e-12)
