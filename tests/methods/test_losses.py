from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.config import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import icnn, losses
from hpc_recon.nets import zoo


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_total_variation_is_the_mean_squared_difference_of_neighbours():
    image = random(2, 3, 4, 5)
    values = image.numpy()
    expected = [
        np.mean(np.diff(one, axis=1) ** 2) + np.mean(np.diff(one, axis=2) ** 2) for one in values
    ]  # one: (3, 4, 5)
    np.testing.assert_allclose(losses.total_variation(image), expected, rtol=1e-12)


def test_feature_loss_is_the_published_objective_up_to_a_factor_per_image():
    targets = {"a": random(3, 7, seed=1), "b": 5 * random(3, 11, seed=2)}
    features = {"a": random(3, 7, seed=3), "b": random(3, 11, seed=4)}
    found = losses.feature_loss(features, targets, losses.feature_weights(targets, {})).numpy()
    for i in range(3):
        inverse = {layer: 1 / float((values[i] ** 2).sum()) for layer, values in targets.items()}
        beta = {layer: value / sum(inverse.values()) for layer, value in inverse.items()}
        published = sum(beta[layer] * float(((features[layer][i] - targets[layer][i]) ** 2).sum()) for layer in beta)
        assert found[i] == pytest.approx(published * sum(inverse.values()) / 2, rel=1e-12)


def test_layer_weights_share_the_loss():
    targets = {"a": random(1, 7, seed=1), "b": random(1, 11, seed=2)}
    nothing = {layer: torch.zeros_like(values) for layer, values in targets.items()}
    weights = losses.feature_weights(targets, {"a": 3.0})
    # Zero features have relative error 1 in each layer.
    assert float(losses.feature_loss(nothing, targets, weights)) == pytest.approx(1.0)
    assert float(weights["a"] * targets["a"].square().sum()) == pytest.approx(0.75)


def test_units_are_selected_by_number():
    maps = {"a": torch.arange(24.0).reshape(1, 2, 3, 4), "b": torch.arange(6.0).reshape(1, 6)}
    chosen = losses.select_units(maps, {"a": torch.tensor([0, 5, 23]), "b": None})
    assert chosen["a"].tolist() == [[0.0, 5.0, 23.0]]
    assert chosen["b"].tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]


@pytest.mark.parametrize("total_variation", [0.0, 2.0])
def test_gradients_of_the_whole_loss_agree_with_differences(total_variation: float):
    """float64, central differences; max pooling and ReLU have kinks, so the step is small."""
    layers = ("conv1_1", "conv2_1")
    net = zoo.load(Network(architecture="vgg11_quarter", layers=layers), image_size=8).double()
    try:
        index = {"conv1_1": torch.arange(0, 1024, 7), "conv2_1": None}
        targets = {"conv1_1": random(2, len(index["conv1_1"]), seed=1), "conv2_1": random(2, 512, seed=2)}
        options = IcnnOptions(
            method="icnn", network="v", layers=layers, total_variation=total_variation, layer_weights={"conv1_1": 3}
        )
        evaluate = icnn.loss_function(net, targets, index, options, shape=(3, 8, 8))
        x = torch.from_numpy(np.random.default_rng(5).random((2, 192)))
        rows = torch.arange(2)
        _, gradient = evaluate(x, rows)
        step = 1e-6
        for pixel in (0, 37, 101, 191):
            moved = torch.zeros_like(x)
            moved[:, pixel] = step
            slope = (evaluate(x + moved, rows)[0] - evaluate(x - moved, rows)[0]) / (2 * step)
            torch.testing.assert_close(gradient[:, pixel], slope, rtol=1e-5, atol=1e-8)
    finally:
        net.float()


def test_gradcheck_of_the_total_variation():
    assert torch.autograd.gradcheck(losses.total_variation, random(2, 3, 4, 4).requires_grad_())
