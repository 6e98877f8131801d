"""What is optimised: pixels, or a generator's input; how it becomes images, its bounds, and where it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.icnn_options import GeneratorLatent, Momentum
from hpc_recon.core.options import IcnnOptions
from hpc_recon.core.sampling import seed_of
from hpc_recon.methods.targets import Targets
from hpc_recon.nets import latents as generators
from hpc_recon.nets import option_files
from hpc_recon.nets.preprocess import resize
from hpc_recon.nets.taps import Net

#: White, where momentum counts pixels.
_LEVELS = 255.0


class Latent(Protocol):
    """Flat latents (n, d) and the images that they are."""

    @property
    def box(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of each number, (d,)."""
        ...

    def images(self, flat: Tensor) -> Tensor:
        """Return RGB images (n, 3, H, W), [0, 1] or a little beyond; differentiable."""
        ...

    def start(self, given: Targets, name: str, options: IcnnOptions, attempt: int) -> Array:
        """Return where one image starts, (d,) float32 within the box; random by seed, name and attempt alone."""
        ...


@dataclass(frozen=True)
class Pixels:
    """Images of `size`; the latent is `(RGB on [0, 1] - centre) * scale`."""

    size: tuple[int, int]
    #: (3, 1, 1) each: what is subtracted from pixels, and the colour of `start: mean_rgb`.
    centre: Tensor
    mean_rgb: Tensor
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image."""
        return (3, *self.size)

    @property
    def box(self) -> tuple[Tensor, Tensor]:
        """Bounds of pixels in [0, 1]."""
        low, high = (
            ((bound - self.centre) * self.scale).expand(self.shape).flatten()
            for bound in (torch.zeros(()).to(self.centre), 1.0)
        )
        return low, high

    def images(self, flat: Tensor) -> Tensor:
        """Return the images."""
        images = flat.reshape(-1, *self.shape)
        return images if self.scale == 1.0 else images / self.scale + self.centre

    def start(self, given: Targets, name: str, options: IcnnOptions, attempt: int) -> Array:
        """Return the start of one image."""
        rng = _rng(given, name, attempt)
        if options.first == "uniform":
            image = rng.integers(0, 256, self.shape).astype(np.float32) / np.float32(_LEVELS)
        elif options.first in ("gray", "zeros"):
            image = np.full(self.shape, 0.5 if options.first == "gray" else 0.0, np.float32)
        elif options.first == "mean_rgb":
            image = np.broadcast_to(self.mean_rgb.cpu().numpy(), self.shape)
        else:
            image = self._resized(
                given.start if options.start_file is None else option_files.image(options.start_file, what="start_file")
            )
        image = image + options.noise_of(attempt) * rng.standard_normal(self.shape, dtype=np.float32)
        flat = (np.clip(image, 0.0, 1.0) - self.centre.cpu().numpy()) * self.scale
        return np.asarray(flat.ravel(), np.float32)

    def _resized(self, image: Array) -> Array:
        tensor = torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
        return np.asarray(resize(tensor, self.size)[0].numpy())


@dataclass(frozen=True)
class GeneratorInput:
    """The input of a generator; `low` and `high` (d,)."""

    generator: generators.ImageGenerator
    low: Tensor
    high: Tensor

    @property
    def box(self) -> tuple[Tensor, Tensor]:
        """Bounds of the study."""
        return self.low, self.high

    def images(self, flat: Tensor) -> Tensor:
        """Return the generator's images."""
        made: Tensor = self.generator(flat)
        return made

    def start(self, given: Targets, name: str, options: IcnnOptions, attempt: int) -> Array:
        """Return the start of one latent."""
        rng, n = _rng(given, name, attempt), len(self.low)
        if options.start_file is not None:
            latent = read_latent(options.start_file, n=n)
        elif options.first == "normal":
            latent = rng.standard_normal(n, dtype=np.float32)
        else:
            latent = np.zeros(n, np.float32)
        latent = latent + options.noise_of(attempt) * rng.standard_normal(n, dtype=np.float32)
        return np.asarray(np.clip(latent, self.low.cpu().numpy(), self.high.cpu().numpy()), np.float32)


def make(options: IcnnOptions, net: Net, *, stimuli: tuple[int, int], device: str) -> Latent:
    """Return the latent of a study's options.

    Raises
    ------
    StudyError, DataError
        If the generator, its weights or its bounds do not fit (`nets.latents`).
    """
    if isinstance(options.latent, GeneratorLatent):
        loaded = generators.load(options.latent, size=net.size, device=device)
        low, high = (torch.from_numpy(bound).to(device) for bound in generators.box(options.latent))
        return GeneratorInput(loaded, low, high)
    size = working_size(options, stimuli=stimuli, network=net.size)
    mean = net.preprocess.mean_rgb().to(device)
    if isinstance(options.optimiser, Momentum):
        return Pixels(size, mean, mean, _LEVELS)
    return Pixels(size, torch.zeros_like(mean), mean)


def working_size(options: IcnnOptions, *, stimuli: tuple[int, int], network: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of optimised pixels: the option's, else the smaller of stimuli and network input."""
    if options.image_size is not None:
        return options.image_size, options.image_size
    return min(stimuli, network, key=lambda size: size[0] * size[1])


def read_latent(path: Path, *, n: int) -> Array:
    """Read a generator's input from a `.npy`, float32 (n,); any shape of n finite numbers.

    Raises
    ------
    DataError
        If it is something else.
    """
    found = option_files.numbers(path, what=f"start_file {path}", remedy=f"give a .npy of {n} numbers")
    if found.dtype.kind not in "iuf" or found.size != n or not np.isfinite(found).all():
        raise DataError(
            f"start_file {path} must hold {n} finite numbers, but holds {found.dtype} of shape {found.shape}; give a "
            "latent of this generator"
        )
    return np.asarray(found, np.float32).ravel()


def _rng(given: Targets, name: str, attempt: int) -> np.random.Generator:
    """Return the random numbers of one image and start; the first start's do not depend on how many there are."""
    return np.random.default_rng(seed_of(given.seed, "icnn", name, *([attempt] if attempt else [])))
