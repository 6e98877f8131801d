"""Image generators: networks that invert layers of CaffeNet (Dosovitskiy & Brox 2016), and end-to-end reconstruction.

A generator maps features (or voxels, end-to-end) to an image, BGR on 0-255 minus the mean, a little larger than what
a network reads: its middle is cut out. The generators for relu7 and relu6 share one architecture; those for pool5,
relu4, relu3, norm2 and norm1 have three convolutions in front, and the last four of them end in 255 * tanh. `small` is
for trials.
Shapes are those of the published torch files and prototxts (docs/weights.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.text import closest
from hpc_recon.nets import caffe
from hpc_recon.nets.identity import file_sha256
from hpc_recon.nets.preprocess import CAFFE_MEAN
from hpc_recon.nets.weights import read_state, require_match

_SLOPE = 0.3
#: Factor behind the tanh.
_TANH_SCALE = 255.0
#: A file of ranges has one number a unit; 9216 of pool5 are the most.
_MAX_RANGE_BYTES = 2**20


@dataclass(frozen=True)
class _Layer:
    """One convolution: `up` is a transposed one; `leaky` is whether a LeakyReLU follows."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 1
    up: bool = True
    leaky: bool = True

    def build(self) -> nn.Module:
        """Return the module, without its LeakyReLU."""
        kind = nn.ConvTranspose2d if self.up else nn.Conv2d
        return kind(self.inputs, self.outputs, self.kernel, stride=self.stride, padding=self.padding)


def _double(name: str, inputs: int, outputs: int, *, leaky: bool = True) -> _Layer:
    """Double height and width."""
    return _Layer(name, inputs, outputs, 4, stride=2, leaky=leaky)


_TO_256 = (
    _double("deconv4", 512, 256),
    _Layer("conv4_1", 256, 256, 3),
    _double("deconv3", 256, 128),
    _Layer("conv3_1", 128, 128, 3),
    _double("deconv2", 128, 64),
    _double("deconv1", 64, 32),
    _double("deconv0", 32, 3, leaky=False),
)
_RELU_MAPS = (
    *(_Layer("Rconv6", 384, 384, 3, padding=0, up=False), _Layer("Rconv7", 384, 512, 3, padding=0, up=False)),
    _Layer("Rconv8", 512, 512, 2, padding=0, up=False),
    *(_double("deconv5", 512, 256), _Layer("conv5_1", 256, 256, 3)),
    *(_double("deconv4", 256, 128), _Layer("conv4_1", 128, 128, 3)),
    *(_double("deconv3", 128, 128), _Layer("conv3_1", 128, 128, 3)),
    *(_double("deconv2", 128, 64), _Layer("conv2_1", 64, 32, 3, up=False)),
    *(_double("deconv1", 32, 16), _Layer("conv1_1", 16, 3, 3, up=False, leaky=False)),
)
_NORM_END = (
    *(_double("deconv4", 128, 128), _Layer("conv4_1", 128, 128, 3, up=False)),
    *(_double("deconv3", 128, 64), _Layer("conv3_1", 64, 64, 3, up=False)),
    *(_double("deconv2", 64, 32), _Layer("conv2_1", 32, 32, 3, up=False)),
    *(_double("deconv1", 32, 16, leaky=False), _Layer("conv1_1", 16, 3, 3, up=False, leaky=False)),
)
_VECTOR = (_double("deconv5", 256, 256), _Layer("conv5_1", 256, 512, 3), *_TO_256)


@dataclass(frozen=True)
class _Design:
    """`dense` outputs of the three fully connected layers (0: none); then `layers`; then tanh, or nothing."""

    input_shape: tuple[int, ...]
    layers: tuple[_Layer, ...]
    dense: int = 0
    tanh: bool = False


