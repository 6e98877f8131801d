"""Options of the reconstruction methods, as they stand under `reconstruct:` in a study file.

They live here, not beside the methods, so that a study file is checked whole without importing torch.
The key `method` chooses the model; `methods/__init__.py` says which module implements it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hpc_recon.core.icnn_options import (
    DEFAULT,
    GeneratorLatent,
    Latent,
    LayerMask,
    Lbfgs,
    LossName,
    Optimiser,
    PresetName,
    for_all,
    require_compatible,
    with_preset,
)
from hpc_recon.core.method_options import MethodOptions, Name, not_decoded, not_trained
from hpc_recon.core.network_options import PIXEL_ARCHITECTURES
from hpc_recon.core.section import FileOrWord
from hpc_recon.core.text import closest

if TYPE_CHECKING:
    from hpc_recon.core.config import Study
    from hpc_recon.core.network_options import Network


class IcnnOptions(MethodOptions):
    """Deep image reconstruction: an image optimised until its features match the decoded ones (Shen 2019)."""

    method: Literal["icnn"] = Field(description="chooses this method")
    preset: PresetName | None = Field(
        None,
        description="options of a published routine, where this entry has none of its own: pixels_lbfgs, pixels_gd, "
        "generator_gd or generator_lbfgs (docs/reconstruction.md)",
    )
    layers: tuple[Name, ...] | None = Field(None, description="layers of the network to match; default: all")
    layer_weights: dict[Name, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="multiplies a layer's part of the loss; default 1"
    )
    expand: Literal["cumulative", "groups", "layers"] | None = Field(
        None,
        description="make several entries of this one: cumulative (conv1, conv1 and conv2, ...), groups (conv1, conv2, "
        "...) or layers (each alone)",
    )
    source: Literal["decoded", "true"] = Field(
        "decoded", description="features to match: decoded ones, or the true ones of the stimuli, to try a method"
    )
    loss: Annotated[dict[Name, LossName], BeforeValidator(for_all)] = Field(
        {DEFAULT: "l2"},
        description="l2, l1, inner (minus the product), gram, correlation (1 - r over units) or target_normalised_mse, "
        "for all layers or by layer (default: for the others)",
    )
    balance: Literal["relative", "published", "none"] = Field(
        "relative",
        description="weights of layers: relative (each loss divided by what zero features would cost), published "
        "(1/||y||^2 whatever the loss) or none (1)",
    )
    reliability: Literal["none", "residual", "calibrated"] = Field(
        "none",
        description="weights of units from fit.out_of_fold: residual (1 / variance of what decoding leaves), or "
        "calibrated (shrinkage of decoded features undone, weighted by what is then left)",
    )
    masks: dict[Name, LayerMask] = Field(
        default_factory=dict, description="units that count, by layer (default: for the others)"
    )
    latent: Latent = Field("pixels", description="what is optimised: pixels, or a generator's input")
    optimiser: Optimiser = Field(Lbfgs(), description="its name alone, or with its options")
    iterations: int = Field(200, ge=1, description="iterations at most")
    total_variation: float = Field(
        0.0, ge=0, description="weight of the mean squared difference of neighbouring pixels, added to the loss"
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="height and width at which pixels are optimised; default: the stimuli's or the network's input, "
        "whichever is smaller; the image is resized to the stimuli's size in the end",
    )
    start: Literal["training_mean", "mean_rgb", "gray", "zeros", "uniform", "normal"] | None = Field(
        None,
        description="pixels: training_mean (default), mean_rgb (what the weights' preprocessing subtracts), gray, "
        "zeros (black) or uniform (0-255); generator: zeros (default) or normal (deviation 1); moved into the bounds",
    )
    start_file: Path | None = Field(
        None, description="instead of start: an image file for pixels, a .npy of the latent for a generator"
    )
    start_noise: float | None = Field(
        None,
        ge=0,
        le=1,
        description="standard deviation of noise added to the start; default: 0.05 for pixels that start from one "
        "colour, and for the later ones of n_starts; else 0",
    )
    n_starts: int = Field(1, ge=1, le=100, description="random starts, of which the one with the smallest loss is kept")
    keep_starts: bool = Field(False, description="also store the images of all starts, in starts/")
    stretch: bool = Field(
        False,
        description="clip each image at its 2nd and 98th percentile and stretch it to the whole range, as the "
        "published figures; scores then no longer see its contrast",
    )
    snapshots: int | None = Field(
        None, ge=1, description="iterations between the pictures of an animation in snapshots/; default: none"
    )
    recovery: int = Field(
        2, ge=0, description="images that are also made from true features, once for this entry, as a check"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the network's arithmetic")
    channels_last: bool = Field(False, description="memory order of images in the network, faster on some GPUs")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        return with_preset(given)

    @model_validator(mode="after")
    def _combinations(self) -> IcnnOptions:
        require_compatible(self)
        return self

    @property
    def is_generator(self) -> bool:
        """Whether a generator's input is optimised."""
        return isinstance(self.latent, GeneratorLatent)

    @property
    def first(self) -> str:
        """Name of the start: `start`, `file`, or the default of the latent."""
        if self.start_file is not None:
            return "file"
        return self.start or ("zeros" if self.is_generator else "training_mean")

    @property
    def noise(self) -> float:
        """Standard deviation of noise added to the first start."""
        if self.start_noise is None:
            return 0.05 if self.first in ("gray", "zeros", "mean_rgb") and not self.is_generator else 0.0
        return self.start_noise

    def noise_of(self, attempt: int) -> float:
        """Return the standard deviation of noise added to a start, the first of which is 0; later ones must differ."""
        same = self.first in ("training_mean", "file") and not self.is_generator
        return 0.05 if attempt and same and self.start_noise is None else self.noise

    @property
    def needs_stimuli(self) -> bool:
        """Whether images are made from true features, which items without a stimulus do not have."""
        return self.source == "true"

    @property
    def runs_network(self) -> bool:
        """Whether `network` is run: its features are computed of each image on the way."""
        return True

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return what is wrong with layers, reliability and losses, seen beside the rest of the study."""
        found = []
        if network.architecture in PIXEL_ARCHITECTURES:
            found.append(f"{where}: the network {self.network!r} is the image itself; use method: pixels")
        named = dict.fromkeys([*(self.layers or ()), *self.layer_weights, *self.loss, *self.masks])
        found += not_decoded(where, (x for x in named if x != DEFAULT or x in self.layer_weights), network)
        if self.reliability != "none" and not study.fit.out_of_fold:
            found.append(f"{where}: reliability comes from predictions out of fold; write fit: {{out_of_fold: true}}")
        if self.reliability == "calibrated" and study.decode.norm_correction != "none":
            found.append(
                f"{where}: reliability: calibrated restores the spread of decoded features itself; write "
                f"decode: {{norm_correction: none}}, not {study.decode.norm_correction}"
            )
        if study.units is not None and "gram" in self.loss.values():
            found.append(f"{where}: a gram loss needs all units of a layer; leave out units, or use another loss")
        return found

    def loss_of(self, layer: str) -> LossName:
        """Return the loss of a layer."""
        return self.loss.get(layer) or self.loss.get(DEFAULT, "l2")

    def mask_of(self, layer: str) -> LayerMask | None:
        """Return the mask of a layer, None if all its units count."""
        return self.masks.get(layer) or self.masks.get(DEFAULT)


class PixelsOptions(MethodOptions):
    """Decoded pixels, clipped to [0, 1] and saved; for networks whose architecture is `pixels` or `pixels_gray`."""

    method: Literal["pixels"] = Field(description="chooses this method")

    @property
    def runs_network(self) -> bool:
        """Whether `network` is run: what it computes is the image, so features from files alone will not do."""
        return True

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return whether the network is the image."""
        if network.architecture in PIXEL_ARCHITECTURES:
            return []
        return [
            f"{where}: method pixels needs a network with architecture: pixels or pixels_gray, "
            f"not {network.architecture!r}"
        ]


