from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.core.network_options import Network
from hpc_recon.core.options import IcnnOptions
from hpc_recon.methods import latents
from hpc_recon.methods.objective import Objective
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import zoo

LAYERS = ("conv1_1", "conv2_1")
NETWORK = Network(architecture="vgg11_quarter", layers=LAYERS)
SIZE = 8
UNITS = {"conv1_1": 16 * SIZE * SIZE, "conv2_1": 32 * 4 * 4}


@pytest.fixture
def net():
    """Nets are shared, so the double precision is taken back."""
    loaded = zoo.load(NETWORK, image_size=SIZE).double()
    yield loaded
    loaded.float()


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def wanted(n: int = 2, **fields) -> Targets:
    features = {layer: random(n, units, seed=i + 1) for i, (layer, units) in enumerate(UNITS.items())}
    names = tuple(f"i{i}" for i in range(n))
    return Targets(names, features, np.full((SIZE, SIZE, 3), 0.5, np.float32), **fields)


def options(**fields) -> IcnnOptions:
    return IcnnOptions(method="icnn", network="v", layers=LAYERS, **fields)


def pixels(**fields) -> latents.Pixels:
    zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    return latents.Pixels((SIZE, SIZE), zero, zero, **fields)


def objective(net, given: Targets, chosen: IcnnOptions, latent=None) -> Objective:
    return Objective(net, latent or pixels(), given, chosen, layers=LAYERS, dtype=torch.float64)


def differences(function, x: torch.Tensor, place: int, step: float = 1e-6) -> torch.Tensor:
    moved = torch.zeros_like(x)
    moved[:, place] = step
    rows = torch.arange(len(x))
    return (function(x + moved, rows)[0] - function(x - moved, rows)[0]) / (2 * step)


