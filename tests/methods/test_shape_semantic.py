"""The trainer: least-squares losses by hand, its schedule, weights of samples, and a state that goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.shape_options import ShapeSemanticTraining
from hpc_recon.methods import shape_semantic, trainers

GIVEN = {
    "method": "shape_semantic",
    "profile": "tiny",
    "shape": {"network": "shape"},
    "image_size": 16,
    "width": 0.0625,
    "patch_layers": 2,
    "dropout": 0.0,
}


def options(**changes) -> ShapeSemanticTraining:
    return ShapeSemanticTraining(**{**GIVEN, **changes})


def batch(seed: int = 0, n: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "shape": rng.uniform(-1, 1, (n, 3, 16, 16)).astype(np.float32),
        "semantic": rng.normal(size=(n, 5)).astype(np.float32),
        "images": rng.integers(0, 255, (n, 3, 16, 16)).astype(np.uint8),
        "weight": np.array([1.0, 0.5, 1.0], np.float32)[:n],
    }


@pytest.fixture(autouse=True)
def own_randomness():
    with trainers.own_randomness("cpu"):
        yield


def made(**changes) -> shape_semantic.ShapeSemanticTrainer:
    return trainers.make(options(**changes), n_voxels=5, seed=1, device="cpu")


def test_losses_are_those_of_the_formulas_and_weigh_samples():
    trainer, given = made(), batch()
    shape, semantic = (torch.from_numpy(given[name]) for name in ("shape", "semantic"))
    image = torch.from_numpy(given["images"]).float() / 127.5 - 1
    weight = np.array([1.0, 0.5, 1.0])
    with torch.no_grad():
        image_made = trainer.generator(shape, semantic)
        real = trainer.discriminator(image, shape).numpy()
        fake = trainer.discriminator(image_made, shape).numpy()
    found = trainer.step(given)
    pixel = ((image_made - image).numpy() ** 2).mean(axis=(1, 2, 3))
    assert found["pixel"] == pytest.approx((pixel * weight).mean(), rel=1e-5)
    assert found["real"] == pytest.approx((((real - 1) ** 2).mean(axis=(1, 2, 3)) * weight).mean(), rel=1e-5)
    assert found["fake"] == pytest.approx(((fake**2).mean(axis=(1, 2, 3)) * weight).mean(), rel=1e-5)
    with torch.no_grad():
        fooled = trainer.discriminator(image_made, shape).numpy()  # by the discriminator that has just learnt
    assert found["fooled"] == pytest.approx((((fooled - 1) ** 2).mean(axis=(1, 2, 3)) * weight).mean(), rel=1e-5)


def test_an_image_that_weighs_nothing_teaches_nothing():
    given, other = batch(), batch()
    for one in (given, other):
        one["weight"][2] = 0.0
    other["images"][2] = 255 - other["images"][2]
    other["shape"][2] = -other["shape"][2]
    states = []
    for one in (given, other):
        trainer = made()
        trainer.step(one)
        states.append(trainer.state())
    for name in ("generator", "discriminator"):
        for key, values in states[0][name].items():
            torch.testing.assert_close(values, states[1][name][key], msg=f"{name} {key}")


def test_it_learns_and_the_rate_falls():
    trainer = made(adversarial_weight=0.0, learning_rate=5e-3, decay=0.5, decay_every=20)
    losses = [trainer.step(batch())["pixel"] for _ in range(41)]
    assert losses[-1] < 0.7 * losses[0]
    assert trainer.discriminator is None
    assert trainer.generator_adam.param_groups[0]["lr"] == pytest.approx(5e-3 / 4)


def test_a_state_goes_on_to_the_same_bits(tmp_path):
    def learn(trainer, steps):
        for step in steps:
            trainer.step(batch(step))
        return trainer

    whole = learn(made(dropout=0.5), range(4)).state()
    begun = learn(made(dropout=0.5), range(2))
    path = trainers.save(tmp_path / "x.pt", trainers.Checkpoint(2, "me", begun.state(), {}))
    other = made(dropout=0.5)
    other.load(trainers.read(path, remedy="").trainer)
    found = learn(other, range(2, 4)).state()
    for name in ("generator", "discriminator"):
        assert all(torch.equal(whole[name][key], found[name][key]) for key in whole[name])
    assert torch.equal(whole["random"]["cpu"], found["random"]["cpu"])


def test_images_are_those_of_the_generator_without_dropout():
    trainer, given = made(dropout=0.5), batch()
    generator = shape_semantic.trained(options(dropout=0.5), trainer.state(), n_semantic=5)
    found = shape_semantic.images_of(generator, given["shape"], given["semantic"], device="cpu")
    pictures = trainer.pictures(given)
    np.testing.assert_array_equal(np.rint(found * 255).astype(np.uint8), pictures[:, 1])
    np.testing.assert_array_equal(pictures[:, 0], given["images"].transpose(0, 2, 3, 1))
    assert trainer.generator.training


def test_shapes_are_clipped_and_enlarged():
    found = shape_semantic.as_input(np.array([[[[-1.0, 0.25], [0.5, 9.0]]]]), size=4)
    assert found.shape == (1, 3, 4, 4)
    np.testing.assert_allclose(found[0, 0], np.kron([[-1, -0.5], [0, 1]], np.ones((2, 2))))
