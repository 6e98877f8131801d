"""Options of `power`: which parts of the data are tried, and what is foretold from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from hpc_recon.core.section import Section

Share = Annotated[float, Field(gt=0, le=1)]


class PowerImages(Section):
    """How the images of one method grow better with the data (`power --images`): few points, for each costs a fit."""

    variant: str | None = Field(
        None,
        description="entry of `reconstruct` that makes the images; default: the first that makes them from decoded "
        "features without training (icnn, pixels)",
    )
    dataset: str | None = Field(
        None, description="test dataset whose images are made; default: the first with identification: true"
    )
    stimuli: int = Field(10, ge=4, description="of its stimuli, at random, at most")
    draws: int = Field(2, ge=1, le=20, description="random subsets of each size that is not all there is")
    images: tuple[Share, ...] = Field(
        (0.125, 0.25, 0.5), description="shares of the training stimuli, beside all of them; [] leaves the curve out"
    )
    repeats: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2), description="repeats of each training stimulus, beside all of them"
    )
    voxels: tuple[Share, ...] = Field((0.25, 0.5), description="shares of the voxels, at random, beside all of them")
    trials: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 4, 8, 16), description="test trials that are averaged, beside all of them; these need no fit"
    )

    @field_validator("images", "repeats", "voxels", "trials")
    @classmethod
    def _ascending(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(sizes)))


class Power(Section):
    """How accuracy grows with images, repeats, averaged trials and voxels (`power`)."""

    units: int = Field(1000, ge=1, description="units a layer, drawn at random; --units N/layer")
    folds: int = Field(5, ge=2, description="folds of training stimuli, which are held out in turn")
    draws: int = Field(5, ge=2, le=100, description="random subsets of each size, with folds of their own")
    images: tuple[Share, ...] = Field(
        (0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0),
        min_length=2,
        description="shares of the training stimuli of a fold; the smaller are parts of the larger",
    )
    voxels: tuple[Share, ...] = Field(
        (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0), min_length=2, description="shares of the voxels of an ROI"
    )
    sessions: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (1, 2, 4), min_length=1, description="how many more sessions are foretold"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    resamples: int = Field(500, ge=100, description="bootstrap resamples of draws and units")
    reconstruct: PowerImages | None = Field(
        None, description="what `power --images` tries; it needs no entry unless something is to be changed"
    )

    @field_validator("images", "voxels")
    @classmethod
    def _reach_all(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if max(shares) != 1:
            raise ValueError(f"the largest share must be 1, all there is, got {max(shares)}; add 1")
        return tuple(sorted(set(shares)))
