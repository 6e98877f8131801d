"""Rendering of latents: one at a time, resized, clipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentGenerator, LatentOptions
from hpc_recon.core.network_options import Network
from hpc_recon.methods import latent
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import latent_generators

GENERATOR = LatentGenerator(kind="pggan", weights="random:3", resolution=8, n_inputs=5)


def _latents(n):
    return np.random.default_rng(0).standard_normal((n, 5)).astype(np.float32)


def test_an_image_does_not_depend_on_those_beside_it_and_lies_in_0_to_1():
    together = latent_generators.render(_latents(4), GENERATOR, size=None, device="cpu")
    assert together.shape == (4, 8, 8, 3)
    assert 0 <= together.min() < together.max() <= 1
    np.testing.assert_array_equal(
        latent_generators.render(_latents(4)[2:3], GENERATOR, size=None, device="cpu")[0], together[2]
    )


def test_images_are_resized_as_torch_does():
    whole = latent_generators.render(_latents(1), GENERATOR, size=None, device="cpu")[0]
    small = latent_generators.render(_latents(1), GENERATOR, size=(4, 4), device="cpu")[0]
    assert small.shape == (4, 4, 3)
    # Antialiased: the mean of an image is kept where little is clipped.
    assert abs(small.mean() - whole.mean()) < 0.05


def test_layers_make_up_a_latent_in_their_order():
    network = Network(architecture="vgg11_quarter", layers=("a", "b"))
    options = LatentOptions(method="latent", network="z", generator=GENERATOR, layers=("b", "a"))
    z = _latents(2)
    features = {"a": z[:, 3:], "b": z[:, :3]}
    targets = Targets(("x", "y"), features, np.zeros((8, 8, 3), np.float32))
    made = latent.reconstruct(targets, options, network=network, device="cpu")
    np.testing.assert_array_equal(made.images, latent_generators.render(z, GENERATOR, size=None, device="cpu"))
    assert made.losses.shape == (2, 0)


def test_latents_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"reads latents of 5 numbers, but got \(2, 4\)"):
        latent_generators.render(_latents(2)[:, :4], GENERATOR, size=None, device="cpu")


def test_weights_that_are_not_finite_are_noticed(tmp_path):
    torch.save({"mean": torch.full((3, 4, 4), float("nan")), "components": torch.ones(2, 3, 4, 4)}, tmp_path / "n.pt")
    options = LatentGenerator(kind="linear", weights=tmp_path / "n.pt")
    with pytest.raises(DataError, match="not finite"):
        latent_generators.render(np.ones((1, 2), np.float32), options, size=None, device="cpu")
