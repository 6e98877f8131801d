"""Small convolutional autoencoders whose decoders serve as generators: trained on a study's own images in minutes.

Images of size 4 x 2^n are halved n times by convolutions of stride 2 to 4 x 4 maps. A *variational* one (Kingma &
Welling 2014) has a plain latent of mean and variance, and a decoder of nearest-neighbour doublings; a *spherical* one
has latents of length sqrt(d), to which noise is added in training, and the generator of `pggan` as its decoder.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.errors import DataError
from hpc_recon.nets import pggan
from hpc_recon.nets.weights import read_state, require_match

_SLOPE, _FIRST = 0.2, 4


def n_halvings(size: int) -> int:
    """Return how often an image is halved to 4 pixels.

    Raises
    ------
    ValueError
        If its size is none of 8, 16, ... 256.
    """
    n = (size // _FIRST).bit_length() - 1
    if size != _FIRST * 2**n or not 1 <= n <= 6:
        raise ValueError(f"images of 8, 16, 32 ... 256 pixels are encoded, not of {size}; choose one of these sizes")
    return n


class Encoder(nn.Module):
    """RGB images (n, 3, S, S) in [0, 1] to (n, n_outputs)."""

    def __init__(self, size: int, n_outputs: int, *, width: int = 32) -> None:
        super().__init__()
        widths = [min(width * 2**i, 4 * width) for i in range(n_halvings(size))]
        self.steps = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1)
            for before, after in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.head = nn.Linear(widths[-1] * _FIRST * _FIRST, n_outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the numbers of each image."""
        maps = 2 * pictures - 1
        for step in self.steps:
            maps = functional.leaky_relu(step(maps), _SLOPE)
        found: Tensor = self.head(maps.flatten(1))
        return found


class Decoder(nn.Module):
    """Latents (n, n_latents) to RGB images (n, 3, S, S) in (0, 1)."""

    def __init__(self, size: int, n_latents: int, *, width: int = 32) -> None:
        super().__init__()
        self.input_shape = (n_latents,)
        n = n_halvings(size)
        widths = [min(width * 2 ** (n - 1 - i), 4 * width) for i in range(n)]
        self.first = widths[0]
        self.dense = nn.Linear(n_latents, widths[0] * _FIRST * _FIRST)
        self.steps = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.rgb = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images."""
        maps = functional.leaky_relu(self.dense(latents), _SLOPE).reshape(-1, self.first, _FIRST, _FIRST)
        for step in self.steps:
            maps = functional.interpolate(maps, scale_factor=2, mode="nearest")
            maps = functional.leaky_relu(step(maps), _SLOPE)
        return torch.sigmoid(self.rgb(maps))


def small_pggan(size: int, n_latents: int, *, width: int = 32) -> pggan.Pggan:
    """Return a generator of progressive growing with few channels, for images of `size`."""
    n = n_halvings(size)
    channels = tuple(min(width * 2 ** (n - i), 2 * width) for i in range(n + 1))
    return pggan.Pggan(pggan.Design(n_latents, channels))


def load_decoder(path: Path) -> Decoder:
    """Load the decoder of a variational autoencoder; its sizes follow from the file.

    Raises
    ------
    DataError
        If the file holds something else.
    """
    state = read_state(path)
    n = sum(key.startswith("steps.") and key.endswith("weight") for key in state)
    if not {"dense.weight", "rgb.weight"} <= set(state) or not 1 <= n <= 6:
        raise DataError(
            f"{path} does not hold a decoder (dense, steps.0, ..., rgb), but {', '.join(list(state)[:4])}; make it "
            "with `python -m hpc_recon.generator`"
        )
    width = int(state["rgb.weight"].shape[1])
    made = Decoder(_FIRST * 2**n, int(state["dense.weight"].shape[1]), width=width)
    require_match(state, made.state_dict(), path=path, architecture="a decoder")
    made.load_state_dict(state)
    return made.eval().requires_grad_(requires_grad=False)
