"""The networks of end-to-end reconstruction (Shen, Dwivedi, Majima, Horikawa & Kamitani 2019) and their comparator.

Images are BGR on 0-255 minus `MEAN`, unbounded, (n, 3, crop, crop). With `Sizes.published(n_voxels)` the numbers of
parameters and the sizes of maps are those of the published prototxts; other sizes keep the design.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.network_options import Network
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.train_options import Comparator, EndToEndTraining
from hpc_recon.nets import zoo
from hpc_recon.nets.identity import preprocessing
from hpc_recon.nets.preprocess import Preprocess
from hpc_recon.nets.taps import Net, activations

#: Channel means that are subtracted from images, BGR on 0-255; whole numbers, as in the published training.
MEAN = (104.0, 117.0, 123.0)
#: Slope of the generator's LeakyReLU.
SLOPE = 0.3
#: Factors of the initial standard deviation sqrt(2 / fan-in): of convolutions that enlarge, and of others.
ENLARGING, REFINING = 1.8, 0.9
#: The same of the discriminator's first convolution and its two fully connected layers.
SMALL = 0.1
_CLASSES, _DROPOUT = 2, 0.5
#: Channels after each enlargement (4 pixels to 8, 16, ...) as published; the last enlargement makes the image.
_ENLARGED = (256, 256, 128, 64, 32, 32)
#: Channels after the refining convolution behind each of the first three enlargements.
_REFINED = (512, 256, 128)
#: Height and width of the first map of the generator, and its channels.
_FIRST, _FIRST_CHANNELS = 4, 256
#: Crops at least so large are looked at with the published stride of 4.
_LARGE = 128


@dataclass(frozen=True)
class Sizes:
    """What the networks' shapes follow from: voxels, pixels of the crop, fully connected units, width of the maps."""

    n_voxels: int
    crop: int
    dense: int
    width: float

    @classmethod
    def published(cls, n_voxels: int) -> Sizes:
        """Return the published sizes for a number of voxels."""
        return cls(n_voxels, 227, 4096, 1.0)

    @classmethod
    def of(cls, options: EndToEndTraining, n_voxels: int) -> Sizes:
        """Return the sizes that the options ask for."""
        return cls(n_voxels, options.crop, options.dense, options.width)

    def channels(self, published: int) -> int:
        """Return a published number of channels times the width, 4 at least.

        >>> Sizes(10, 60, 256, 0.125).channels(256), Sizes(10, 60, 256, 0.125).channels(8)
        (32, 4)
        """
        return max(4, round(published * self.width))

    @property
    def n_enlargements(self) -> int:
        """How often 4 pixels are doubled to reach the crop.

        >>> Sizes.published(11726).n_enlargements, Sizes(10, 60, 256, 0.125).n_enlargements
        (6, 4)
        """
        return max(2, int(np.ceil(np.log2(self.crop / _FIRST))))