class EndToEndOptions(MethodOptions):
    """Images from brain activity in one pass of a trained generator (Shen, Dwivedi, et al. 2019).

    `network` is not run: its decoded features choose the nearest training image, a baseline of `evaluate`.
    """

    method: Literal["end_to_end"] = Field(description="chooses this method")
    model: Name | None = Field(None, description="a name from `train:`, or give weights")
    expand: bool = Field(
        False, description="make an entry of this one for each that `ablations` and `seeds` of the model made"
    )
    weights: dict[str, FileOrWord] = Field(
        default_factory=dict,
        description="instead of model: by subject, a published generator, .caffemodel or a converted state dict",
    )
    display: Literal["raw", "stretched", "both"] = Field(
        "raw",
        description="raw (values clipped at 0 and 255), stretched (each image clipped at its 0.02nd and 99.98th "
        "percentile and stretched to the whole range, as the published figures: scores then no longer see absolute "
        "colours) or both, an entry <name>.raw and one <name>.stretched",
    )
    rescale: bool = Field(
        True,
        description="multiply z-scored activity by the root of the number of trials that an item averages, which "
        "undoes what averaging does to its variance",
    )
    images_per_tile: int = Field(50, ge=1, description="images that one task makes")

    @model_validator(mode="after")
    def _one_source(self) -> EndToEndOptions:
        if (self.model is None) == (not self.weights):
            raise ValueError("give either model (a name from train:) or weights, by subject")
        return self

    @property
    def reads_decoders(self) -> bool:
        """Whether images are made from what decoders give: no, from brain samples."""
        return False

    def own_problems(self, study: Study, where: str, network: Network) -> list[str]:
        """Return what the model was not trained for, or which subjects have no published generator."""
        if self.model is None:
            return [
                f"{where}.weights: unknown subject {subject!r}{closest(subject, study.subjects)}"
                for subject in self.weights
                if subject not in study.subjects
            ] + [
                f"{where}.weights: no generator of {subject!r}; add one, or name the others under subjects"
                for subject in self.subjects or study.subjects
                if subject not in self.weights
            ]
        return not_trained(study, where, self, self.model, method="end_to_end")
