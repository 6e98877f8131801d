from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.methods import losses


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


F, Y, U = random(3, 7, seed=1), random(3, 7, seed=2), random(7, seed=3).abs()


def oracle(name: str, f: np.ndarray, y: np.ndarray, u: np.ndarray) -> float:
    """One image, written as loops over units."""
    pairs = list(zip(f, y, u, strict=True))
    if name == "l2":
        return sum(w * (a - b) ** 2 for a, b, w in pairs)
    if name == "l1":
        return sum(w * abs(a - b) for a, b, w in pairs)
    if name == "inner":
        return -sum(w * a * b for a, b, w in pairs)
    if name == "target_normalised_mse":
        return oracle("l2", f, y, u) / sum(w * b**2 for _, b, w in pairs)
    covariance = np.cov(f, y, aweights=u)
    return 1 - covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])


NAMES = ["l2", "l1", "inner", "correlation", "target_normalised_mse"]


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_their_formulas(name: str):
    ones = np.ones(7)
    plain, weighed = losses.layer_loss(name, F, Y), losses.layer_loss(name, F, Y, U)
    for i in range(3):
        assert float(plain[i]) == pytest.approx(oracle(name, F[i].numpy(), Y[i].numpy(), ones), rel=1e-12)
        assert float(weighed[i]) == pytest.approx(oracle(name, F[i].numpy(), Y[i].numpy(), U.numpy()), rel=1e-12)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_losses(name: str, weighed: bool):
    features = F.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: losses.layer_loss(name, f, Y, U if weighed else None), features)


def test_gram_is_the_published_formula_with_its_gradient():
    """Oracle: the loss and its closed gradient, `(G - G0) F / (N^2 M^2)`, in numpy."""
    maps, wanted = random(2, 4, 6, seed=5), random(2, 4, 6, seed=6)
    leaf = maps.clone().requires_grad_()
    found = losses.gram_loss(leaf, losses.gram(wanted))
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    for i in range(2):
        f, y = maps[i].numpy(), wanted[i].numpy()
        difference = f @ f.T - y @ y.T
        assert float(found[i].detach()) == pytest.approx((difference**2).sum() / (4 * 4**2 * 6**2), rel=1e-12)
        np.testing.assert_allclose(gradient[i].numpy(), difference @ f / (4**2 * 6**2), rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda m: losses.gram_loss(m, losses.gram(wanted)), leaf)


@pytest.mark.parametrize("name", ["l2", "l1"])
def test_the_reference_is_the_loss_of_zero_features(name: str):
    torch.testing.assert_close(losses.reference(name, Y, U), losses.layer_loss(name, torch.zeros_like(Y), Y, U))


def test_the_reference_of_a_gram_loss_is_that_of_zero_maps():
    wanted = losses.gram(random(2, 4, 6, seed=6))
    expected = losses.gram_loss(torch.zeros(2, 4, 6, dtype=torch.float64), wanted)
    torch.testing.assert_close(losses.gram_reference(wanted, places=6), expected)


def test_a_constant_has_no_correlation_and_no_gradient():
    features = torch.ones(1, 7, dtype=torch.float64).requires_grad_()
    found = losses.layer_loss("correlation", features, Y[:1])
    (gradient,) = torch.autograd.grad(found.sum(), features)
    assert float(found.detach()) == 1.0
    assert bool(torch.isfinite(gradient).all())


def test_gram_is_not_a_loss_of_units():
    with pytest.raises(ValueError, match="gram"):
        losses.layer_loss("gram", F, Y)


def test_layer_weights_share_the_loss():
    assert losses.layer_shares({"a": 3.0}, ("a", "b")) == {"a": 0.75, "b": 0.25}


def test_total_variation_is_the_mean_squared_difference_of_neighbours():
    image = random(2, 3, 4, 5)
    values = image.numpy()
    expected = [
        np.mean(np.diff(one, axis=1) ** 2) + np.mean(np.diff(one, axis=2) ** 2) for one in values
    ]  # one: (3, 4, 5)
    np.testing.assert_allclose(losses.total_variation(image), expected, rtol=1e-12)


def test_gradcheck_of_the_total_variation():
    assert torch.autograd.gradcheck(losses.total_variation, random(2, 3, 4, 4).requires_grad_())
