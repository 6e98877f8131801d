"""Options of latents: where those of the stimuli lie, and how images are made from decoded ones (method `latent`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hpc_recon.core.evaluate_options import MetricNetwork
from hpc_recon.core.method_options import MethodOptions, Name, not_decoded, not_trained
from hpc_recon.core.network_options import FEATURES_ONLY
from hpc_recon.core.section import FileOrWord
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.network_options import Network


class LatentSection(BaseModel):
    """A part of the options of latents: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class LatentGenerator(LatentSection):
    """What renders latents."""

    kind: str = Field(
        description="pggan (progressive growing), linear (mean and components, as eigenfaces), decoder (that of an "
        "autoencoder of `generator`), or your own python:<package.module>:<function>, a torch module with an attribute "
        "input_shape that returns RGB"
    )
    weights: FileOrWord = Field(
        "own",
        description="torch state dict; random:<seed> (pggan); or own (those that your python: function has loaded)",
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="expected sha256 of the weights file")
    resolution: int = Field(
        1024, ge=4, le=1024, description="pggan of random weights, or before its file is there: pixels of an image"
    )
    n_inputs: int = Field(512, ge=1, description="the same: numbers of a latent, where the kind does not say")
    output: tuple[float, float] | None = Field(
        None, description="values of black and white in the module's output; default: [-1, 1] (linear, decoder: [0, 1])"
    )

    @model_validator(mode="after")
    def _known(self) -> LatentGenerator:
        own = self.kind.startswith("python:")
        if not own and self.kind not in ("pggan", "linear", "decoder"):
            raise ValueError(f"kind must be pggan, linear, decoder or python:<package.module>:<function>: {self.kind}")
        word = str(self.weights)
        if word == "own" and not own:
            raise ValueError(f"weights: own belongs to a python: generator; give the file of {self.kind}'s weights")
        if word.startswith("random:") and self.kind != "pggan":
            raise ValueError(f"weights: {word} is there for pggan alone; give a file")
        if self.output is not None and not self.output[0] < self.output[1]:
            raise ValueError(f"output is [black, white], and black is the smaller; got {list(self.output)}")
        return self

    @property
    def file(self) -> Path | None:
        """The weights file, None where there is none."""
        word = str(self.weights)
        return None if word == "own" or word.startswith("random:") else Path(self.weights)

    @property
    def levels(self) -> tuple[float, float]:
        """Values of black and white in the output."""
        return self.output or ((0.0, 1.0) if self.kind in ("linear", "decoder") else (-1.0, 1.0))


class Attribute(LatentSection):
    """A direction in latent space along which an attribute grows (the normal of a boundary)."""

    file: Path = Field(description=".npy of as many numbers as a latent, any length: it is brought to length 1")
    conditions: tuple[Name, ...] = Field(
        (), description="other attributes that shall stay as they are: this direction is made orthogonal to theirs"
    )


class Edits(LatentSection):
    """A strip of images on the way along an attribute."""

    attributes: tuple[Name, ...] = Field(min_length=1, description="names from `attributes`, a row of the strip each")
    steps: tuple[float, ...] = Field(
        (-3.0, -1.5, 0.0, 1.5, 3.0), min_length=2, description="how far along each direction, in latent units"
    )
    images: int = Field(4, ge=1, description="items of each dataset that have strips")
    show: bool = Field(
        False, description="show the strips in report/latents.html; by default they stay files, as faces should"
    )


class Embedding(LatentSection):
    """A network in whose features rendered images are compared with the stimuli: of the study, or by its file."""

    network: Name | None = Field(None, description="a network of the study that computes features of images")
    metric: MetricNetwork | None = Field(
        None, description="or one of the networks of published metrics: alexnet, inception, swav, clip, ..."
    )
    weights: Path | None = Field(None, description="weights file of `metric`")
    layer: str = Field(description="layer of `network`, or module path of `metric` (avgpool; clip: head)")
    size: int = Field(224, ge=16, description="to how many pixels images are resized for `metric` (8 bits, bilinear)")

    @model_validator(mode="after")
    def _one_network(self) -> Embedding:
        if (self.network is None) == (self.metric is None) or (self.metric is None) != (self.weights is None):
            raise ValueError("give either network (of the study), or metric and its weights file")
        return self


def as_generator(value: object) -> object:
    """Return a kind that stands alone as the options of a generator."""
    return {"kind": value} if isinstance(value, str) else value


