"""Generators made from a study's own images: eigenfaces, a variational autoencoder, a small PGGAN.

Eigenfaces: the principal components of the images, latents of deviation 1 in training. Variational (Kingma & Welling
2014): squared error plus the divergence of the latents from a standard normal. Spherical: latents of length sqrt(d),
noise on them in training, and a small generator of progressive growing as decoder.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.nets import autoencoders, pggan

Kind = Literal["linear", "decoder", "pggan"]
_BATCH, _RATE = 32, 2e-3
#: Step size of weights of variance 1 (equalised learning rate): steps of Adam are absolute, and these are larger.
_EQUALISED_RATE = 2e-2
#: Deviation of the noise on a spherical latent in training.
_NOISE = 0.1


@dataclass(frozen=True)
class Made:
    """A generator and the latents of all images.

    Attributes
    ----------
    state
        The generator's parameters, as `nets.latent_generators` loads them.
    latents
        (n_images, n_latents) float32.
    error
        Root mean squared error of the training images (as they were learnt) that come back, in units of 0-1.
    """

    state: dict[str, Tensor]
    latents: Array
    error: float


def make(
    kind: Kind,
    pictures: Array,
    training: Array,
    *,
    n_latents: int,
    epochs: int = 20,
    weight: float = 0.01,
    size: int | None = None,
    width: int = 32,
    seed: int = 0,
) -> Made:
    """Make a generator from training images, and encode all images.

    Parameters
    ----------
    kind
        linear (eigenfaces), decoder (variational autoencoder) or pggan (spherical autoencoder).
    pictures
        (n_images, S, S, 3) uint8; S is 8, 16, ... 256, or any size for eigenfaces.
    training
        Rows of the images that are learnt from; the others are only encoded.
    n_latents
        Numbers of a latent.
    epochs
        Passes through the training images; eigenfaces take none.
    weight
        decoder: of the divergence, relative to the summed squared error.
    size
        decoder, pggan: pixels that it makes, 8, 16, ... 256; images are resized to these, bilinear. A quarter of
        the pixels is about a quarter of the time. Default: those of the images.
    width
        decoder, pggan: channels of the layer of most pixels; others have up to four times as many. Half of it is about
        a quarter of the time.
    seed
        Of weights, order and noise: the same images and seed give the same generator on one kind of processor.

    Raises
    ------
    DataError
        If there are fewer training images than numbers of a latent, or a size cannot be encoded.
    """
    if not 1 <= n_latents < len(training):
        raise DataError(f"{len(training)} training images cannot fill {n_latents} numbers of a latent; take fewer")
    if kind == "linear":
        return _linear(pictures, training, n_latents)
    if size is None and pictures.shape[1] != pictures.shape[2]:
        raise DataError(
            f"{kind} encodes square images, but the stimuli are {pictures.shape[1]} x {pictures.shape[2]} pixels; give "
            "--size, to which they are resized whatever their aspect"
        )
    try:
        autoencoders.n_halvings(size or pictures.shape[1])
    except ValueError as error:
        raise DataError(str(error)) from error
    if size is not None and pictures.shape[1:3] != (size, size):
        pictures = _resized(pictures, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = _networks(kind, pictures.shape[1], n_latents, width=width, seed=seed)
        return _trained(kind, networks, pictures, training, n_latents, epochs=epochs, weight=weight, seed=seed)


def _resized(pictures: Array, size: int) -> Array:
    """Return images (n, size, size, 3) uint8."""
    made = np.empty((len(pictures), size, size, 3), np.uint8)
    for i, one in enumerate(pictures):
        small = functional.interpolate(_tensors(one[None]), (size, size), mode="bilinear", antialias=True)
        made[i] = (255 * small[0]).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return made


def _linear(pictures: Array, training: Array, n: int) -> Made:
    """Eigenfaces by the Gram matrix of the training images, so that only as many numbers as images are squared."""
    shape = (3, *pictures.shape[1:3])
    own = _tensors(pictures[training]).numpy().reshape(len(training), -1).astype(np.float64)
    mean = own.mean(axis=0)
    own -= mean
    values, vectors = np.linalg.eigh(own @ own.T)
    values, vectors = values[::-1][:n], vectors[:, ::-1][:, :n]
    if values[-1] <= 1e-9 * values[0]:
        raise DataError(f"the training images vary in fewer than {n} ways; take fewer numbers of a latent")
    components = (vectors.T @ own) / np.sqrt(len(training))  # (n, pixels): length is the deviation along it
    inverse = components / np.square(components).sum(axis=1, keepdims=True)
    everything = _tensors(pictures).numpy().reshape(len(pictures), -1)
    latents = (everything - mean) @ inverse.T
    error = float(np.sqrt(np.mean(np.square(own - latents[training] @ components))))
    state = {
        "mean": torch.from_numpy(mean.astype(np.float32).reshape(shape)),
        "components": torch.from_numpy(components.astype(np.float32).reshape(n, *shape)),
    }
    return Made(state, latents.astype(np.float32), error)


def _tensors(pictures: Array) -> Tensor:
    """Return images (n, 3, S, S) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def _networks(kind: Kind, size: int, n: int, *, width: int, seed: int) -> tuple[nn.Module, nn.Module]:
    if kind == "decoder":
        return autoencoders.Encoder(size, 2 * n, width=width), autoencoders.Decoder(size, n, width=width)
    generator = autoencoders.small_pggan(size, n, width=width)
    pggan.fill_normal(generator, seed)
    return autoencoders.Encoder(size, n, width=width), generator


