"""Options of an end-to-end generator (`train:`): a network that makes images straight from brain activity.

`profile` fills in what an entry leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpc_recon.core.section import FileOrWord
from hpc_recon.core.training_options import (
    Batch,
    CheckpointEvery,
    Count,
    LogEvery,
    Name,
    Seeds,
    Steps,
    StepsPerTile,
    TrainingOptions,
    by_seed,
)

#: Names of the losses, each of which an ablation leaves out.
LossTerm = Literal["pixel", "feature", "adversarial"]
#: Updates after which the published learning rate is halved.
HALVINGS = (300_000, 500_000, 700_000, 900_000, 1_100_000)


class _Part(BaseModel):
    """A part of the options: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Comparator(_Part):
    """The frozen network whose activations of the made image and of the stimulus are compared (feature loss)."""

    architecture: str = Field("caffenet", description="as under networks: caffenet, alexnet, vgg11_quarter, ...")
    weights: FileOrWord = Field("random:0", description="a local file, random:<seed>, torchvision:<name> or own")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="expected sha256 of a local weights file")
    preprocessing: Literal["imagenet", "caffe", "half", "clip", "none"] | None = Field(
        None, description="what the weights expect; default: that of the weights where they are known (docs/weights.md)"
    )
    layers: tuple[Name, ...] = Field(("pool5",), min_length=1, description="layers whose activations are compared")


class LossWeights(_Part):
    """Weights of the losses. Pixel and feature losses are sums of squares over the batch divided by twice its size."""

    pixel: float = Field(2e-6, ge=0, description="of pixels on 0-255; 2e-6 is 0.154587 on their mean square at 227 px")
    feature: float = Field(
        0.01, ge=0, description="of the comparator's activations; 0.01 is 46.08 on the mean square of CaffeNet's pool5"
    )
    adversarial: float = Field(
        100.0, ge=0, description="of the cross-entropy by which the discriminator tells made images from stimuli"
    )


class AdamOptions(_Part):
    """Adam as Caffe computes it, and its schedule; each network counts its own updates."""

    learning_rate: float = Field(2e-4, gt=0, description="of the first updates")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of squared gradients")
    epsilon: float = Field(1e-8, gt=0, description="added to the root of the mean square")
    halve_at: tuple[Count, ...] = Field(HALVINGS, description="updates of a network after which its rate is halved")
    discriminator_decay: float = Field(
        4e-4, ge=0, description="of the discriminator's weights and biases (L2); the generator has none"
    )


class TrainingSet(_Part):
    """A part of the training samples; which, depends on the seed alone, and smaller ones lie within larger ones."""

    images: int | None = Field(None, ge=1, description="distinct images; default: all")
    samples: int | None = Field(
        None, ge=2, description="samples of these images, as evenly spread over them as they go; default: all"
    )


#: What each profile sets, where an entry says nothing else.
PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType({"steps": 500_000, "batch": 64}),
        "reduced": MappingProxyType(
            {"steps": 20_000, "batch": 32, "steps_per_tile": 2_000, "adam": {"halve_at": [10_000, 15_000]}}
        ),
        "tiny": MappingProxyType(
            {
                "steps": 400,
                "batch": 16,
                "steps_per_tile": 100,
                "checkpoint_every": 50,
                "log_every": 5,
                "image_size": 64,
                "crop": 60,
                "dense": 256,
                "width": 0.125,
                "adam": {"learning_rate": 5e-4, "halve_at": [250, 350]},
                "comparator": {
                    "architecture": "vgg11_quarter",
                    "weights": "random:1",
                    "layers": ["conv2_1", "conv3_1", "conv4_1"],
                },
                "losses": {"pixel": 1e-5, "feature": 3e-4, "adversarial": 1.0},
            }
        ),
    }
)


class EndToEndTraining(TrainingOptions):
    """A generator from brain samples to images, trained with pixel, feature and adversarial losses (Shen 2019)."""

    method: Literal["end_to_end"] = Field(description="chooses what is trained")
    profile: Literal["paper", "reduced", "tiny"] = Field(
        "paper",
        description="what the keys left out here are: paper (500,000 steps of 64), reduced (20,000 of 32) or tiny "
        "(small networks for images of 64 px; docs/end_to_end.md)",
    )
    seeds: Seeds = ()
    ablations: tuple[LossTerm, ...] = Field(
        (), description="makes beside this entry an entry <name>.no-<loss> without each of these losses"
    )
    training: TrainingSet = Field(TrainingSet(), description="which training samples are used")
    steps: Steps = 500_000
    steps_per_tile: StepsPerTile = 50_000
    checkpoint_every: CheckpointEvery = 1_000
    log_every: LogEvery = 100
    batch: Batch = 64
    order: Literal["fixed", "shuffled"] = Field(
        "fixed", description="order of samples: fixed (one order for all passes, as published) or shuffled (each pass)"
    )
    image_size: int = Field(248, ge=35, description="stimuli are resized to this, pixels, bilinear")
    crop: int = Field(227, ge=35, description="size of the random crop that is the target of one step, and of images")
    dense: int = Field(4096, ge=8, description="units of each of the generator's fully connected layers")
    width: float = Field(1.0, gt=0, le=1, description="multiplies the numbers of channels")
    comparator: Comparator = Field(Comparator(), description="whose features are compared")
    losses: LossWeights = Field(LossWeights(), description="weights of the losses; 0 leaves one out")
    adam: AdamOptions = Field(AdamOptions(), description="the optimiser of both networks")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the networks' arithmetic; weights, losses and updates stay float32"
    )
    compile: bool = Field(False, description="run the networks through torch.compile")
    buffer_bytes: int = Field(
        2**31, ge=2**16, description="samples and images held in memory; of larger sets a part at a time is shuffled"
    )

    @model_validator(mode="before")
    @classmethod
    def _profile(cls, given: Any) -> Any:
        return with_profile(given)

    @model_validator(mode="after")
    def _sizes(self) -> EndToEndTraining:
        if self.crop > self.image_size:
            raise ValueError(f"crop must not exceed image_size, but they are {self.crop} and {self.image_size}")
        if not any(self.losses.model_dump().values()):
            raise ValueError("losses are all 0, so nothing would be learnt; give one of them a weight")
        left = [name for name in self.ablations if not getattr(self.losses, name)]
        if left:
            raise ValueError(f"ablations leave out {', '.join(left)}, whose weight is 0 already; leave them away")
        return self

    @property
    def pictures_size(self) -> int:
        """Height and width, pixels, that stimuli are resized to."""
        return self.image_size

    def entries(self, name: str) -> dict[str, EndToEndTraining]:
        """Return the entries that one entry stands for: itself, and those that `ablations` and `seeds` make of it."""
        plain = self.model_copy(update={"ablations": (), "seeds": ()})
        found = {name: plain}
        for term in self.ablations:
            losses = plain.losses.model_copy(update={term: 0.0})
            found[f"{name}.no-{term}"] = plain.model_copy(update={"losses": losses})
        return by_seed(found, self.seeds)


def with_profile(given: Any) -> Any:
    """Return an entry with what its profile sets under the keys that it does not give, section by section."""
    if not isinstance(given, Mapping) or given.get("profile", "paper") not in PROFILES:
        return given
    found: dict[str, Any] = dict(given)
    for key, value in PROFILES[given.get("profile", "paper")].items():
        own = found.get(key)
        if own is None:
            found[key] = value
        elif isinstance(value, Mapping) and isinstance(own, Mapping) and not {"architecture", "layers"} & own.keys():
            found[key] = {**value, **own}
    return found
