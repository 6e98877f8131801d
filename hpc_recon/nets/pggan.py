"""The generator of progressive growing (Karras et al. 2018): a direction in latent space to an RGB image.

Pixel norm of the latent, a dense layer to 4 x 4 maps and one 3 x 3 convolution; then for each doubling of the size:
nearest neighbours twice as large, two 3 x 3 convolutions; in the end a linear 1 x 1 convolution to RGB, nominally in
[-1, 1]. Behind each but the last stand a LeakyReLU of slope 0.2 and a pixel norm. Weights are stored with variance 1
and multiplied by gain / sqrt(inputs that reach one output) when they are used (equalised learning rate).

The first operation divides a latent by its length, so that an image depends on the latent's direction alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.nets.identity import file_sha256
from hpc_recon.nets.weights import read_state

#: Channels of the maps of 4, 8, 16 ... pixels in the published generator of 1,024 pixels.
CHANNELS = (512, 512, 512, 512, 256, 128, 64, 32, 16)
N_INPUTS = 512
#: Side of the first maps, pixels.
FIRST = 4
_SLOPE, _EPSILON = 0.2, 1e-8
#: Gain behind a LeakyReLU, and that of the linear layer to RGB.
_GAIN, _LINEAR_GAIN = 2.0**0.5, 1.0


@dataclass(frozen=True)
class Design:
    """Sizes of a generator: the numbers of a latent, and the channels of the maps of 4, 8, 16 ... pixels."""

    n_inputs: int = N_INPUTS
    channels: tuple[int, ...] = CHANNELS

    @property
    def resolution(self) -> int:
        """Height and width of an image, pixels."""
        return FIRST << (len(self.channels) - 1)


def of_resolution(resolution: int) -> Design:
    """Return the published design cut at a smaller image.

    >>> of_resolution(64).channels
    (512, 512, 512, 512, 256)

    Raises
    ------
    ValueError
        If it is none of 4, 8, ... 1024.
    """
    for n in range(1, len(CHANNELS) + 1):
        if Design(channels=CHANNELS[:n]).resolution == resolution:
            return Design(channels=CHANNELS[:n])
    raise ValueError(f"the generator makes images of 4, 8, 16 ... 1024 pixels, not of {resolution}")


def pixel_norm(maps: Tensor) -> Tensor:
    """Divide by the root of the mean square over channels, (n, channels, ...); 0 stays 0."""
    return maps / torch.sqrt(maps.square().mean(dim=1, keepdim=True) + _EPSILON)


class Equalised(nn.Module):
    """A convolution whose stored weights have variance 1, with a bias for each channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, gain: float = _GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / (inputs * kernel * kernel) ** 0.5
        self.padding = kernel // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, outputs, H, W)."""
        return functional.conv2d(maps, self.weight * self.scale, self.bias, padding=self.padding)


class Dense(nn.Module):
    """The first layer: latents (n, inputs) to maps (n, outputs, 4, 4), with a bias for each channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, FIRST, FIRST))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = _GAIN / (FIRST * inputs**0.5)

    def forward(self, latents: Tensor) -> Tensor:
        """Return (n, outputs, 4, 4)."""
        maps = torch.einsum("ni,oiyx->noyx", latents, self.weight * self.scale)
        return maps + self.bias.reshape(1, -1, 1, 1)


class Pggan(nn.Module):
    """Latents (n, n_inputs) to images (n, 3, resolution, resolution), nominally in [-1, 1], not clipped."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.input_shape = (design.n_inputs,)
        first, channels = design.channels[0], design.channels
        self.dense = Dense(design.n_inputs, first)
        steps = [Equalised(first, first, 3)]
        for before, after in itertools.pairwise(channels):
            steps += [Equalised(before, after, 3), Equalised(after, after, 3)]
        self.steps = nn.ModuleList(steps)
        self.rgb = Equalised(channels[-1], 3, 1, gain=_LINEAR_GAIN)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of what `activations` yields: `4x4/dense`, `4x4/conv`, `8x8/conv0`, `8x8/conv1`, ..., `rgb`."""
        sizes = [FIRST * 2 ** (i + 1) for i in range(len(self.design.channels) - 1)]
        pairs = [f"{size}x{size}/{name}" for size in sizes for name in ("conv0", "conv1")]
        return ("4x4/dense", "4x4/conv", *pairs, "rgb")

    def activations(self, latents: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield each layer's name and its maps behind the pixel norm, the image last; a caller may stop anywhere."""
        names = iter(self.layers)
        maps = pixel_norm(functional.leaky_relu(self.dense(pixel_norm(latents)), _SLOPE))
        yield next(names), maps
        for i, step in enumerate(self.steps):
            if i % 2:  # the first convolution after 4 x 4 maps keeps their size, and then every second one
                maps = functional.interpolate(maps, scale_factor=2, mode="nearest")
            maps = pixel_norm(functional.leaky_relu(step(maps), _SLOPE))
            yield next(names), maps
        yield next(names), self.rgb(maps)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (n, 3, resolution, resolution); differentiable."""
        *_, (_, image) = self.activations(latents)
        return image


def fill_normal(generator: Pggan, seed: int) -> None:
    """Fill the weights as before training: normal with deviation 1, biases 0."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=draw))


