"""One step of end-to-end training: losses, updates, suspension, and bit-equal continuation."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from hpc_recon.core.train_options import EndToEndTraining
from hpc_recon.methods import end_to_end, trainers
from hpc_recon.methods.suspension import Suspension

SMALL = {
    "method": "end_to_end",
    "profile": "tiny",
    "image_size": 40,
    "crop": 36,
    "dense": 32,
    "batch": 4,
    "comparator": {"architecture": "vgg11_quarter", "weights": "random:1", "layers": ["conv1_1", "conv2_1"]},
}


def options(**changes) -> EndToEndTraining:
    return EndToEndTraining(**{**SMALL, **changes})


def make(given: EndToEndTraining, seed: int = 0) -> end_to_end.EndToEndTrainer:
    return end_to_end.trainer(given, n_voxels=10, seed=seed, device="cpu")


def batch(step: int, n: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (n, 3, 36, 36)).astype(np.uint8)
    return {"voxels": rng.normal(size=(n, 10)).astype(np.float32), "images": images}


@pytest.fixture(autouse=True)
def _own_randomness():
    with trainers.own_randomness("cpu"):
        yield


def weights_of(trainer: end_to_end.EndToEndTrainer) -> dict[str, torch.Tensor]:
    found = {f"g.{n}": p.detach().clone() for n, p in trainer.generator.named_parameters()}
    if trainer.discriminator is not None:
        found |= {f"d.{n}": p.detach().clone() for n, p in trainer.discriminator.named_parameters()}
    return found


def test_losses_equal_their_mean_square_equivalents():
    """2e-6 of Caffe's pixel loss at 227 px is 0.154587 of the mean square; 0.01 on 9,216 units is 46.08."""
    drawn = torch.Generator().manual_seed(0)
    made, wanted = (torch.randn(3, 3, 227, 227, generator=drawn, dtype=torch.float64) * 60 for _ in range(2))
    mean_square = torch.nn.functional.mse_loss(made, wanted)
    torch.testing.assert_close(
        2e-6 * end_to_end.half_squares(made, wanted).double(), 0.154587 * mean_square, rtol=1e-6, atol=0
    )
    a, b = (torch.randn(3, 256, 6, 6, generator=drawn, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(
        0.01 * end_to_end.feature_loss([a], [b]).double(), 46.08 * (a - b).square().mean(), rtol=1e-6, atol=0
    )
    scores = torch.randn(5, 2, generator=drawn)
    plain = -torch.log(torch.exp(scores[:, 1]) / torch.exp(scores).sum(dim=1)).mean()
    torch.testing.assert_close(end_to_end.cross_entropy(scores, end_to_end.MADE), plain)


def test_a_step_without_comparator_and_discriminator_is_plain_regression():
    given = options(losses={"pixel": 2e-6, "feature": 0, "adversarial": 0})
    trainer, before = make(given), batch(0)
    assert trainer.discriminator is None
    assert trainer.features is None
    twin = make(given).generator
    images = torch.from_numpy(before["images"]).double() - torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)
    twin = twin.double()
    loss = (twin(torch.from_numpy(before["voxels"]).double()) - images).square().sum() / 8
    gradients = torch.autograd.grad(2e-6 * loss, list(twin.parameters()))
    figures = trainer.step(before)
    assert figures["pixel"] == pytest.approx(loss.item(), rel=1e-5)
    assert set(figures) == {"pixel", "trains_generator", "generator_updates"}
    for own, gradient in zip(trainer.generator_adam.first, gradients, strict=True):
        torch.testing.assert_close(own.double(), 0.1 * gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())


def test_the_generators_gradient_is_the_weighted_sum_of_three_losses_with_the_updated_discriminator():
    given = options(losses={"pixel": 2e-6, "feature": 1e-3, "adversarial": 2.0})
    trainer, shown = make(given), batch(1)
    trainer.discriminator.eval()  # no dropout: the losses can be computed again
    twin = make(given)
    figures = trainer.step(shown)
    voxels, images = twin._tensors(shown)
    made = twin.generator(voxels)
    judge = trainer.discriminator  # as updated in the step
    total = 2e-6 * end_to_end.half_squares(made, images)
    total = total + 1e-3 * end_to_end.feature_loss(twin.features(made), twin.features(images))
    fooled = end_to_end.cross_entropy(judge(made), end_to_end.REAL)
    gradients = torch.autograd.grad(total + 2.0 * fooled, list(twin.generator.parameters()))
    for own, gradient in zip(trainer.generator_adam.first, gradients, strict=True):
        torch.testing.assert_close(own, 0.1 * gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())
    twin.discriminator.eval()
    real = end_to_end.cross_entropy(twin.discriminator(images), end_to_end.REAL)
    fake = end_to_end.cross_entropy(twin.discriminator(made.detach()), end_to_end.MADE)
    assert (figures["real"], figures["fake"]) == pytest.approx((real.item(), fake.item()), rel=1e-5)
    parameters = list(twin.discriminator.parameters())
    gradients = torch.autograd.grad(2.0 * (real + fake), parameters)
    for own, gradient, parameter in zip(trainer.discriminator_adam.first, gradients, parameters, strict=True):
        expected = 0.1 * (gradient + 4e-4 * parameter.detach())  # weights and biases of the discriminator decay
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_a_frozen_network_keeps_weights_counter_and_rate(frozen):
    trainer = make(options())
    trainer.step(batch(0))
    other = {"generator": "discriminator", "discriminator": "generator"}[frozen]
    trainer.suspension = Suspension(generator=frozen != "generator", discriminator=frozen != "discriminator")
    before = weights_of(trainer)
    figures = trainer.step(batch(1))
    after = weights_of(trainer)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith(other[0]) for name in changed)
    assert figures[f"{frozen}_updates"] == 1
    assert figures[f"{other}_updates"] == 2
    assert figures[f"trains_{frozen}"] == 0
    assert {"pixel", "feature", "real", "fake", "fooled"} <= set(figures)  # all losses are known all the same


