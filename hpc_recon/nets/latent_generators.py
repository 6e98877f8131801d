"""Generators that render decoded latents: which there are, their sizes, loading, and images in [0, 1]."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.latent_options import LatentGenerator
from hpc_recon.nets import autoencoders, foreign, latents, pggan, weights
from hpc_recon.nets.identity import module_sha256, random_seed
from hpc_recon.nets.latents import Shape


class Linear(nn.Module):
    """An image as a mean plus components: latents (n, d) to RGB (n, 3, H, W)."""

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        super().__init__()
        self.input_shape = (int(components.shape[0]),)
        self.mean = nn.Parameter(mean)  # (3, H, W)
        self.components = nn.Parameter(components)  # (d, 3, H, W)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images."""
        image: Tensor = self.mean + torch.tensordot(latents, self.components, dims=1)
        return image


class Renderer(nn.Module):
    """A generator with the meaning of its output: latents (n, n_inputs) to RGB (n, 3, H, W), black 0 and white 1."""

    def __init__(self, body: nn.Module, input_shape: tuple[int, ...], levels: tuple[float, float]) -> None:
        super().__init__()
        self.body, self.input_shape, self.levels = body, input_shape, levels

    def forward(self, latents: Tensor) -> Tensor:
        """Return images, not clipped; differentiable."""
        made = self.body(latents.reshape(len(latents), *self.input_shape))
        black, white = self.levels
        image: Tensor = (made - black) / (white - black)
        return image


def identity(options: LatentGenerator) -> dict[str, Any]:
    """Return what determines a generator's images; files count by their content.

    Raises
    ------
    StudyError
        If a file is missing or differs from `sha256`.
    """
    found: dict[str, Any] = {"kind": options.kind, "levels": list(options.levels)}
    if options.file is not None:
        found["weights"] = latents.expected_content(
            options.file, latents.content(options.file, "generator.weights"), options.sha256
        )
    elif str(options.weights) != "own":
        found |= {"weights": options.weights, "resolution": options.resolution, "n_inputs": options.n_inputs}
    if foreign.kind(options.kind) == "python":
        found["code"] = module_sha256(options.kind.split(":")[1])
    return found


def describe(options: LatentGenerator) -> Shape:
    """Return the sizes of a generator; one of random weights is not allocated.

    Raises
    ------
    DataError, StudyError
        As `load`.
    """
    return _describe(options, str(sorted(identity(options).items(), key=str)))


@lru_cache(maxsize=8)
def _describe(options: LatentGenerator, _stamp: str) -> Shape:
    with torch.inference_mode(mode=False):
        if options.file is None and options.kind == "pggan":
            with torch.device("meta"):
                body: nn.Module = pggan.Pggan(_design(options))
        else:
            body = _body(options)
        device = next((p.device for p in body.parameters()), torch.device("cpu"))
        latent = torch.ones(1, *_input_shape(options, body), device=device)
        found = latents.measured(body, latent, name=options.kind)
    # A sum without a module of its own has no activation that was counted, but an image all the same.
    return replace(found, n_activations=max(found.n_activations, 3 * found.output_size[0] * found.output_size[1]))


def _input_shape(options: LatentGenerator, body: nn.Module) -> tuple[int, ...]:
    return latents.input_shape_of(body, name=options.kind, example="(512,)")


def load(options: LatentGenerator, *, device: str = "cpu") -> Renderer:
    """Load a generator in evaluation mode, without gradients on weights.

    Raises
    ------
    DataError
        If a file does not hold the parameters of its kind.
    StudyError
        If a file is missing or differs from `sha256`, or your own module does not fit.

    Notes
    -----
    The last two of a process are kept, known by kind, content of the weights and device; treat them as read-only.
    """
    return _load(options, device, str(sorted(identity(options).items(), key=str)))


@lru_cache(maxsize=2)
def _load(options: LatentGenerator, device: str, _stamp: str) -> Renderer:
    with torch.inference_mode(mode=False), torch.random.fork_rng(devices=[]):
        body = _body(options)
        made = Renderer(body, _input_shape(options, body), options.levels)
        return made.to(device).eval().requires_grad_(requires_grad=False)


def render(latents: Array, options: LatentGenerator, *, size: tuple[int, ...] | None, device: str) -> Array:
    """Render latents one at a time, so that memory does not grow with their number.

    Parameters
    ----------
    latents
        (n, n_inputs) float32.
    size
        Height and width to resize to (bicubic, antialiased where it shrinks); None: as the generator makes them.

    Returns
    -------
    Array
        (n, H, W, 3) float32, RGB, clipped to [0, 1].

    Raises
    ------
    DataError
        If a latent has not as many numbers as the generator reads, or an image is not finite.
    """
    shape = describe(options)
    if latents.ndim != 2 or latents.shape[1] != shape.n_inputs:
        raise DataError(
            f"the generator {options.kind} reads latents of {shape.n_inputs:,} numbers, but got {latents.shape}; give "
            "the layers that make up its latent, in their order"
        )
    generator = load(options, device=device)
    made = []
    with torch.inference_mode():
        for latent in torch.from_numpy(np.ascontiguousarray(latents, np.float32)):
            image = generator(latent[None].to(device)).float()
            if size is not None and tuple(image.shape[2:]) != tuple(size):
                image = functional.interpolate(image, tuple(size), mode="bicubic", antialias=True, align_corners=False)
            made.append(image[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    images = np.stack(made) if made else np.empty((0, *(size or shape.output_size), 3), np.float32)
    if not np.isfinite(images).all():
        raise DataError(f"the generator {options.kind} made an image that is not finite; are its weights whole?")
    return images


def _design(options: LatentGenerator) -> pggan.Design:
    design = pggan.of_resolution(options.resolution)
    return pggan.Design(options.n_inputs, design.channels)


def _body(options: LatentGenerator) -> nn.Module:
    file = options.file
    if foreign.kind(options.kind) == "python":
        body = foreign.build(options.kind)
        if file is not None:
            state = weights.read_state(file)
            weights.require_match(state, body.state_dict(), path=file, architecture=options.kind)
            body.load_state_dict(state)
        elif str(options.weights) != "own":
            weights.fill_random(body, random_seed(str(options.weights)))
        return body.eval()
    if options.kind == "pggan":
        if file is not None:
            return pggan.load(file)
        made = pggan.Pggan(_design(options))
        pggan.fill_normal(made, random_seed(str(options.weights)))
        return made.eval()
    assert file is not None, "the study was validated"
    if options.kind == "linear":
        return _linear(file)
    return autoencoders.load_decoder(file)


def _linear(file: Path) -> Linear:
    state = weights.read_state(file)
    mean, components = state.get("mean"), state.get("components")
    fits = mean is not None and components is not None and components.ndim == 4 and components.shape[1:] == mean.shape
    if mean is None or components is None or not fits or mean.shape[0] != 3:
        shown = ", ".join(f"{key} {tuple(values.shape)}" for key, values in state.items())
        raise DataError(
            f"{file} must hold mean (3, height, width) and components (n, 3, height, width), but holds {shown}; make "
            "it with `python -m hpc_recon.generator`"
        )
    return Linear(mean.float(), components.float())


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a file of plain tensors, as `weights.read_state` reads it."""
    payload = io.BytesIO()
    torch.save(dict(state), payload)
    return payload.getvalue()