def load(path: Path, *, sha256: str | None = None) -> Pggan:
    """Load a generator from a file of plain tensors, in evaluation mode, without gradients on weights.

    Sizes follow from the file. Names may be those of this class, those of the public torch conversion
    (`layer1.conv.weight`, `layer1.wscale.bias`, ..., `output_1024x1024.conv.weight`), or those of the original
    variables (`4x4/Dense/weight`, `8x8/Conv0/weight` or `8x8/Conv0_up/weight`, ..., `ToRGB_lod0/weight`).

    Raises
    ------
    DataError
        If parameters are missing, unknown or do not fit each other; names them.
    StudyError
        If the file is missing, or its sha256 differs.
    """
    found = file_sha256(path)
    if sha256 not in (None, found):
        raise StudyError("reconstruct", [f"the generator {path} has sha256 {found}, but the study expects {sha256}"])
    state = read_state(path)
    own = _own(state, path)
    weights = [own[f"steps.{i}.weight"] for i in range(sum(key.startswith("steps.") for key in own) // 2)]
    design = Design(own["dense.weight"].shape[1], tuple(int(w.shape[0]) for w in weights[::2]))
    with torch.inference_mode(mode=False):
        with torch.device("meta"):
            generator = Pggan(design)
        wanted = generator.state_dict()
        wrong = [
            f"{key} is {tuple(own[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in wanted
            if own[key].shape != wanted[key].shape
        ]
        if wrong:
            raise DataError(
                f"the layers of the generator {path} do not fit each other: {'; '.join(wrong[:4])}; convert it again"
            )
        generator.load_state_dict({key: own[key].float().contiguous() for key in wanted}, assign=True)
    return generator.eval().requires_grad_(requires_grad=False)


def _own(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return parameters by the names of this class, in its layout, whichever naming the file has."""
    convert: Callable[[str, str, Tensor], Tensor]
    if "dense.weight" in state:
        named, convert = {key: key for key in state if key.partition(".")[0] in ("dense", "steps", "rgb")}, _as_it_is
    elif "layer1.conv.weight" in state:
        named, convert = _torch_names(state), _from_torch
    elif "4x4/Dense/weight" in state:
        named, convert = _original_names(state), _from_original
    else:
        raise DataError(
            f"{path} is none of the known layouts of this generator (its first names: {', '.join(list(state)[:3])}); "
            "it needs dense.weight, layer1.conv.weight or 4x4/Dense/weight (docs/latents.md)"
        )
    unknown = [key for key in state if key not in named and key not in ("lod",)]
    n_steps = sum(name.startswith("steps.") and name.endswith("weight") for name in named.values())
    modules = ["dense", *(f"steps.{i}" for i in range(n_steps)), "rgb"]
    wanted = [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    have = set(named.values())
    missing = [name for name in wanted if name not in have]
    if unknown or missing or n_steps % 2 == 0:
        raise DataError(
            f"{path} does not hold a whole generator: {len(missing)} parameters are missing "
            f"({', '.join(missing[:4]) or 'none'}), {len(unknown)} are unknown ({', '.join(unknown[:4]) or 'none'}), "
            f"and it has {n_steps} convolutions, where an odd number is needed; convert it again"
        )
    return {name: convert(key, name, state[key]) for key, name in named.items()}


def _as_it_is(_key: str, _name: str, values: Tensor) -> Tensor:
    return values


def _torch_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return own names by those of the public torch conversion; `layer1` is the dense layer."""
    named = {}
    for key in state:
        module, _, kind = key.partition(".")
        ending = {"conv.weight": "weight", "wscale.bias": "bias"}.get(kind)
        if ending is None:
            continue
        if module.startswith("output"):
            named[key] = f"rgb.{ending}"
        elif module.removeprefix("layer").isdigit():
            number = int(module.removeprefix("layer"))
            named[key] = f"dense.{ending}" if number == 1 else f"steps.{number - 2}.{ending}"
    return named


def _from_torch(_key: str, name: str, values: Tensor) -> Tensor:
    """The dense layer is a convolution of one pixel padded by 3 there, which turns its kernel round."""
    return values.flip((2, 3)) if name == "dense.weight" else values


def _original_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return own names by those of the original variables; heads of smaller images are left out by their maker."""
    named = {}
    for key in state:
        place, _, rest = key.partition("/")
        if place == "ToRGB_lod0" and rest in ("weight", "bias"):
            named[key] = f"rgb.{rest}"
            continue
        layer, _, ending = rest.partition("/")
        size = place.partition("x")[0]
        if ending not in ("weight", "bias") or not size.isdigit():
            continue
        doublings = (int(size) // FIRST).bit_length() - 1
        offset = {"Dense": None, "Conv": 0, "Conv0": 2 * doublings - 1, "Conv0_up": 2 * doublings - 1}
        offset["Conv1"] = 2 * doublings
        if layer in offset:
            step = offset[layer]
            named[key] = f"dense.{ending}" if step is None else f"steps.{step}.{ending}"
    return named


def _from_original(key: str, name: str, values: Tensor) -> Tensor:
    """Bring the original layouts to (outputs, inputs, y, x).

    The dense layer is (inputs, outputs * 16); convolutions are (y, x, inputs, outputs); those fused with the doubling
    are (y, x, outputs, inputs), and as kernels of a transposed convolution they are turned round.
    """
    if name.endswith("bias"):
        return values
    if name == "dense.weight":
        return values.reshape(values.shape[0], -1, FIRST, FIRST).permute(1, 0, 2, 3)
    if "Conv0_up" in key:
        return values.flip((0, 1)).permute(2, 3, 0, 1)
    return values.permute(3, 2, 0, 1)
