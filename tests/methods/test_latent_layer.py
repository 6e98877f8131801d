"""The layer's step against the whole loss by autograd and torch's own Adam; memory's pieces change nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from hpc_recon.core.latent_layer_options import LatentLayerTraining
from hpc_recon.methods import latent_layer, trainers
from hpc_recon.nets import latent_generators
from hpc_recon.nets.taps import activations

GENERATOR = {"kind": "pggan", "weights": "random:1", "resolution": 8, "n_inputs": 5}
FEATURES = {
    "architecture": "vgg11_quarter",
    "weights": "random:1",
    "layers": ["conv1_1", "conv2_1"],
    "image_size": 16,
    "weight": 0.7,
}
GIVEN = {
    "method": "latent_layer",
    "network": "z",
    "generator": GENERATOR,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
}


def made(**changes) -> latent_layer.LatentLayerTrainer:
    options = LatentLayerTraining(**{**GIVEN, **changes})
    return trainers.make(options, n_voxels=7, seed=3, device="cpu")


def batch(seed: int = 0, n: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "voxels": rng.normal(size=(n, 7)).astype(np.float32),
        "latents": rng.normal(size=(n, 5)).astype(np.float32),
    }


def oracle(trainer, given, n_steps: int, *, decay_bias: bool = True):
    """Train a torch layer on the loss as it is written, all images at once; return it and its last losses."""
    layer = torch.nn.Linear(7, 5)
    layer.weight.data, layer.bias.data = trainer.weight.detach().clone(), trainer.bias.detach().clone()
    groups = [{"params": [layer.weight]}, {"params": [layer.bias], "weight_decay": 0.1 * decay_bias}]
    adam = torch.optim.Adam(groups, lr=0.01, weight_decay=0.1)
    x, z = (torch.from_numpy(given[name]) for name in ("voxels", "latents"))
    for _ in range(n_steps):
        predicted = layer(x)
        latent, feature = 0.5 * (predicted - z).square().mean(), torch.zeros(())
        compared = trainer.compared
        if compared is not None:
            own, true = (
                activations(compared.net, compared.generator(values), ["conv1_1", "conv2_1"])
                for values in (predicted, z)
            )
            feature = sum((own[name] - true[name]).square().mean() for name in own)
        adam.zero_grad()
        (latent + 0.7 * feature).backward()
        adam.step()
    return layer, latent.item(), feature.item()


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_steps_are_those_of_the_whole_loss(at_once):
    trainer, given = made(features={**FEATURES, "images_at_once": at_once}), batch()
    expected, latent, feature = oracle(copy.deepcopy(trainer), given, 3)
    for _ in range(3):
        found = trainer.step(given)
    torch.testing.assert_close(trainer.weight, expected.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(trainer.bias, expected.bias, rtol=1e-4, atol=1e-5)
    assert found["latent"] == pytest.approx(latent, rel=1e-4)
    assert found["feature"] == pytest.approx(feature, rel=1e-4)
    assert feature > 0
    plain = made()
    plain.step(given)
    assert (plain.weight - trainer.weight).abs().max() > 1e-3  # the second loss has a say


def test_without_features_it_is_the_published_layer():
    trainer, given = made(decay_bias=False), batch()
    expected, latent, _ = oracle(copy.deepcopy(trainer), given, 4, decay_bias=False)
    for _ in range(4):
        found = trainer.step(given)
    assert found.keys() == {"latent"}
    assert found["latent"] == pytest.approx(latent, rel=1e-5)
    torch.testing.assert_close(trainer.weight, expected.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trainer.bias, expected.bias, rtol=1e-5, atol=1e-6)


def test_training_brings_images_nearer_and_goes_on_from_a_state(tmp_path):
    whole, given = made(learning_rate=0.05, features={**FEATURES, "images_at_once": 5}), batch()
    first = whole.step(given)
    for _ in range(2):
        whole.step(given)
    file = trainers.save(tmp_path / "c.pt", trainers.Checkpoint(3, "x", whole.state(), {}))
    other = made(learning_rate=0.05, features={**FEATURES, "images_at_once": 5}, start=0.5)
    other.load(trainers.read(file, remedy="").trainer)
    for trainer in (whole, other):
        for _ in range(8):
            last = trainer.step(given)
    assert torch.equal(whole.weight, other.weight)
    assert last["feature"] < 0.9 * first["feature"]
    found = latent_layer.predicted(whole.state(), given["voxels"])
    with torch.no_grad():
        known = torch.nn.functional.linear(torch.from_numpy(given["voxels"]), whole.weight, whole.bias)
    np.testing.assert_allclose(found, known.numpy(), rtol=1e-5, atol=1e-6)


def test_pictures_are_true_latents_above_predicted_ones():
    trainer, given = made(), batch(n=2)
    shown = trainer.pictures(given)
    assert (shown.shape, shown.dtype) == ((2, 2, 8, 8, 3), np.uint8)
    options = trainer.options.generator
    true = latent_generators.render(given["latents"], options, size=None, device="cpu")
    np.testing.assert_array_equal(shown[:, 0], np.rint(255 * true).astype(np.uint8))
    assert (shown[:, 0] != shown[:, 1]).any()


def test_first_weights_are_uniform_and_a_number_s_own():
    weight = made(start=0.2).weight.detach().numpy()
    assert (weight.min(), weight.max()) == (pytest.approx(-0.2, abs=0.02), pytest.approx(0.2, abs=0.02))
    np.testing.assert_allclose(weight[2], np.random.default_rng([3, 2]).uniform(-0.2, 0.2, 7), rtol=1e-6)
