"""Options of a dense layer from brain samples to latents, trained through their generator (`train:`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from hpc_recon.core.fit_options import MostActive
from hpc_recon.core.latent_options import LatentGenerator, as_generator
from hpc_recon.core.network_options import Layers
from hpc_recon.core.text import closest
from hpc_recon.core.train_options import Comparator
from hpc_recon.core.training_options import (
    Batch,
    CheckpointEvery,
    LogEvery,
    Name,
    Steps,
    StepsPerTile,
    TrainingOptions,
)

if TYPE_CHECKING:
    from hpc_recon.core.config import Study


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


class LatentLayerTraining(TrainingOptions):
    """A dense layer from voxels to latents, trained by Adam on latents and on features of rendered images."""

    method: Literal["latent_layer"] = Field(description="chooses what is trained")
    network: Name = Field(description="a name from `networks:` whose layers are the latents")
    layers: Layers | None = Field(None, description="layers that make up the latent, in this order; default: all")
    generator: Annotated[LatentGenerator, BeforeValidator(as_generator)] = Field(
        description="what renders the latents: kind and weights"
    )
    features: FeatureLoss | None = Field(
        None, description="the loss of features through the generator; default: the loss of latents alone"
    )
    most_active: MostActive | None = Field(
        None, description="read only the voxels of an ROI that respond most, chosen on all training samples"
    )
    inputs: Literal["stored", "z_scored"] = Field("stored", description="voxels as they are, or z-scored")
    start: float = Field(0.07, ge=0, description="weights begin uniformly between -start and start; biases at 0")
    learning_rate: float = Field(1e-5, gt=0, description="of Adam")
    weight_decay: float = Field(0.01, ge=0, description="added to the gradient, as under fit.gradient")
    decay_bias: bool = Field(True, description="decay biases as weights are")
    beta1: float = Field(0.9, ge=0, lt=1, description="of Adam: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0, description="of Adam")
    batch: Batch = 30
    steps: Steps = Field(
        52_500, description="steps in all; more may be added later; published: 1,500 epochs of 35 batches"
    )
    steps_per_tile: StepsPerTile = 5_000
    checkpoint_every: CheckpointEvery = 500
    log_every: LogEvery = 50
    buffer_bytes: int = Field(
        2**31, ge=2**16, description="samples and latents held in memory; of larger sets a part at a time is shuffled"
    )

    def own_problems(self, study: Study, where: str) -> list[str]:
        """Return what is wrong with its network and layers."""
        network = study.networks.get(self.network)
        if network is None:
            return [f"{where}.network: unknown network {self.network!r}{closest(self.network, study.networks)}"]
        found = [
            f"{where}.layers: {self.network!r} has no layer {layer!r}{closest(layer, network.layers)}"
            for layer in self.layers or ()
            if layer not in network.layers
        ]
        if study.units is not None:
            found.append(f"{where}: a generator needs every number of a latent; leave out units")
        return found
