"""Parts of the options of deep image reconstruction: latents, optimisers, masks, and the four published routines.

`core.options.IcnnOptions` puts them together; `methods.icnn` computes with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from hpc_recon.core.section import FileOrWord

if TYPE_CHECKING:
    from hpc_recon.core.options import IcnnOptions

#: The key of `loss` and `masks` that stands for every layer without an entry of its own.
DEFAULT = "default"
#: Ways to compare a layer's features with the wanted ones.
LossName = Literal["l2", "l1", "inner", "gram", "correlation", "target_normalised_mse"]


class Part(BaseModel):
    """A part of the options: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


#: Value at the first iteration, and the one that is approached linearly and would be reached after the last.
Schedule = Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], BeforeValidator(_pair)]


class GeneratorLatent(Part):
    """The input of an image generator is optimised; its output, cut to the network's input, is the image."""

    generator: str = Field(
        description="relu7, relu6, pool5, relu4, relu3, norm2, norm1 (docs/weights.md), small (64 px, for trials), or "
        "your own python:<package.module>:<function>, whose module has an attribute input_shape"
    )
    weights: FileOrWord = Field(
        description="a local file (torch state dict or .caffemodel), random:<seed>, or own (those that your python: "
        "function has loaded)"
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="expected sha256 of a local weights file")
    output: Literal["caffe", "rgb"] | None = Field(
        None,
        description="what the generator returns: caffe (BGR 0-255 minus the mean) or rgb (0-1); default: rgb for "
        "python:, else caffe",
    )
    lower: float = Field(0.0, description="lower bound of every number of the latent")
    upper: float = Field(100.0, description="upper bound of every number of the latent")
    upper_file: Path | None = Field(
        None, description="upper bound of each number, in a text file (act_range/3x/fc7.txt), instead of upper"
    )

    @model_validator(mode="after")
    def _box(self) -> GeneratorLatent:
        if not self.lower < self.upper:
            raise ValueError(f"lower must be below upper, but they are {self.lower:g} and {self.upper:g}")
        if self.upper_file is not None and self.lower > 0:
            raise ValueError(
                f"bounds of a file are positive and above lower: give lower: 0 or less, not {self.lower:g}"
            )
        return self


def _kind(value: object) -> str:
    return "word" if isinstance(value, str) else "generator"


Latent = Annotated[
    Annotated[Literal["pixels"], Tag("word")] | Annotated[GeneratorLatent, Tag("generator")], Discriminator(_kind)
]


class Lbfgs(Part):
    """Batched L-BFGS in a box: a history, step and line search for each image."""

    name: Literal["lbfgs"] = Field("lbfgs", description="chooses this optimiser")
    history: int = Field(10, ge=1, le=100, description="steps that are remembered")
    smoothness: float = Field(
        1.0,
        ge=0,
        le=4,
        description="of pixels: steps are made up of frequencies f by 1/f^smoothness, so that coarse structure comes "
        "first and what features do not see stays smooth; 0: of all alike, as published",
    )


class Penalty(Part):
    """A penalty on the image whose gradient is added to the update."""

    weight: Schedule = Field((0.5, 0.5), description="strength, [first, last]")
    exponent: float = Field(gt=0, description="p of the p-norm, beta of the total variation")


class Clipping(Part):
    """Pixels are changed every few iterations."""

    every: int = Field(4, ge=1, description="iterations between two times")
    percent: Schedule = Field(description="per cent of the pixels, [first, last]")


class Momentum(Part):
    """Gradient descent with momentum, in the published order of operations. Pixels are counted on 0-255."""

    name: Literal["momentum"] = Field("momentum", description="chooses this optimiser")
    learning_rate: Schedule = Field((2.0, 1e-10), description="step along the update, [first, last]")
    momentum: Schedule = Field((0.9, 0.9), description="share of the last update that is kept, [first, last]")
    decay: Schedule = Field((0.0, 0.0), description="share of the latent that is taken away, [first, last]")
    normalise_gradient: bool = Field(True, description="divide the gradient by the mean of its absolute values")
    blur: Schedule = Field((0.0, 0.0), description="pixels: sigma of a Gaussian blur after each step, [first, last]")
    jitter: int = Field(0, ge=0, description="pixels: the image is moved by up to so many pixels for each step")
    p_norm: Penalty | None = Field(None, description="pixels: penalty sum |x|^p; the published p is 3")
    total_variation: Penalty | None = Field(
        None, description="pixels: penalty sum (dx^2 + dy^2)^(beta / 2); the published beta is 2"
    )
    clip_extreme: Clipping | None = Field(None, description="pixels: clip this share at both ends together")
    clip_small_norm: Clipping | None = Field(None, description="pixels: the faintest become mean colour")
    clip_small_contribution: Clipping | None = Field(
        None, description="pixels: those with the smallest product of value and gradient become mean colour"
    )
    bounded: bool = Field(
        False, description="pixels: keep them within 0-255 after each step; a generator's input always has bounds"
    )

    def only_for_pixels(self) -> list[str]:
        """Return the names of the settings in use that have no meaning for a generator's input."""
        names = ("blur", "jitter", "p_norm", "total_variation", "clip_extreme", "clip_small_norm")
        unused: tuple[Any, ...] = (None, 0, (0.0, 0.0))
        return [n for n in (*names, "clip_small_contribution") if getattr(self, n) not in unused]


class Adam(Part):
    """Adam; of the images on the way, that of the smallest loss is kept."""

    name: Literal["adam"] = Field("adam", description="chooses this optimiser")
    learning_rate: Schedule = Field((0.05, 0.0), description="step size, [first, last]; pixels are on 0-1")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="decay of the averages of the gradient and of its square"
    )