_POOL5 = (
    *(_Layer("Rconv6", 256, 512, 3, up=False), _Layer("Rconv7", 512, 512, 3, up=False)),
    _Layer("Rconv8", 512, 512, 3, padding=0, up=False),
    *(_double("deconv5", 512, 256), _Layer("conv5_1", 256, 512, 3), *_TO_256),
)
_NORM2 = (
    _Layer("Rconv6", 256, 256, 3, padding=2, up=False),
    *(_Layer("Rconv7", 256, 128, 3, up=False), _Layer("Rconv8", 128, 128, 3, up=False), *_NORM_END),
)
_NORM1 = (
    _Layer("Rconv6", 96, 128, 3, stride=2, padding=2, up=False),
    *(_Layer("Rconv7", 128, 128, 3, up=False), _Layer("Rconv8", 128, 128, 3, up=False), *_NORM_END),
)
_SMALL = (*(_double("deconv3", 32, 32), _double("deconv2", 32, 16)), _double("deconv1", 16, 3, leaky=False))
_DESIGNS: Mapping[str, _Design] = MappingProxyType(
    {
        "relu7": _Design((4096,), _VECTOR, dense=4096),
        "relu6": _Design((4096,), _VECTOR, dense=4096),
        "pool5": _Design((256, 6, 6), _POOL5),
        "relu4": _Design((384, 13, 13), _RELU_MAPS, tanh=True),
        "relu3": _Design((384, 13, 13), _RELU_MAPS, tanh=True),
        "norm2": _Design((256, 13, 13), _NORM2, tanh=True),
        "norm1": _Design((96, 27, 27), _NORM1, tanh=True),
        #: Voxels to images (Shen et al. 2019, Frontiers); its number of inputs is that of the voxels.
        "end_to_end": _Design((0,), _VECTOR, dense=4096),
        #: Nobody's: 64 x 64 pixels, for trials and tests with random weights.
        "small": _Design((32, 8, 8), _SMALL),
    }
)
#: Names of the generators.
NAMES = tuple(_DESIGNS)


class Generator(nn.Module):
    """A generator; parameters are called as in Caffe (`defc7.weight`, `deconv5.bias`).

    `input_shape` is (n_units,) or (channels, height, width).
    """

    def __init__(self, name: str, *, n_inputs: int | None = None) -> None:
        super().__init__()
        if name not in _DESIGNS:
            raise StudyError("reconstruct", [f"unknown generator {name!r}{closest(name, NAMES)}"])
        design = _DESIGNS[name]
        if (name == "end_to_end") != (n_inputs is not None):
            raise StudyError("reconstruct", ["end_to_end, and no other generator, needs the number of its voxels"])
        self.name = name
        self.input_shape = design.input_shape if n_inputs is None else (n_inputs,)
        self.steps: list[tuple[str, bool]] = []
        if design.dense:
            for dense, inputs in (("defc7", self.input_shape[0]), ("defc6", design.dense), ("defc5", design.dense)):
                self.add_module(dense, nn.Linear(inputs, design.dense))
                self.steps.append((dense, True))
        self.n_front = 3  # defc7, defc6, defc5, or Rconv6, Rconv7, Rconv8
        for layer in design.layers:
            self.add_module(layer.name, layer.build())
            self.steps.append((layer.name, layer.leaky))
        self.tanh = design.tanh
        self.is_dense = design.dense > 0

    def forward(self, features: Tensor) -> Tensor:
        """Return images (n, 3, H, W), BGR on 0-255 minus the mean, of features (n, *input_shape); differentiable."""
        values = features.reshape(features.shape[0], *self.input_shape)
        for i, (name, leaky) in enumerate(self.steps):
            if self.is_dense and i == self.n_front:
                values = values.reshape(-1, 256, 4, 4)
            values = self.get_submodule(name)(values)
            if leaky:
                values = nn.functional.leaky_relu(values, _SLOPE)
        return torch.tanh(values) * _TANH_SCALE if self.tanh else values

    def sequential_names(self) -> dict[str, str]:
        """Return the parameter's module by the other name it has in published torch files: `defc.0`, `deconv.2`.

        There every LeakyReLU counts as a member of its sequence, so that a sequence's indices skip it.
        """
        front = "defc" if self.is_dense else "rconv"
        names: dict[str, str] = {}
        for prefix, steps in ((front, self.steps[: self.n_front]), ("deconv", self.steps[self.n_front :])):
            at = 0
            for name, leaky in steps:
                names[f"{prefix}.{at}"] = name
                at += 2 if leaky else 1
        return names