def test_the_state_after_a_step_follows_its_losses():
    trainer = make(options())
    figures = trainer.step(batch(0))
    expected = Suspension().after(real=figures["real"], fake=figures["fake"], fooled=figures["fooled"])
    assert trainer.suspension == expected


def test_a_checkpoint_continues_to_the_very_bits(tmp_path):
    whole = make(options())
    for step in range(6):
        whole.step(batch(step))
    first = make(options())
    for step in range(3):
        first.step(batch(step))
    path = trainers.save(tmp_path / "state.pt", trainers.Checkpoint(3, "", first.state(), {}))
    torch.manual_seed(99)
    second = make(options(), seed=8)
    second.load(trainers.read(path, remedy="start again").trainer)
    for step in range(3, 6):
        second.step(batch(step))
    expected, found = io.BytesIO(), io.BytesIO()
    torch.save(whole.state(), expected)
    torch.save(second.state(), found)
    assert expected.getvalue() == found.getvalue()


def test_bfloat16_keeps_weights_and_losses_in_float32():
    trainer = make(options(precision="bfloat16"))
    exact = make(options())
    rough, fine = trainer.step(batch(0)), exact.step(batch(0))
    assert all(parameter.dtype == torch.float32 for parameter in trainer.generator.parameters())
    assert rough["pixel"] == pytest.approx(fine["pixel"], rel=2e-2)
    assert rough["pixel"] != fine["pixel"]


def test_pictures_show_target_and_image_side_by_side():
    trainer, shown = make(options()), batch(2)
    before = weights_of(trainer)
    pictures = trainer.pictures(shown)
    assert (pictures.shape, pictures.dtype) == ((4, 2, 36, 36, 3), np.uint8)
    np.testing.assert_array_equal(pictures[:, 0], shown["images"][:, ::-1].transpose(0, 2, 3, 1))
    images = end_to_end.images_of(trainer.generator, shown["voxels"], crop=36, device="cpu")
    np.testing.assert_array_equal(pictures[:, 1], np.rint(images.clip(0, 255)).astype(np.uint8))
    after = weights_of(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_trained_generator_is_taken_out_of_a_checkpoint():
    trainer = make(options())
    generator = end_to_end.trained(options(), trainer.state(), n_voxels=10)
    shown = batch(0)["voxels"]
    np.testing.assert_array_equal(
        end_to_end.images_of(generator, shown, crop=36, device="cpu"),
        end_to_end.images_of(trainer.generator, shown, crop=36, device="cpu"),
    )
