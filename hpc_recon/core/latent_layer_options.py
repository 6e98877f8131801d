"""Options of a dense layer from brain samples to latents, trained through their generator (`train:`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hpc_recon.core.fit_options import MostActive
from hpc_recon.core.latent_options import LatentGenerator, as_generator
from hpc_recon.core.text import checked_name
from hpc_recon.core.train_options import Comparator

Name = Annotated[str, AfterValidator(checked_name)]


class FeatureLoss(Comparator):
    """A loss of features: of the image that the predicted latent renders, against that of the true latent."""

    weight: float = Field(
        1.0,
        gt=0,
        description="of the sum over layers of the mean squared difference of features, beside half the mean squared "
        "difference of latents, whose weight is 1",
    )
    image_size: int = Field(224, ge=16, le=1024, description="pixels to which rendered images are resized for it")
    images_at_once: int = Field(
        1,
        ge=1,
        description="images of a batch that are rendered together, there and back: memory grows with it; results are "
        "the same but for rounding",
    )


class LatentLayerTraining(BaseModel):
    """A dense layer from voxels to latents, trained by Adam on latents and on features of rendered images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["latent_layer"] = Field(description="chooses what is trained")
    network: Name = Field(description="a name from `networks:` whose layers are the latents")
    layers: tuple[Name, ...] | None = Field(
        None, description="layers that make up the latent, in this order; default: all"
    )
    generator: Annotated[LatentGenerator, BeforeValidator(as_generator)] = Field(
        description="what renders the latents: kind and weights"
    )
    features: FeatureLoss | None = Field(
        None, description="the loss of features through the generator; default: the loss of latents alone"
    )
    subjects: tuple[str, ...] | None = Field(None, description="subjects (base names); default: all")
    rois: tuple[Name, ...] | None = Field(None, description="ROIs, one layer each; default: all")
    most_active: MostActive | None = Field(
        None, description="read only the voxels of an ROI that respond most, chosen on all training samples"
    )
    inputs: Literal["stored", "z_scored"] = Field("stored", description="voxels as they are, or z-scored")
    seed: int = Field(0, ge=0, description="of weights and order, beside the study's seed")
    start: float = Field(0.07, ge=0, description="weights begin uniformly between -start and start; biases at 0")
    learning_rate: float = Field(1e-5, gt=0, description="of Adam")
    weight_decay: float = Field(0.01, ge=0, description="added to the gradient, as under fit.gradient")
    decay_bias: bool = Field(True, description="decay biases as weights are")
    beta1: float = Field(0.9, ge=0, lt=1, description="of Adam: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0, description="of Adam")
    batch: int = Field(30, ge=1, description="samples of one step")
    steps: int = Field(
        52_500, ge=1, description="steps in all; more may be added later; published: 1,500 epochs of 35 batches"
    )
    steps_per_tile: int = Field(
        5_000, ge=1, description="steps of one task, which begins at the checkpoint of the one before"
    )
    checkpoint_every: int = Field(500, ge=1, description="steps after which a task that is killed goes on")
    log_every: int = Field(50, ge=1, description="steps between two rows of the table of losses")
    pictures_every: int | None = Field(
        None, ge=1, description="steps between two pictures of examples, which each task leaves at its end too"
    )
    loading_threads: int = Field(1, ge=1, le=16, description="threads that make the next batches ready")
    buffer_bytes: int = Field(
        2**31, ge=2**16, description="samples and latents held in memory; of larger sets a part at a time is shuffled"
    )
    seconds_per_step: float | None = Field(
        None, gt=0, description="measured seconds of a step where it will run, for projections; default: for a CPU"
    )