def load(name: str, path: Path, *, n_inputs: int | None = None, sha256: str | None = None) -> Generator:
    """Load a generator from a torch state dict or a `.caffemodel`.

    Parameters
    ----------
    name
        One of `NAMES`.
    path
        A state dict with either set of keys (`defc7.weight` or `defc.0.weight`) or both, or a `.caffemodel`.
    n_inputs
        Voxels, of `end_to_end` alone: a file trained with another number is refused. Their order is that of the ROI's
        columns in the file of brain data that it was trained on; no weights file says it.
    sha256
        Expected sha256 of the file.

    Returns
    -------
    Generator
        On the CPU, in evaluation mode, without gradients on weights.

    Raises
    ------
    StudyError
        If the generator is unknown, or the file is missing or differs from `sha256`.
    DataError
        If the file does not hold the generator's parameters; the mismatching keys and shapes are named.
    """
    found = file_sha256(path)
    if sha256 is not None and found != sha256:
        raise StudyError("reconstruct", [f"the generator {path} has sha256 {found}, but the study expects {sha256}"])
    with torch.inference_mode(mode=False), torch.device("meta"):
        generator = Generator(name, n_inputs=n_inputs)
    wanted = generator.state_dict()
    if path.suffix == ".caffemodel":
        state = caffe.read_state(path, {step: step for step, _ in generator.steps}, wanted)
    else:
        state = _one_name_each(read_state(path), generator.sequential_names(), path)
    require_match(state, wanted, path=path, architecture=f"the generator {name}")
    with torch.inference_mode(mode=False):
        generator.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return generator.eval().requires_grad_(requires_grad=False)


def _one_name_each(state: Mapping[str, Tensor], other: Mapping[str, str], path: Path) -> dict[str, Tensor]:
    """Return the state with Caffe's names; a parameter stored under both must be the same."""
    result: dict[str, Tensor] = {}
    for key, values in state.items():
        module, dot, parameter = key.rpartition(".")
        name = f"{other.get(module, module)}{dot}{parameter}"
        if name in result and not torch.equal(result[name], values):
            raise DataError(f"{path} holds {name} twice, with different values ({key}); save the generator anew")
        result[name] = values
    return result


def to_images(output: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the middle of a generator's output as RGB images.

    Parameters
    ----------
    output
        (n, 3, H, W), BGR on 0-255 minus the mean.
    size
        Height and width to cut out: 224 of 256 begins at row and column 16; odd margins are rounded down.

    Returns
    -------
    Tensor
        (n, 3, *size), RGB on 0-1, not clipped (a generator overshoots); differentiable.

    Raises
    ------
    ValueError
        If the output is smaller.
    """
    height, width = output.shape[-2:]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    if top < 0 or left < 0:
        raise ValueError(f"a generator's output of {height} x {width} pixels cannot be cut to {size[0]} x {size[1]}")
    middle = output[..., top : top + size[0], left : left + size[1]]
    mean = torch.tensor(CAFFE_MEAN, dtype=output.dtype, device=output.device).reshape(3, 1, 1)
    return (middle + mean).flip(-3) / 255.0


def read_activation_range(path: Path, *, n_units: int) -> Array:
    """Read the upper bounds of a generator's input (`act_range/3x/fc7.txt`: mean + 3 standard deviations of CaffeNet).

    Returns
    -------
    Array
        (n_units,) float32, positive; the lower bounds are 0.

    Raises
    ------
    DataError
        If the file is not `n_units` positive numbers separated by white space.
    """
    try:
        if path.stat().st_size > _MAX_RANGE_BYTES:
            raise DataError(f"{path} has more than {_MAX_RANGE_BYTES} bytes, so it is not a file of {n_units} bounds")
        words = path.read_text(encoding="ascii").split()
        bounds = np.array([float(word) for word in words], np.float32)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give an existing file of bounds") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} must hold numbers separated by white space: {error}") from error
    bad = np.flatnonzero(~(np.isfinite(bounds) & (bounds > 0)))
    if len(bounds) != n_units or bad.size:
        first = f"; number {bad[0] + 1} is {words[bad[0]]}" if bad.size else ""
        raise DataError(f"{path} must hold {n_units} positive numbers, but holds {len(bounds)}{first}")
    return bounds