CASES = {
    "default": {},
    "total variation, layer weights": {"total_variation": 2.0, "layer_weights": {"conv1_1": 3}},
    "l1": {"loss": "l1"},
    "inner, published": {"loss": "inner", "balance": "published"},
    "gram and correlation": {"loss": {"conv1_1": "gram", "default": "correlation"}},
    "target normalised": {"loss": "target_normalised_mse", "balance": "none"},
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_the_whole_loss_agree_with_differences(net, case: str):
    """float64, central differences; max pooling and ReLU have kinks, so the step is small."""
    function = objective(net, wanted(), options(**CASES[case]))
    x = torch.from_numpy(np.random.default_rng(5).random((2, 3 * SIZE * SIZE)))
    _, gradient = function(x, torch.arange(2))
    for place in (0, 37, 101, 191):
        torch.testing.assert_close(gradient[:, place], differences(function, x, place), rtol=1e-5, atol=1e-8)


def test_the_gradient_through_a_generator_agrees_with_differences():
    latent = GeneratorLatent(generator="small", weights="random:1")
    network = NETWORK.model_copy(update={"image_size": 32})
    net = zoo.load(network, image_size=32).double()
    chosen = options(latent=latent)
    made = latents.make(chosen, net, stimuli=(32, 32), device="cpu")
    assert isinstance(made, latents.GeneratorInput)
    made.generator.double()
    try:
        features = {"conv1_1": random(1, 16 * 32 * 32, seed=1), "conv2_1": random(1, 32 * 16 * 16, seed=2)}
        given = Targets(("i0",), features, np.zeros((32, 32, 3), np.float32))
        function = objective(net, given, chosen, made)
        x = torch.from_numpy(np.abs(random(1, 2048, seed=3)))
        _, gradient = function(x, torch.arange(1))
        for place in (0, 700, 2000):
            torch.testing.assert_close(gradient[:, place], differences(function, x, place), rtol=1e-4, atol=1e-9)
    finally:
        made.generator.float()
        net.float()


def test_the_default_is_the_published_objective_up_to_a_factor_per_image(net):
    given, x = wanted(), torch.from_numpy(np.random.default_rng(5).random((2, 3 * SIZE * SIZE)))
    relative = objective(net, given, options()).parts(x)
    plain = objective(net, given, options(balance="none")).parts(x)[1]
    for i in range(2):
        inverse = {layer: 1 / float((values[i] ** 2).sum()) for layer, values in given.features.items()}
        beta = {layer: value / sum(inverse.values()) for layer, value in inverse.items()}
        published = sum(beta[layer] * 2 * float(plain[layer][i]) for layer in LAYERS)
        assert float(relative[0][i]) == pytest.approx(published * sum(inverse.values()) / 2, rel=1e-12)


def test_a_part_of_the_rows_is_compared_with_its_own_targets(net):
    function = objective(net, wanted(3), options(loss={"conv1_1": "gram", "default": "l2"}))
    x = torch.from_numpy(np.random.default_rng(5).random((3, 3 * SIZE * SIZE)))
    everything, gradient = function(x, torch.arange(3))
    loss, slope = function(x[[0, 2]], torch.tensor([0, 2]))
    torch.testing.assert_close(loss, everything[[0, 2]])
    torch.testing.assert_close(slope, gradient[[0, 2]])


def test_units_that_do_not_count_change_nothing(net):
    """A weight of 0 is as good as leaving the unit out."""
    x = torch.from_numpy(np.random.default_rng(5).random((2, 3 * SIZE * SIZE)))
    given = wanted()
    kept = np.arange(UNITS["conv1_1"]) % 3 == 0
    weights = {"conv1_1": kept.astype(np.float32), "conv2_1": None}
    left = {**given.features, "conv1_1": given.features["conv1_1"][:, kept]}
    index = {"conv1_1": np.flatnonzero(kept)}
    weighed = objective(net, Targets(given.names, given.features, given.start, unit_weights=weights), options())
    chosen = objective(net, Targets(given.names, left, given.start, unit_index=index), options())
    for a, b in zip(weighed(x, torch.arange(2)), chosen(x, torch.arange(2)), strict=True):
        torch.testing.assert_close(a, b)


def test_a_masked_gram_loss_takes_masked_maps_for_zero(net):
    given = wanted()
    kept = np.arange(UNITS["conv1_1"]) % 3 == 0
    masked = {**given.features, "conv1_1": given.features["conv1_1"][:, kept]}
    function = objective(
        net,
        Targets(given.names, masked, given.start, unit_index={"conv1_1": np.flatnonzero(kept)}),
        options(loss={"conv1_1": "gram"}, balance="none"),
    )
    x = torch.from_numpy(np.random.default_rng(5).random((2, 3 * SIZE * SIZE)))
    found = function.parts(x)[1]["conv1_1"]
    with torch.no_grad():
        maps = net.body.features[0](net.preprocess(pixels().images(x))).flatten(1).numpy() * kept
    target = given.features["conv1_1"] * kept
    for i in range(2):
        f, y = maps[i].reshape(16, -1), target[i].reshape(16, -1)
        expected = ((f @ f.T - y @ y.T) ** 2).sum() / (4 * 16**2 * 64**2) / 2
        assert float(found[i]) == pytest.approx(expected, rel=1e-10)


def test_a_gram_loss_needs_maps():
    network = Network(architecture="vgg11", layers=("fc8",), image_size=32)
    given = Targets(("i0",), {"fc8": np.ones((1, 1000))}, np.zeros((32, 32, 3), np.float32))
    chosen = IcnnOptions(method="icnn", network="v", loss="gram")

    net = SimpleNamespace(taps=zoo.structure(network, image_size=32).taps)
    with pytest.raises(DataError, match="layer fc8 has the shape"):
        Objective(net, pixels(), given, chosen, layers=("fc8",))


def test_half_precision_is_close():
    net = zoo.load(NETWORK, image_size=SIZE)
    given = wanted()
    zero = torch.zeros(3, 1, 1)
    x = torch.from_numpy(np.random.default_rng(5).random((2, 3 * SIZE * SIZE))).float()
    latent = latents.Pixels((SIZE, SIZE), zero, zero)
    full, half = (
        Objective(net, latent, given, options(precision=precision, channels_last=last), layers=LAYERS)
        for precision, last in (("float32", False), ("bfloat16", True))
    )
    (a, b), (c, d) = full(x, torch.arange(2)), half(x, torch.arange(2))
    assert not torch.equal(a, c)
    torch.testing.assert_close(a, c, rtol=0.02, atol=0)  # bfloat16 has 8 bits
    assert float((b * d).sum() / b.norm() / d.norm()) > 0.99