class Generator(nn.Module):
    """From z-scored voxels (n, n_voxels) to images (n, 3, crop, crop): the middle of a slightly larger output.

    Fully connected layers have biases; convolutions have none (the published ones are fixed at 0). No normalisation
    and no dropout: training and test behave alike.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.crop = sizes.crop
        dense = (sizes.n_voxels, sizes.dense, sizes.dense)
        first = sizes.channels(_FIRST_CHANNELS)
        for name, inputs, outputs in zip(
            ("defc7", "defc6", "defc5"), dense, (*dense[1:], first * _FIRST**2), strict=True
        ):
            self.add_module(name, nn.Linear(inputs, outputs))
        self.front = ("defc7", "defc6", "defc5")
        self.first = (first, _FIRST, _FIRST)
        self.back: list[str] = []
        channels = first
        for number in range(sizes.n_enlargements):
            level, is_last = 5 - number, number == sizes.n_enlargements - 1
            enlarged = 3 if is_last else sizes.channels(_ENLARGED[min(number, len(_ENLARGED) - 1)])
            self._add(f"deconv{level}", channels, enlarged, kernel=4, stride=2)
            channels = enlarged
            if number < len(_REFINED) and not is_last:
                refined = sizes.channels(_REFINED[number])
                self._add(f"conv{level}_1", channels, refined, kernel=3, stride=1)
                channels = refined

    def _add(self, name: str, inputs: int, outputs: int, *, kernel: int, stride: int) -> None:
        self.add_module(name, nn.ConvTranspose2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False))
        self.back.append(name)

    def forward(self, voxels: Tensor) -> Tensor:
        """Return images (n, 3, crop, crop), BGR on 0-255 minus the mean."""
        values = voxels
        for name in self.front:
            values = functional.leaky_relu(self.get_submodule(name)(values), SLOPE)
        values = values.reshape(-1, *self.first)
        for name in self.back[:-1]:
            values = functional.leaky_relu(self.get_submodule(name)(values), SLOPE)
        return middle(self.get_submodule(self.back[-1])(values), self.crop)


def middle(images: Tensor, size: int) -> Tensor:
    """Return the middle of images (n, 3, H, W); odd margins are rounded down: 227 of 256 begins at 14."""
    top, left = ((n - size) // 2 for n in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


class Discriminator(nn.Module):
    """From images (n, 3, crop, crop) to scores of two classes: 0 = a stimulus, 1 = made by the generator.

    It sees no brain activity. Dropout is active whenever the module is in training mode, which it always is here.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        stem = 4 if sizes.crop >= _LARGE else 2
        widths = (3, *(sizes.channels(n) for n in (32, 64, 128, 256, 256)))
        shapes = ((7, stem), (5, 1), (3, 2), (3, 1), (3, 2))
        self.maps = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, stride=stride)
            for (inputs, outputs), (kernel, stride) in zip(pairwise(widths), shapes, strict=True)
        )
        self.fc1 = nn.Linear(widths[-1], sizes.channels(256))
        self.fc2 = nn.Linear(sizes.channels(256), _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (n, 2)."""
        values = images
        for convolution in self.maps:
            values = functional.relu(convolution(values))
        values = functional.dropout(values.mean(dim=(2, 3)), _DROPOUT, training=self.training)
        values = functional.dropout(functional.relu(self.fc1(values)), _DROPOUT, training=self.training)
        scores: Tensor = self.fc2(values)
        return scores


def initialise(module: nn.Module, deviations: dict[str, float], *, seed: int) -> None:
    """Fill weights with normal numbers of the given standard deviations and biases with 0, in place.

    Each weight has a generator of its own, seeded by its name, so that it depends on nothing else; numbers are drawn
    on the CPU whatever the device.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
                continue
            drawn = torch.Generator().manual_seed(seed_of(seed, "weights", type(module).__name__, name) % 2**62)
            values = torch.empty(parameter.shape).normal_(0.0, deviations[name], generator=drawn)
            parameter.copy_(values)


def generator_deviations(generator: Generator) -> dict[str, float]:
    """Return the standard deviation of each initial weight: a factor times sqrt(2 / fan-in).

    The fan-in of a transposed convolution is Caffe's: output channels times the area of the kernel.
    """
    found = {}
    for name, parameter in generator.named_parameters():
        if parameter.ndim == 2:
            found[name] = float(np.sqrt(2.0 / parameter.shape[1]))
        elif parameter.ndim == 4:
            factor = ENLARGING if name.startswith("deconv") else REFINING
            found[name] = factor * float(np.sqrt(2.0 / np.prod(parameter.shape[1:])))
    return found


def discriminator_deviations(discriminator: Discriminator) -> dict[str, float]:
    """Return the standard deviation of each initial weight: sqrt(2 / fan-in), a tenth of it at both ends."""
    found = {}
    for name, parameter in discriminator.named_parameters():
        if parameter.ndim > 1:
            factor = SMALL if name in ("maps.0.weight", "fc1.weight", "fc2.weight") else 1.0
            found[name] = factor * float(np.sqrt(2.0 / np.prod(parameter.shape[1:])))
    return found


def comparator_network(options: Comparator, *, crop: int) -> Network:
    """Return the comparator as a network of the zoo whose input is the crop."""
    return Network(
        architecture=options.architecture,
        weights=str(options.weights),
        sha256=options.sha256,
        preprocessing=options.preprocessing,
        image_size=crop,
        layers=options.layers,
    )


class _FromMinusMean(Preprocess):
    """From BGR on 0-255 minus `MEAN` to what weights expect; Caffe's expect just that."""

    offset: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.register_buffer("offset", torch.tensor(MEAN).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return images (n, 3, H, W) as the weights expect them; differentiable."""
        if self.kind == "caffe":
            return images
        return super().forward((images + self.offset).flip(1) / 255.0)


class Features:
    """The comparator: activations of its layers, without gradients on weights.

    Parameters
    ----------
    options, crop
        The network, and the size of the images that it is given.
    """

    def __init__(self, options: Comparator, *, crop: int, device: str) -> None:
        network = comparator_network(options, crop=crop)
        loaded = zoo.load(network, image_size=crop, device=device)
        preprocess = _FromMinusMean(preprocessing(network)).to(device)
        self.layers = network.layers
        self.net = Net(loaded.body, preprocess=preprocess, size=(crop, crop), taps=loaded.taps).eval()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the activations (n, *unit_shape) of each layer of images (n, 3, crop, crop)."""
        return list(activations(self.net, images, self.layers).values())


def load_published(path: Path, *, n_voxels: int, sha256: str | None = None) -> nn.Module:
    """Load a published generator (`.caffemodel`, or a state dict converted from it); its output is 256 x 256.

    Raises
    ------
    StudyError, DataError
        As `generators.load`: another number of voxels, other keys or shapes, another sha256.
    """
    from hpc_recon.nets import generators

    return generators.load("end_to_end", path, n_inputs=n_voxels, sha256=sha256)