class LatentOptions(MethodOptions):
    """Decoded latents, rendered by a generator (Dado 2020: faces from the latents of their own generator)."""

    method: Literal["latent"] = Field(description="chooses this method")
    layers: tuple[Name, ...] | None = Field(
        None, description="layers of the network that make up the latent, in this order; default: all"
    )
    generator: Annotated[LatentGenerator, BeforeValidator(as_generator)] = Field(
        description="what renders latents: kind and weights"
    )
    source: Literal["decoded", "true"] = Field(
        "decoded", description="true: the true latents of the stimuli, to try a generator"
    )
    model: Name | None = Field(
        None,
        description="a name from `train:` (method latent_layer) that predicts the latents; default: the decoders of "
        "`fit`",
    )
    calibration: Literal["none", "norm", "train_statistics", "test_statistics"] = Field(
        "none",
        description="of decoded latents: norm (length sqrt(numbers of a latent)), train_statistics (mean and deviation "
        "of each number as in training, from fit.out_of_fold), or test_statistics (z-scored across the test items: an "
        "item then depends on the others, so it warns)",
    )
    attributes: dict[Name, Attribute] = Field(
        default_factory=dict, description="directions in latent space on which decoded and true latents are scored"
    )
    edits: Edits | None = Field(None, description="strips of images along attributes; default: none")
    embeddings: dict[Name, Embedding] = Field(
        default_factory=dict, description="networks in whose features rendered images are compared with the stimuli"
    )
    random_latents: int = Field(
        0,
        ge=0,
        description="at least so many random latents are rendered by `evaluate` as a null for SSIM and the similarity "
        "of features; takes as long as that many images (the published test: 1,000)",
    )
    images_per_tile: int = Field(8, ge=1, description="images that one task renders, one after the other")

    @model_validator(mode="after")
    def _attributes(self) -> LatentOptions:
        named = [*(self.edits.attributes if self.edits is not None else ())]
        named += [other for own in self.attributes.values() for other in own.conditions]
        unknown = sorted(set(named) - set(self.attributes))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not under attributes ({', '.join(self.attributes) or 'none there'})")
        own = [name for name, attribute in self.attributes.items() if name in attribute.conditions]
        if own:
            raise ValueError(f"attribute {own[0]!r} cannot be a condition of itself")
        if self.source == "true" and self.calibration != "none":
            raise ValueError("calibration is for decoded latents; with source: true leave it out")
        if self.model is not None and (self.source == "true" or self.calibration == "train_statistics"):
            raise ValueError(
                "model predicts latents, but not those of training stimuli out of fold: leave out source: true and "
                "calibration: train_statistics, or the model"
            )
        return self

    @property
    def needs_stimuli(self) -> bool:
        """Whether images are made from true latents, which items without a stimulus do not have."""
        return self.source == "true"

    @property
    def reads_decoders(self) -> bool:
        """Whether latents are decoded; a trained layer reads samples instead."""
        return self.model is None

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return what is wrong with layers, embeddings and calibration, seen beside the rest of the study."""
        problems = not_decoded(f"{where}.layers", self.layers or (), network)
        if self.model is not None:
            problems += not_trained(study, where, self, self.model, method="latent_layer") or self._other_layers(
                study.train[self.model], where, network
            )
        for name, own in self.embeddings.items():
            if own.network is None:
                continue
            place, known = f"{where}.embeddings.{name}", study.networks.get(own.network)
            if known is None:
                problems.append(f"{place}.network: unknown name {own.network!r}{closest(own.network, study.networks)}")
            elif known.architecture == FEATURES_ONLY:
                problems.append(
                    f"{place}: the features of {own.network!r} come from files alone, so those of rendered images are "
                    "not known; give a network that computes them"
                )
            elif own.layer not in known.layers:
                problems.append(
                    f"{place}.layer: {own.network!r} has no layer {own.layer!r}{closest(own.layer, known.layers)}"
                )
        if self.calibration == "train_statistics" and not study.fit.out_of_fold:
            problems.append(
                f"{where}: calibration: train_statistics comes from predictions out of fold; write fit: {{out_of_fold: "
                "true}"
            )
        if study.decode.norm_correction != "none":
            problems.append(
                f"{where}: latents have a calibration of their own; write decode: {{norm_correction: none}}, not "
                f"{study.decode.norm_correction}"
            )
        if study.units is not None:
            problems.append(f"{where}: a generator needs every number of a latent; leave out units")
        return problems

    def _other_layers(self, model: Any, where: str, network: Network) -> list[str]:
        if (model.network, model.layers or network.layers) == (self.network, self.layers or network.layers):
            return []
        return [
            f"{where}: latents of {self.network!r} are wanted, but {self.model!r} was trained on other layers; give "
            "both the same network and layers"
        ]
