"""Options of shape-semantic reconstruction: what is trained (`train:`), and which of it is shown (`reconstruct:`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from hpc_recon.core import shape_checks
from hpc_recon.core.method_options import MethodOptions, not_trained
from hpc_recon.core.section import Section
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

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.network_options import Network

#: What an ablation leaves out.
Part = Literal["shape", "semantics", "fusion", "augmentation"]
Target = Literal["labels", "kmeans", "embedding"]


class ShapeStage(Section):
    """The decoded shape: a grid that the engine decodes for each area, and how the areas are combined."""

    network: Name = Field(description="a name from `networks:` whose layer is a grid: shape_gray, pixels_gray, ...")
    layer: Name | None = Field(None, description="its layer, (1 or 3, g, g); default: the only one")
    rois: tuple[Name, ...] = Field((), description="areas, as [V1, V2, V3]; default: the ROI of the entry alone")
    combiner: Literal["ridge", "nonnegative", "average", "first"] = Field(
        "ridge",
        description="weights of the areas, each cell its own, fitted on predictions out of fold: ridge (drawn towards "
        "the average), nonnegative, average (1 / areas each), or first (the first area alone: no fusion)",
    )
    alpha: float = Field(1.0, gt=0, description="penalty of combiner: ridge, in squared deviations of a cell")


class SemanticStage(Section):
    """The semantic vector: what it is trained to tell, from which area, by which decoder."""

    target: Target = Field(
        "labels",
        description="labels (categories of the stimuli), kmeans (clusters of an embedding, of training images alone) "
        "or embedding (the numbers of a layer themselves)",
    )
    network: Name | None = Field(None, description="kmeans, embedding: a name from `networks:`")
    layer: Name | None = Field(None, description="its layer; default: the only one")
    clusters: int = Field(20, ge=2, description="kmeans: number of clusters")
    roi: Name | None = Field(None, description="area it is decoded from, as HVC; default: the ROI of the entry")
    decoder: Literal["network", "linear"] = Field(
        "network",
        description="network (two hidden layers of tanh, as published, but logits and cross-entropy) or linear "
        "(logistic regression; of an embedding the engine's decoders and predictions out of fold)",
    )
    hidden: tuple[Count, Count] = Field(
        (1024, 64), description="network: units of its hidden layers; published: [1024, 64], or [2048, 1024]"
    )
    feature: Literal["penultimate", "logits"] = Field(
        "penultimate",
        description="network: what the vector is, the last hidden layer (as published) or the logits",
    )
    penalty: float = Field(1.0, gt=0, description="linear: penalty of the logistic regression on z-scored voxels")
    epochs: int = Field(100, ge=1, description="network: passes over the training images")
    batch: int = Field(10, ge=1, description="network: images of one step")
    learning_rate: float = Field(2e-4, gt=0, description="network: of Adam (betas 0.5 and 0.999)")
    decay: float = Field(0.8, gt=0, le=1, description="network: factor of the rate every ten passes")

    @model_validator(mode="after")
    def _embedding(self) -> SemanticStage:
        if (self.target != "labels") != (self.network is not None):
            raise ValueError(
                f"network is the embedding of target kmeans or embedding, and target is {self.target}; "
                + ("give a network" if self.network is None else "leave network out, or choose another target")
            )
        return self


class Augmentation(Section):
    """Images without brain data that the generator also learns from: own shape, mean semantics of their class."""

    dataset: Name = Field(description="stimuli of this dataset (under ingest.stimuli, with samples of no subject)")
    weight: float = Field(0.5, gt=0, le=1, description="of such an image in all losses; one with brain data counts 1")
    noise: float = Field(0.0, ge=0, description="standard deviation added to the z-scored semantic vector")


#: What each profile sets, where an entry says nothing else.
PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "paper": MappingProxyType({}),
        "tiny": MappingProxyType(
            {
                "image_size": 32,
                "width": 0.25,
                "patch_layers": 3,
                "steps": 600,
                "steps_per_tile": 200,
                "checkpoint_every": 100,
                "log_every": 10,
            }
        ),
    }
)


class ShapeSemanticTraining(TrainingOptions):
    """A conditional generator from decoded shape and semantics to images (Fang, Qi & Pan 2020)."""

    method: Literal["shape_semantic"] = Field(description="chooses what is trained")
    profile: Literal["paper", "tiny"] = Field(
        "paper", description="what the keys left out here are: paper (256 px) or tiny (small networks for 32 px)"
    )
    rois: tuple[Name, ...] | None = Field(
        None,
        description="ROIs, one network each; default: all; where areas are named below, the one it is stored under",
    )
    shape: ShapeStage = Field(description="the decoded shape")
    semantic: SemanticStage = Field(SemanticStage(), description="the semantic vector")
    augmentation: Augmentation | None = Field(None, description="images without brain data; default: none")
    leave_out: tuple[Part, ...] = Field(
        (),
        description="shape (the generator sees none), semantics (no vector), fusion (the first area alone) or "
        "augmentation",
    )
    ablations: tuple[Part, ...] = Field(
        (), description="makes beside this entry an entry <name>.no-<part> without each of these parts"
    )
    targets: tuple[Target, ...] = Field(
        (), description="makes an entry <name>.<target> of this one for each semantic target, under one split"
    )
    clusters: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (), description="kmeans: makes an entry <name>.k<N> of this one for each number of clusters"
    )
    seeds: Seeds = ()
    folds: int = Field(5, ge=2, description="folds, by image, of the combiner's and the semantic decoder's predictions")
    image_size: int = Field(256, ge=16, le=1024, description="pixels, a power of 2; stimuli are resized to it")
    width: float = Field(1.0, gt=0, le=1, description="multiplies the numbers of channels")
    patch_layers: int = Field(4, ge=1, le=6, description="halvings of the discriminator: patches are image_size / 2^n")
    norm: Literal["instance", "none"] = Field("instance", description="normalisation of both networks' maps")
    dropout: float = Field(0.5, ge=0, lt=1, description="rate in the generator's inner maps, in training")
    image_weight: float = Field(150.0, ge=0, description="lambda, of the mean squared error of images on [-1, 1]")
    adversarial_weight: float = Field(1.0, ge=0, description="of the least-squares adversarial loss; 0: none")
    learning_rate: float = Field(2e-4, gt=0, description="of Adam (betas 0.5 and 0.999), both networks")
    decay: float = Field(0.9, gt=0, le=1, description="factor of the rate every `decay_every` steps")
    decay_every: int = Field(360, ge=1, description="steps; published: three passes")
    steps: Steps = Field(24_000, description="steps in all; more may be added later; published: 10 to 200 passes")
    steps_per_tile: StepsPerTile = 2_000
    checkpoint_every: CheckpointEvery = 200
    log_every: LogEvery = 20
    batch: Batch = Field(10, description="images of one step")
    shift: int = Field(0, ge=0, description="pixels by which image and shape are moved together at most, at random")

    @model_validator(mode="before")
    @classmethod
    def _profile(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("profile", "paper") not in PROFILES:
            return given
        return {**PROFILES[given.get("profile", "paper")], **given}

    @model_validator(mode="after")
    def _sizes(self) -> ShapeSemanticTraining:
        if self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size must be a power of 2, as 32 or 256, but is {self.image_size}")
        if self.image_size < 2 ** (self.patch_layers + 1):
            raise ValueError(
                f"patch_layers {self.patch_layers} leave fewer than 2 patches an edge of {self.image_size} pixels; "
                "give fewer layers"
            )
        if not self.image_weight and not self.adversarial_weight:
            raise ValueError("both weights are 0, so nothing would be learnt; give one of them")
        if {"shape", "semantics"} <= {*self.leave_out}:
            raise ValueError("leave_out: without shape and semantics the generator sees nothing; leave one of them in")
        if self.clusters and self.semantic.target != "kmeans" and "kmeans" not in self.targets:
            raise ValueError(
                "clusters makes entries of target kmeans, and there is none; give semantic: target: kmeans"
            )
        wanted = {*self.targets} - {"labels"}
        if wanted and self.semantic.network is None:
            raise ValueError(
                f"targets: {', '.join(sorted(wanted))} need an embedding; write it under semantic, with target: kmeans"
            )
        absent = [part for part in self.ablations if part in self.leave_out]
        if absent or ("augmentation" in self.ablations and self.augmentation is None):
            raise ValueError(f"ablations leave out {(absent or ['augmentation'])[0]}, which is not there already")
        return self

    def has(self, part: Part) -> bool:
        """Return whether a part is not left out."""
        return part not in self.leave_out

    @property
    def augments(self) -> Augmentation | None:
        """The images without brain data, None where there are none or they are left out."""
        return self.augmentation if self.has("augmentation") else None

    @property
    def combiner(self) -> Literal["ridge", "nonnegative", "average", "first"]:
        """How areas are combined."""
        return self.shape.combiner if self.has("fusion") else "first"

    @property
    def pictures_size(self) -> int:
        """Height and width, pixels, that stimuli are resized to."""
        return self.image_size

    def entries(self, name: str) -> dict[str, ShapeSemanticTraining]:
        """Return the entries that one stands for: targets, numbers of clusters, ablations, seeds, in this order."""
        plain = self.model_copy(update={"ablations": (), "targets": (), "clusters": (), "seeds": ()})
        found = {name: plain}
        if self.targets:
            found = {f"{name}.{target}": _with_target(plain, target) for target in self.targets}
        if self.clusters:
            found |= {
                f"{own}.k{n}": part.model_copy(update={"semantic": part.semantic.model_copy(update={"clusters": n})})
                for own, part in found.items()
                if part.semantic.target == "kmeans"
                for n in self.clusters
            }
        found |= {
            f"{name}.no-{part}": plain.model_copy(update={"leave_out": (*plain.leave_out, part)})
            for part in self.ablations
        }
        return by_seed(found, self.seeds)

    def own_problems(self, study: Study, where: str) -> list[str]:
        """Return what is wrong with its layers, areas and images beside the rest of the study."""
        return shape_checks.training(study, where, self)


def _with_target(options: ShapeSemanticTraining, target: Target) -> ShapeSemanticTraining:
    changes: dict[str, Any] = {"target": target}
    if target == "labels":
        changes |= {"network": None, "layer": None}
    return options.model_copy(update={"semantic": options.semantic.model_copy(update=changes)})


class ShapeSemanticOptions(MethodOptions):
    """Images of a trained shape-semantic generator.

    `network` is not run: its decoded features choose the nearest training image, a baseline of `evaluate`.
    """

    method: Literal["shape_semantic"] = Field(description="chooses this method")
    model: Name = Field(description="a name from `train:`")
    shows: Literal["image", "shape"] = Field(
        "image", description="image (what the generator makes), or shape (the combined shape, as it is decoded)"
    )
    expand: bool = Field(
        False, description="make an entry of this one for each that targets, clusters, ablations and seeds made"
    )
    average_seeds: bool = Field(
        False, description="show the mean of the images that all seeds make, instead of an entry for each"
    )
    averaged_with: tuple[Name, ...] = Field(
        (), description="more names from `train:`, whose images are averaged with those of model"
    )
    images_per_tile: int = Field(50, ge=1, description="images that one task makes")

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return what the models were not trained for, and what the generator did not learn from."""
        found = []
        for name in (self.model, *self.averaged_with):
            found += not_trained(study, where, self, name, method="shape_semantic")
        if study.decode.norm_correction != "none":
            found.append(
                f"{where}: the generator learnt from decoded shapes as they are; write decode: "
                "{norm_correction: none}"
            )
        return found
