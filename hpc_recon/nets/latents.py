"""Generators whose input is optimised (`reconstruct: latent:`): what they are made of, loading, and their box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpc_recon.core.array import Array
from hpc_recon.core.errors import StudyError
from hpc_recon.core.icnn_options import GeneratorLatent
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.text import closest
from hpc_recon.nets import foreign, generators, weights
from hpc_recon.nets.identity import file_sha256, module_sha256, random_seed

#: Deviation of the last layer's random output before and behind a tanh, so that images of random weights have contrast.
_OUTPUT_DEVIATION, _TANH_DEVIATION = 60.0, 0.3
_BIAS_DEVIATION = 0.1


@dataclass(frozen=True)
class Shape:
    """What is known of a generator without its weights: sizes of input and image, parameters, activations an image."""

    input_shape: tuple[int, ...]
    output_size: tuple[int, int]
    n_parameters: int
    n_activations: int

    @property
    def n_inputs(self) -> int:
        """Return the numbers of one latent."""
        return int(np.prod(self.input_shape))


def identity(latent: GeneratorLatent) -> dict[str, Any]:
    """Return what determines a generator's images: its design, and its weights and bounds by content.

    Raises
    ------
    StudyError
        If a file is missing or differs from `sha256`, or a generator is not known.
    """
    _check_name(latent)
    found: dict[str, Any] = {"generator": latent.generator, "output": _output(latent), "lower": latent.lower}
    if isinstance(latent.weights, Path):
        found["weights"] = expected_content(latent.weights, content(latent.weights, "latent.weights"), latent.sha256)
    else:
        _check_words(latent)
        found["weights"] = latent.weights
    if foreign.kind(latent.generator) == "python":
        found["code"] = module_sha256(latent.generator.split(":")[1])
    if latent.upper_file is None:
        found["upper"] = latent.upper
    else:
        found["upper"] = f"sha256:{content(latent.upper_file, 'latent.upper_file')}"
    return found


def expected_content(path: Path, sha256: str, expected: str | None) -> str:
    """Return how a fingerprint holds a generator's file, `sha256:<hex>`.

    Raises
    ------
    StudyError
        If the study expects another content.
    """
    if expected not in (None, sha256):
        raise StudyError("reconstruct", [f"the generator {path} has sha256 {sha256}, but the study expects {expected}"])
    return f"sha256:{sha256}"


def content(path: Path, key: str) -> str:
    """Return the sha256 of a file that a method's options name under `key`.

    Raises
    ------
    StudyError
        If it cannot be read.
    """
    try:
        return file_sha256(path)
    except StudyError as error:
        raise StudyError("reconstruct", [f"{key}: the file {path} cannot be read; give an existing file"]) from error


def _check_name(latent: GeneratorLatent) -> None:
    known = [name for name in generators.NAMES if name != "end_to_end"]
    if latent.generator not in known and foreign.kind(latent.generator) != "python":
        raise StudyError("reconstruct", [f"unknown generator {latent.generator!r}{closest(latent.generator, known)}"])


def _check_words(latent: GeneratorLatent) -> None:
    words = str(latent.weights)
    if words == "own":
        if foreign.kind(latent.generator) != "python":
            raise StudyError(
                "reconstruct",
                [f"weights: own are those that a python: function has loaded, but the generator is {latent.generator}"],
            )
        return
    random_seed(words)


def _output(latent: GeneratorLatent) -> str:
    return latent.output or ("rgb" if foreign.kind(latent.generator) == "python" else "caffe")


def describe(latent: GeneratorLatent) -> Shape:
    """Return the sizes of a generator; allocates nothing for the published designs, builds your own one.

    Raises
    ------
    StudyError
        If the generator is unknown, or your own module has no `input_shape` or does not return images (n, 3, H, W).
    """
    _check_name(latent)
    return _describe(latent.generator)


@lru_cache(maxsize=8)
def _describe(name: str) -> Shape:
    own = foreign.kind(name) == "python"
    with torch.inference_mode(mode=False), torch.random.fork_rng(devices=[]):
        if own:
            module = foreign.build(name)
        else:
            with torch.device("meta"):
                module = generators.Generator(name)
    shape = input_shape_of(module, name=name, example="(4096,) or (64, 8, 8)")
    latent = torch.zeros(1, *shape, device="cpu" if own else "meta")
    return measured(module, latent, name=name)


def input_shape_of(module: nn.Module, *, name: str, example: str) -> tuple[int, ...]:
    """Return the shape of one latent of a generator, its attribute `input_shape`.

    Raises
    ------
    StudyError
        If it is no shape; shows `example`.
    """
    shape = getattr(module, "input_shape", None)
    if not isinstance(shape, (tuple, list)) or not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise StudyError(
            "reconstruct", [f"the module of {name} needs an attribute input_shape, as {example}, but it is {shape!r}"]
        )
    return tuple(shape)


def measured(module: nn.Module, latent: Tensor, *, name: str) -> Shape:
    """Run a generator once, and return its sizes.

    Parameters
    ----------
    latent
        (1, *input_shape), on the device of the module; on the meta device nothing is allocated.
    name
        Of the generator, for the message.

    Raises
    ------
    StudyError
        If it fails, or does not return images (n, 3, H, W).
    """
    n_activations = 0

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal n_activations
        n_activations += output.numel() if isinstance(output, Tensor) else 0

    handles = [m.register_forward_hook(count) for m in module.modules() if not list(m.children())]
    try:
        with torch.no_grad():
            output = module(latent)
    except Exception as error:  # anything: it may be the user's code
        reason = " ".join(str(error).split())[:160]
        raise StudyError(
            "reconstruct",
            [f"{name} fails on a latent {tuple(latent.shape)}: {type(error).__name__}: {reason}; correct its forward"],
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[:2] != (1, 3):
        what = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise StudyError("reconstruct", [f"{name} must return images (n, 3, height, width), but returned {what}"])
    n_parameters = sum(p.numel() for p in module.parameters())
    return Shape(tuple(latent.shape[1:]), (int(output.shape[2]), int(output.shape[3])), n_parameters, n_activations)


def require_fit(latent: GeneratorLatent, size: tuple[int, int]) -> Shape:
    """Return the generator's shape; raise unless the network's input, of `size`, can be cut out of its image.

    Raises
    ------
    StudyError
        If the image is smaller; also as `describe`.
    """
    found = describe(latent)
    if found.output_size[0] < size[0] or found.output_size[1] < size[1]:
        raise StudyError(
            "reconstruct",
            [
                f"the network's input is cut out of the generator's image, but {latent.generator} makes "
                f"{found.output_size[0]} x {found.output_size[1]} pixels and the network reads {size[0]} x {size[1]}; "
                "give a larger generator, or a network with a smaller image_size"
            ],
        )
    return found


class ImageGenerator(nn.Module):
    """A generator with its output's meaning: latents (n, n_inputs) to RGB images in [0, 1], roughly, of `size`."""

    def __init__(self, body: nn.Module, *, input_shape: tuple[int, ...], output: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.body, self.input_shape, self.output, self.size = body, input_shape, output, size

    def forward(self, latent: Tensor) -> Tensor:
        """Return images (n, 3, *size), not clipped; differentiable."""
        made = self.body(latent.reshape(latent.shape[0], *self.input_shape)).to(latent.dtype)
        if self.output == "caffe":
            return generators.to_images(made, self.size)
        top, left = ((made.shape[2 + i] - self.size[i]) // 2 for i in (0, 1))
        middle: Tensor = made[..., top : top + self.size[0], left : left + self.size[1]]
        return middle


def load(latent: GeneratorLatent, *, size: tuple[int, int], device: str = "cpu") -> ImageGenerator:
    """Load a generator in evaluation mode, without gradients on weights.

    Parameters
    ----------
    size
        Height and width of the network's input, which are cut out of the middle.

    Raises
    ------
    StudyError, DataError
        As `require_fit` and `generators.load`.

    Notes
    -----
    The last two of a process are kept, known by design, content of the weights and device; treat them as read-only.
    """
    require_fit(latent, size)
    return _load(latent, size, device, str(sorted(identity(latent).items(), key=str)))


@lru_cache(maxsize=2)
def _load(latent: GeneratorLatent, size: tuple[int, int], device: str, _stamp: str) -> ImageGenerator:
    shape = _describe(latent.generator)
    own = foreign.kind(latent.generator) == "python"
    with torch.inference_mode(mode=False), torch.random.fork_rng(devices=[]):
        if own:
            body = foreign.build(latent.generator)
            if isinstance(latent.weights, Path):
                state = weights.read_state(latent.weights)
                weights.require_match(state, body.state_dict(), path=latent.weights, architecture=latent.generator)
                body.load_state_dict(state)
            elif latent.weights != "own":
                weights.fill_random(body, random_seed(latent.weights))
        elif isinstance(latent.weights, Path):
            body = generators.load(latent.generator, latent.weights, sha256=latent.sha256)
        else:
            body = generators.Generator(latent.generator)
            fill_random(body, random_seed(str(latent.weights)))
        made = ImageGenerator(body, input_shape=shape.input_shape, output=_output(latent), size=size)
        return made.to(device).eval().requires_grad_(requires_grad=False)


def fill_random(generator: generators.Generator, seed: int) -> None:
    """Fill a generator from a seed so that latents of deviation 1 give images of visible contrast.

    Weights are normal with variance 2 / (1.09 x the inputs that reach one output): activations keep their size behind
    a LeakyReLU of slope 0.3 (a transposed convolution reaches an output kernel^2 / stride^2 times from each channel).
    The last layer is scaled to a deviation of 60 of 255, or of 0.3 before a tanh.
    """
    last = generator.steps[-1][0]
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            rng = np.random.default_rng(seed_of(seed, "generator", name))
            values = torch.from_numpy(rng.standard_normal(tuple(parameter.shape), dtype=np.float32))
            if name.endswith("bias"):
                parameter.copy_(_BIAS_DEVIATION * values)
                continue
            step = generator.get_submodule(name.rpartition(".")[0])
            fan_in = float(parameter.shape[1:].numel())
            if isinstance(step, nn.ConvTranspose2d):
                fan_in = parameter.shape[0] * parameter.shape[2:].numel() / (step.stride[0] * step.stride[1])
            deviation = (2.0 / 1.09 / fan_in) ** 0.5
            if name.startswith(f"{last}."):
                deviation *= _TANH_DEVIATION if generator.tanh else _OUTPUT_DEVIATION
            parameter.copy_(deviation * values)


def box(latent: GeneratorLatent) -> tuple[Array, Array]:
    """Return lower and upper bound of each number of the latent, float32 (n_inputs,).

    Raises
    ------
    DataError
        If the file of upper bounds cannot be read or has another length.
    """
    n = describe(latent).n_inputs
    lower = np.full(n, latent.lower, np.float32)
    if latent.upper_file is None:
        return lower, np.full(n, latent.upper, np.float32)
    return lower, generators.read_activation_range(latent.upper_file, n_units=n)