class AdamW(Part):
    """Adam with weight decay apart from the gradient; of the images on the way, that of the smallest loss is kept."""

    name: Literal["adamw"] = Field("adamw", description="chooses this optimiser")
    learning_rate: Schedule = Field((0.05, 0.0), description="step size, [first, last]; pixels are on 0-1")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="decay of the averages of the gradient and of its square"
    )
    weight_decay: float = Field(0.01, ge=0, description="share of the latent, times the step size, that is taken away")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Optimiser = Annotated[Annotated[Lbfgs | Momentum | Adam | AdamW, Field(discriminator="name")], BeforeValidator(_named)]


def for_all(value: Any) -> Any:
    """Return one name for all layers as a mapping; for pydantic."""
    return {DEFAULT: value} if isinstance(value, str) else value


class LayerMask(Part):
    """Which units of a layer count; where several keys are given, those that all of them choose."""

    channels: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="numbers of the channels (of units, in a fully connected layer), from 0"
    )
    region: tuple[float, float, float, float] | None = Field(
        None, description="[top, left, bottom, right] as shares of height and width, 0 to 1"
    )
    file: Path | None = Field(
        None,
        description=".npy of 0 and 1: (channels, height, width), (units,), or (height, width) for every channel; the "
        "last is cut or filled up with 1 around its middle where the layer has another size",
    )

    @model_validator(mode="after")
    def _something(self) -> LayerMask:
        if self.channels is None and self.region is None and self.file is None:
            raise ValueError("a mask needs channels, region or file")
        if self.region is not None:
            top, left, bottom, right = self.region
            if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
                raise ValueError(
                    "region is [top, left, bottom, right] with 0 <= top < bottom <= 1 and 0 <= left < right <= 1, but "
                    f"is {list(self.region)}"
                )
        return self


PresetName = Literal["pixels_lbfgs", "pixels_gd", "generator_gd", "generator_lbfgs"]
#: The published routines (Shen et al. 2019 and their code); what a study writes beside `preset` counts first.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pixels_lbfgs": {
            "optimiser": {"name": "lbfgs", "smoothness": 0.0},
            "iterations": 200,
            "start": "mean_rgb",
            "start_noise": 0.0,
        },
        "pixels_gd": {
            "optimiser": {"name": "momentum", "decay": (0.2, 1e-10), "blur": (2.0, 0.5)},
            "iterations": 200,
            "start": "uniform",
            "start_noise": 0.0,
        },
        "generator_gd": {"optimiser": {"name": "momentum", "decay": (0.01, 0.01)}, "iterations": 200, "start": "zeros"},
        "generator_lbfgs": {"optimiser": {"name": "lbfgs"}, "iterations": 500, "start": "normal"},
    }
)


def with_preset(given: Any) -> Any:
    """Return the options of a study with those of their `preset` where they have none of their own.

    >>> with_preset({"preset": "pixels_lbfgs", "iterations": 9})["start"]
    'mean_rgb'
    """
    if not isinstance(given, Mapping) or given.get("preset") not in PRESETS:
        return given
    preset = dict(PRESETS[given["preset"]])
    own = _named(given.get("optimiser", {}))
    if isinstance(own, Mapping):
        same = own.get("name", preset["optimiser"]["name"]) == preset["optimiser"]["name"]
        preset["optimiser"] = {**(preset["optimiser"] if same else {}), **own}
    if given.get("start_file") is not None:
        del preset["start"]
    return {**preset, **given, "optimiser": preset["optimiser"] if isinstance(own, Mapping) else own}


#: Starts by latent.
_PIXEL_STARTS = ("training_mean", "mean_rgb", "gray", "zeros", "uniform", "file")
_GENERATOR_STARTS = ("zeros", "normal", "file")


def require_compatible(options: IcnnOptions) -> None:
    """Raise `ValueError` where options contradict each other; for pydantic, which makes a `StudyError` of it."""
    kind, allowed = ("a generator", _GENERATOR_STARTS) if options.is_generator else ("pixels", _PIXEL_STARTS)
    if options.preset is not None and options.preset.startswith("generator") != options.is_generator:
        needs = "latent: {generator: relu7, weights: <file>}" if not options.is_generator else "latent: pixels"
        raise ValueError(f"preset: {options.preset} optimises something else than {kind}; write {needs}")
    if options.start is not None and options.start_file is not None:
        raise ValueError(f"give start or start_file, not both (start is {options.start})")
    if options.first not in allowed:
        raise ValueError(
            f"start of {kind} must be one of {', '.join(allowed[:-1])}, or start_file; got {options.first}"
        )
    if options.is_generator and options.image_size is not None:
        raise ValueError("image_size is there for pixels: a generator's image is cut to the network's input")
    if options.is_generator and isinstance(options.optimiser, Momentum):
        names = options.optimiser.only_for_pixels()
        if names:
            raise ValueError(f"optimiser: {', '.join(names)} change pixels; a generator's input has none, so leave out")
    if options.n_starts > 1 and options.first not in ("uniform", "normal") and options.noise_of(1) == 0:
        raise ValueError("n_starts would begin at one place: give start: uniform or normal, or start_noise")
    if options.keep_starts and options.n_starts == 1:
        raise ValueError("keep_starts needs n_starts of 2 or more")
    if options.reliability != "none" and "gram" in options.loss.values():
        raise ValueError("reliability weighs units, which a gram loss does not compare; use another loss, or none")
    if options.reliability != "none" and options.source == "true":
        raise ValueError("reliability says how well features were decoded; with source: true give reliability: none")
