"""Generators of a study's own images: eigenfaces against scikit-learn, trained ones better than the mean image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentGenerator
from hpc_recon.methods import autoencoder
from hpc_recon.nets import latent_generators


def _discs(n, size=16):
    """Discs of random place and colour on grey."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:size, :size]
    made = np.full((n, size, size, 3), 128, np.uint8)
    for image in made:
        cy, cx = rng.uniform(4, 12, 2)
        image[(y - cy) ** 2 + (x - cx) ** 2 < 16] = rng.integers(0, 256, 3)
    return made


def _ramps(n, size=8):
    """Images from one random colour on the left to another on the right."""
    x = np.mgrid[:size, :size][1][..., None] / (size - 1)
    left, right = np.random.default_rng(0).integers(40, 216, (2, n, 1, 1, 3))
    return (left + (right - left) * x).astype(np.uint8)


PICTURES, TRAINING = _discs(96), np.arange(80)
RAMPS, RAMPS_TRAINING = _ramps(280), np.arange(256)


def test_eigenfaces_are_scikit_learns_whitened_components():
    made = autoencoder.make("linear", PICTURES, TRAINING, n_latents=5)
    flat = PICTURES.transpose(0, 3, 1, 2).reshape(96, -1) / 255
    known = PCA(5, svd_solver="full").fit(flat[:80])
    scores = known.transform(flat)
    expected = scores / scores[:80].std(axis=0)
    signs = np.sign((made.latents * expected).sum(axis=0))
    np.testing.assert_allclose(made.latents * signs, expected, atol=2e-3)
    back = known.inverse_transform(scores)
    assert made.error == pytest.approx(np.sqrt(np.mean((back - flat)[:80] ** 2)), rel=1e-3)


@pytest.mark.parametrize("kind", ["decoder", "pggan"])
def test_trained_generators_give_back_unseen_images_better_than_their_mean_and_again_with_the_seed(tmp_path, kind):
    made = autoencoder.make(kind, RAMPS, RAMPS_TRAINING, n_latents=8, epochs=10, seed=1)
    (tmp_path / "g.pt").write_bytes(latent_generators.state_bytes(made.state))
    options = LatentGenerator(kind=kind, weights=tmp_path / "g.pt")
    back = latent_generators.render(made.latents[256:], options, size=None, device="cpu")
    true = RAMPS[256:] / 255
    mean = RAMPS[:256].mean(axis=0) / 255
    assert np.square(back - true).mean() < 0.8 * np.square(mean - true).mean()
    if kind == "pggan":
        np.testing.assert_allclose(np.linalg.norm(made.latents, axis=1), 8**0.5, rtol=1e-3)
    short = [autoencoder.make(kind, RAMPS, RAMPS_TRAINING[:64], n_latents=4, epochs=1, seed=s) for s in (3, 3, 4)]
    assert all(torch.equal(short[0].state[key], short[1].state[key]) for key in short[0].state)
    assert not np.array_equal(short[0].latents, short[2].latents)


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(DataError, match="80 training images cannot fill 80 numbers"):
        autoencoder.make("linear", PICTURES, TRAINING, n_latents=80)
    with pytest.raises(DataError, match="not of 12"):
        autoencoder.make("decoder", PICTURES[:, :12, :12], TRAINING, n_latents=4)
    with pytest.raises(DataError, match="encodes square images, but the stimuli are 16 x 8 pixels; give --size"):
        autoencoder.make("pggan", PICTURES[:, :, :8], TRAINING, n_latents=4)
    with pytest.raises(DataError, match="vary in fewer than 2 ways"):
        autoencoder.make("linear", np.repeat(PICTURES[:1], 5, axis=0), np.arange(5), n_latents=2)


@pytest.mark.parametrize("kind", ["decoder", "pggan"])
def test_a_smaller_generator_renders_at_its_own_size(tmp_path, kind):
    made = autoencoder.make(kind, PICTURES, TRAINING, n_latents=4, epochs=1, size=8, width=4)
    (tmp_path / "g.pt").write_bytes(latent_generators.state_bytes(made.state))
    options = LatentGenerator(kind=kind, weights=tmp_path / "g.pt")
    shape = latent_generators.describe(options)
    assert (shape.output_size, shape.n_inputs) == ((8, 8), 4)
    whole = autoencoder.make(kind, PICTURES, TRAINING, n_latents=4, epochs=1, width=8)
    assert sum(v.numel() for v in made.state.values()) < sum(v.numel() for v in whole.state.values())
    small = autoencoder._resized(PICTURES[:2], 8)
    blocks = PICTURES[:2].reshape(2, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    assert np.abs(small - blocks).mean() < 6  # bilinear is a little wider than a block
    with pytest.raises(DataError, match="8, 16, 32"):
        autoencoder.make(kind, PICTURES, TRAINING, n_latents=4, size=12)
