"""The conditional GAN of shape-semantic reconstruction (Fang, Qi & Pan 2020).

A U-Net makes an image from a shape, with the semantic vector joined at its narrowest map; a discriminator looks at
patches of image and shape together. At 256 pixels and width 1 the numbers of parameters are those of the released demo.
Images and shapes are RGB on [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.sampling import seed_of

#: Channels after each halving, at width 1; deeper maps have as many as the last.
_CHANNELS = (64, 128, 256, 512)
#: Slope of the LeakyReLUs, and the standard deviation of initial weights of convolutions.
SLOPE, DEVIATION = 0.2, 0.02
#: Halvings before the first that drops units out.
_SURE = 3
#: Kernel of every convolution.
_KERNEL = 4


@dataclass(frozen=True)
class Sizes:
    """What the networks' shapes follow from.

    Attributes
    ----------
    image_size
        Pixels of an edge, a power of 2.
    n_semantic
        Numbers of the semantic vector; 0: none is joined.
    width
        Multiplies the numbers of channels.
    patch_layers
        Halvings of the discriminator: its map has image_size / 2^patch_layers patches an edge.
    norm
        `instance` (no parameters), or `none`.
    dropout
        Rate in the U-Net's inner maps.
    """

    image_size: int
    n_semantic: int
    width: float = 1.0
    patch_layers: int = 4
    norm: Literal["instance", "none"] = "instance"
    dropout: float = 0.5

    @property
    def n_halvings(self) -> int:
        """Return how often the image is halved until one place is left.

        >>> Sizes(256, 64).n_halvings
        8
        """
        return self.image_size.bit_length() - 1

    def channels(self, level: int) -> int:
        """Return the channels after so many halvings and one more.

        >>> [Sizes(256, 64).channels(level) for level in range(5)], Sizes(32, 4, 0.125).channels(0)
        ([64, 128, 256, 512, 512], 8)
        """
        return max(4, round(_CHANNELS[min(level, len(_CHANNELS) - 1)] * self.width))


def _norm(sizes: Sizes, channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels)] if sizes.norm == "instance" else []


def _dropout(sizes: Sizes, *, wanted: bool) -> list[nn.Module]:
    return [nn.Dropout(sizes.dropout)] if wanted and sizes.dropout else []


def _last(channels: int, outputs: int, *, bias: bool) -> list[nn.Module]:
    """Return a convolution that keeps the size: the kernel is even, so a row and a column of zeros go before."""
    return [nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(channels, outputs, _KERNEL, padding=1, bias=bias)]


class UNet(nn.Module):
    """From a shape (n, 3, size, size) and a semantic vector (n, n_semantic) to an image (n, 3, size, size)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.n_semantic = sizes.n_semantic
        depth, given = sizes.n_halvings, 3
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(depth):
            own = sizes.channels(level)
            is_inner = 0 < level < depth - 1  # neither the first, nor the last, whose map is one place
            self.down.append(
                nn.Sequential(
                    nn.Conv2d(given, own, _KERNEL, stride=2, padding=1, bias=False),
                    *(_norm(sizes, own) if is_inner else []),
                    nn.LeakyReLU(SLOPE),
                    *_dropout(sizes, wanted=level >= _SURE),
                )
            )
            given = own
        given += sizes.n_semantic
        for level in reversed(range(depth - 1)):
            own = sizes.channels(level)
            self.up.append(
                nn.Sequential(
                    nn.ConvTranspose2d(given, own, _KERNEL, stride=2, padding=1, bias=False),
                    *_norm(sizes, own),
                    nn.ReLU(),
                    *_dropout(sizes, wanted=level >= _SURE),
                )
            )
            given = 2 * own
        self.last = nn.Sequential(nn.Upsample(scale_factor=2), *_last(given, 3, bias=True), nn.Tanh())

    def forward(self, shape: Tensor, semantic: Tensor) -> Tensor:
        """Return images in (-1, 1); `semantic` is (n, 0) where nothing is joined."""
        maps = [shape]
        for block in self.down:
            maps.append(block(maps[-1]))
        values = maps.pop()
        if self.n_semantic:
            values = torch.cat([values, semantic[:, :, None, None]], dim=1)
        for block in self.up:
            values = torch.cat([block(values), maps.pop()], dim=1)
        made: Tensor = self.last(values)
        return made


class PatchDiscriminator(nn.Module):
    """From an image and its shape, (n, 3, size, size) each, to scores of patches (n, 1, places, places)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        given = 6
        for level in range(sizes.patch_layers):
            own = sizes.channels(level)
            blocks += [
                nn.Conv2d(given, own, _KERNEL, stride=2, padding=1),
                *(_norm(sizes, own) if level else []),
                nn.LeakyReLU(SLOPE),
            ]
            given = own
        self.blocks = nn.Sequential(*blocks, *_last(given, 1, bias=False))

    def forward(self, image: Tensor, shape: Tensor) -> Tensor:
        """Return one score a patch, not bounded: near 1 for stimuli, near 0 for made images."""
        scores: Tensor = self.blocks(torch.cat([image, shape], dim=1))
        return scores


def initialise(module: nn.Module, *, seed: int) -> None:
    """Draw each parameter from its own seed: weights N(0, 0.02), biases 0."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
                continue
            drawn = torch.Generator().manual_seed(seed_of(seed, type(module).__name__, name) % 2**62)
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, DEVIATION, generator=drawn))


def enlarged(shapes: Tensor, size: int) -> Tensor:
    """Return shapes (n, C, g, g) as RGB (n, 3, size, size): every cell becomes a block of its colour.

    Where `size` is no multiple of g, a pixel takes the cell that holds its middle.
    """
    found = functional.interpolate(shapes, size=(size, size), mode="nearest-exact")
    return found.expand(-1, 3, -1, -1) if found.shape[1] == 1 else found
