"""Options of the reconstruction methods, as they stand under `reconstruct:` in a study file.

They live here, not beside the methods, so that a study file is checked whole without importing torch.
The key `method` chooses the model; `methods/__init__.py` says which module implements it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hpc_recon.core.text import checked_name

Name = Annotated[str, AfterValidator(checked_name)]


class MethodOptions(BaseModel):
    """What every method has: the network whose decoded features it reads, and which images it makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Name = Field(description="a name from `networks:`")
    datasets: tuple[Name, ...] | None = Field(None, description="test datasets to reconstruct; default: all")
    rois: tuple[Name, ...] | None = Field(None, description="ROIs whose decoded features are used; default: all")
    subjects: tuple[str, ...] | None = Field(None, description="subjects (base names); default: all")
    title: str | None = Field(None, description="name in the report; default: the name of this entry")
    images_per_tile: int = Field(1, ge=1, description="images that one task reconstructs together")


class IcnnOptions(MethodOptions):
    """Deep image reconstruction: pixels optimised until their features match the decoded ones (Shen 2019)."""

    method: Literal["icnn"] = Field(description="chooses this method")
    layers: tuple[Name, ...] | None = Field(None, description="layers of the network to match; default: all")
    layer_weights: dict[Name, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="multiplies 1/||y||^2 of a layer; default 1"
    )
    iterations: int = Field(200, ge=1, description="L-BFGS iterations at most")
    total_variation: float = Field(
        0.0, ge=0, description="weight of the mean squared difference of neighbouring pixels"
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="height and width at which pixels are optimised; default: the stimuli's or the network's input, "
        "whichever is smaller; the image is resized to the stimuli's size in the end",
    )
    start: Literal["training_mean", "gray", "uniform"] = Field("training_mean", description="initial image")
    start_noise: float = Field(0.05, ge=0, le=1, description="standard deviation of noise added to the initial image")


class PixelsOptions(MethodOptions):
    """Decoded pixels, clipped to [0, 1] and saved; for networks whose architecture is `pixels` or `pixels_gray`."""

    method: Literal["pixels"] = Field(description="chooses this method")