def _spherical(code: Tensor) -> Tensor:
    return pggan.pixel_norm(code)


def _trained(
    kind: Kind,
    networks: tuple[nn.Module, nn.Module],
    pictures: Array,
    training: Array,
    n: int,
    *,
    epochs: int,
    weight: float,
    seed: int,
) -> Made:
    encoder, generator = networks
    rate = _EQUALISED_RATE if kind == "pggan" else _RATE
    groups: list[dict[str, Any]] = [
        {"params": list(encoder.parameters())},
        {"params": list(generator.parameters()), "lr": rate},
    ]
    optimiser = torch.optim.Adam(groups, lr=_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        rows = order.permutation(training)
        for start in range(0, len(rows), _BATCH):
            true = _tensors(pictures[rows[start : start + _BATCH]])
            loss = _loss(kind, encoder, generator, true, n, weight=weight)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        schedule.step()
    latents, squares = [], 0.0
    known = np.isin(np.arange(len(pictures)), training)
    with torch.no_grad():
        for start in range(0, len(pictures), _BATCH):
            true = _tensors(pictures[start : start + _BATCH])
            code = encoder(true)[:, :n]
            code = code if kind == "decoder" else _spherical(code)
            error = (_image(kind, generator, code) - true).square().mean(dim=(1, 2, 3)).numpy()
            squares += float(error[known[start : start + _BATCH]].sum())
            latents.append(code.numpy())
    state = {key: value.detach().clone() for key, value in copy.copy(generator.state_dict()).items()}
    return Made(state, np.concatenate(latents), float(np.sqrt(squares / len(training))))


def _image(kind: Kind, generator: nn.Module, code: Tensor) -> Tensor:
    """Return images on 0-1."""
    made: Tensor = generator(code)
    return made if kind == "decoder" else (made + 1) / 2


def _loss(kind: Kind, encoder: nn.Module, generator: nn.Module, true: Tensor, n: int, *, weight: float) -> Tensor:
    """Return the mean over images: summed squared error, and for a variational one the weighted divergence."""
    code = encoder(true)
    if kind == "decoder":
        mean, log_variance = code[:, :n], code[:, n:].clamp(-10, 10)
        drawn = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        error = (_image(kind, generator, drawn) - true).square().sum(dim=(1, 2, 3))
        total: Tensor = (error + weight * divergence).mean()
        return total
    code = _spherical(code)
    drawn = _spherical(code + _NOISE * torch.randn_like(code))
    error = (_image(kind, generator, drawn) - true).square().sum(dim=(1, 2, 3))
    return error.mean()
