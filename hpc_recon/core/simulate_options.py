"""Options of `simulate:`: a synthetic study with known truth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpc_recon.core.section import Section


class Simulate(Section):
    """A synthetic study with known truth: photographs, shapes, letters, and noisy retinotopic voxels."""

    preset: Literal["easy", "realistic", "null"] = Field("easy", description="signal strength; null has no signal")
    signal: Literal["image", "category"] = Field(
        "image",
        description="what voxels answer to: the image, or only what kind of image it is (their mean answer to the "
        "images of its category in the same dataset), to see what scores and verdict say of such a brain",
    )
    image_size: int = Field(64, ge=16, le=512, description="height and width of the stimuli, pixels")
    n_training: int = Field(900, ge=8, description="training crops, from training photographs only")
    n_natural: int = Field(12, ge=2, description="test crops, from held-out photographs only")
    n_shapes: int = Field(8, ge=2, description="coloured shapes (8 shapes x 5 colours at most)")
    n_letters: int = Field(6, ge=2, le=26, description="letters")
    imagery: bool = Field(False, description="add an imagery dataset: the shapes with weaker signal")
    n_voxels: int = Field(3000, ge=50, description="voxels per subject over all ROIs")
    training_repeats: int = Field(5, ge=1, description="presentations of each training stimulus")
    average_training: bool = Field(False, description="average the training repeats into one sample per stimulus")
    noise_scale: float = Field(1.0, gt=0, description="multiplies the preset's noise standard deviation")
