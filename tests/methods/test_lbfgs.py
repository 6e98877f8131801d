from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from hpc_recon.methods import lbfgs
from hpc_recon.methods.lbfgs import minimise

N = 20


def quadratic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((N, N))
    return root @ root.T + np.eye(N), rng.standard_normal(N) * 5


PROBLEMS = [quadratic(seed) for seed in range(4)]
CURVATURE = torch.from_numpy(np.stack([a for a, _ in PROBLEMS]))
LINEAR = torch.from_numpy(np.stack([b for _, b in PROBLEMS]))


def evaluate(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ax = (CURVATURE[rows] @ x[:, :, None])[:, :, 0]
    return (0.5 * x * ax - LINEAR[rows] * x).sum(dim=1), ax - LINEAR[rows]


def rosenbrock(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    loss = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(dim=1)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), gradient


def test_finds_the_minimum_in_a_box_that_scipy_finds():
    found = minimise(evaluate, torch.zeros(4, N, dtype=torch.float64), iterations=200, lower=-0.5, upper=0.5)
    for i, (a, b) in enumerate(PROBLEMS):
        oracle = minimize(
            lambda x, a=a, b=b: (0.5 * x @ a @ x - b @ x, a @ x - b),
            np.zeros(N), jac=True, method="L-BFGS-B", bounds=[(-0.5, 0.5)] * N, options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        assert (np.abs(oracle.x) > 0.499).any()  # the box matters
        np.testing.assert_allclose(found.x[i].numpy(), oracle.x, atol=1e-5)


def test_finds_the_free_minimum_of_a_curved_valley():
    start = torch.full((1, 6), -0.8, dtype=torch.float64)
    found = minimise(rosenbrock, start, iterations=150, lower=-5.0, upper=5.0)
    np.testing.assert_allclose(found.x[0].numpy(), np.ones(6), atol=1e-5)


def test_losses_never_increase_and_end_at_the_result():
    found = minimise(evaluate, torch.full((4, N), 0.5, dtype=torch.float64), iterations=30, lower=-1, upper=1)
    assert found.losses.shape == (4, 30)
    assert bool((found.losses[:, 1:] <= found.losses[:, :-1]).all())
    torch.testing.assert_close(found.losses[:, -1], evaluate(found.x, torch.arange(4))[0])


def test_rows_do_not_influence_each_other():
    """One shared line search would let the worst row stop the others."""
    start = torch.linspace(-1, 1, 4 * N, dtype=torch.float64).reshape(4, N)
    together = minimise(evaluate, start, iterations=12, lower=-1, upper=1)
    for i in range(4):
        alone = minimise(lambda x, rows, i=i: evaluate(x, rows + i), start[i : i + 1], iterations=12, lower=-1, upper=1)
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=1e-9, atol=1e-9)


def test_a_row_that_is_impossible_stays_and_the_others_go_on():
    def broken(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, gradient = evaluate(x, rows)
        moved = (x != 0.25).any(dim=1) & (rows == 1)
        return torch.where(moved, torch.nan, loss), gradient

    start = torch.full((4, N), 0.25, dtype=torch.float64)
    found = minimise(broken, start, iterations=60, lower=-1, upper=1)
    assert torch.equal(found.x[1], start[1])
    whole = minimise(evaluate, start, iterations=60, lower=-1, upper=1)
    torch.testing.assert_close(found.x[0], whole.x[0], atol=1e-5, rtol=0)


def test_a_start_outside_the_box_is_moved_into_it():
    found = minimise(evaluate, torch.full((4, N), 9.0, dtype=torch.float64), iterations=0, lower=-1, upper=1)
    assert found.losses.shape == (4, 0)
    assert torch.equal(found.x, torch.ones(4, N, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale: float):
    def scaled(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, gradient = evaluate(x, rows)
        return scale * loss, scale * gradient

    start = torch.zeros(4, N, dtype=torch.float64)
    found = minimise(scaled, start, iterations=40, lower=-0.5, upper=0.5)
    expected = minimise(evaluate, start, iterations=40, lower=-0.5, upper=0.5)
    torch.testing.assert_close(found.x, expected.x, atol=1e-5, rtol=0)


def test_each_variable_may_have_bounds_of_its_own():
    upper = torch.linspace(0.05, 1.0, N, dtype=torch.float64)
    found = minimise(
        evaluate, torch.zeros(4, N, dtype=torch.float64), iterations=200, lower=torch.zeros(N), upper=upper
    )
    for i, (a, b) in enumerate(PROBLEMS):
        oracle = minimize(
            lambda x, a=a, b=b: (0.5 * x @ a @ x - b @ x, a @ x - b),
            np.zeros(N), jac=True, method="L-BFGS-B", bounds=[(0.0, float(u)) for u in upper],
            options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        np.testing.assert_allclose(found.x[i].numpy(), oracle.x, atol=1e-5)


def test_without_bounds_the_free_minimum_is_found():
    start = torch.full((1, 6), -0.8, dtype=torch.float64)
    found = minimise(rosenbrock, start, iterations=150, lower=-np.inf, upper=np.inf)
    np.testing.assert_allclose(found.x[0].numpy(), np.ones(6), atol=1e-5)


def test_every_iteration_is_observed():
    seen = []
    found = minimise(
        evaluate, torch.zeros(4, N, dtype=torch.float64), iterations=3, lower=-1, upper=1,
        observe=lambda t, x: seen.append((t, x)),
    )  # fmt: skip
    assert [t for t, _ in seen] == [0, 1, 2]
    assert torch.equal(seen[-1][1], found.x)


def test_a_precondition_that_knows_the_curvature_is_faster_and_finds_the_same_minimum():
    scales = torch.logspace(0, 6, N, dtype=torch.float64)

    def steep(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (0.5 * scales * x.square() - scales * x).sum(dim=1), scales * (x - 1)

    start = torch.zeros(1, N, dtype=torch.float64)
    found = minimise(steep, start, iterations=12, lower=-5, upper=5, precondition=lambda rows: rows / scales)
    plain = minimise(steep, start, iterations=12, lower=-5, upper=5)
    torch.testing.assert_close(found.x, torch.ones_like(start), atol=1e-8, rtol=0)
    assert float((plain.x - 1).abs().max()) > 0.1


def test_with_a_precondition_the_minimum_in_a_box_is_still_that_of_scipy():
    mixed = torch.from_numpy(quadratic(9)[0])
    found = minimise(
        evaluate, torch.zeros(4, N, dtype=torch.float64), iterations=400, lower=-0.5, upper=0.5,
        precondition=lambda rows: rows @ mixed,
    )  # fmt: skip
    for i, (a, b) in enumerate(PROBLEMS):
        oracle = minimize(
            lambda x, a=a, b=b: (0.5 * x @ a @ x - b @ x, a @ x - b),
            np.zeros(N), jac=True, method="L-BFGS-B", bounds=[(-0.5, 0.5)] * N, options={"ftol": 1e-15, "gtol": 1e-10},
        )  # fmt: skip
        np.testing.assert_allclose(found.x[i].numpy(), oracle.x, atol=1e-4)


def test_what_the_loss_does_not_see_is_made_up_by_the_precondition():
    """Only the sum of neighbours counts: the way there is that of the precondition, not of the identity."""
    wanted = torch.tensor([[1.0, 3.0]], dtype=torch.float64)

    def pairs(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gap = x.reshape(-1, 2, 2).sum(dim=2) - wanted
        return gap.square().sum(dim=1), (2 * gap).repeat_interleave(2, dim=1)

    weights = torch.tensor([3.0, 1.0, 3.0, 1.0], dtype=torch.float64)
    found = minimise(
        pairs, torch.zeros(1, 4, dtype=torch.float64), iterations=30, lower=-9, upper=9,
        precondition=lambda rows: rows * weights,
    )  # fmt: skip
    expected = torch.tensor([[0.75, 0.25, 2.25, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(found.x, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("history", [1, 2, 5, 6])
def test_as_many_steps_are_remembered_as_the_history_says(history: int):
    """Half of them were forgotten: the inverse Hessian is that of the BFGS formula over the last `history` pairs."""
    rng = np.random.default_rng(history)
    root = rng.standard_normal((8, 8))
    hessian = root @ root.T + np.eye(8)
    steps = rng.standard_normal((9, 8))
    memory = lbfgs._Memory(torch.zeros(1, 8, dtype=torch.float64), history, None)
    for step in steps:
        memory.push(torch.from_numpy(step[None]), torch.from_numpy((hessian @ step)[None]))
    last = hessian @ steps[-1]
    inverse = np.eye(8) * (steps[-1] @ last) / (last @ last)
    for step in steps[-history:]:
        change = hessian @ step
        left = np.eye(8) - np.outer(step, change) / (step @ change)
        inverse = left @ inverse @ left.T + np.outer(step, step) / (step @ change)
    gradient = rng.standard_normal(8)
    np.testing.assert_allclose(memory.solve(torch.from_numpy(gradient[None]))[0].numpy(), inverse @ gradient, rtol=1e-9)
