"""Options of the controls: chains fitted again on brains that can tell nothing, or on training without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from hpc_recon.core.section import Section

ControlName = Literal["shuffled", "noise", "clusters"]
CONTROLS: tuple[ControlName, ...] = ("shuffled", "noise", "clusters")
#: Derived studies: the controls, and that of `power --images`.
DerivedName = Literal["shuffled", "noise", "clusters", "power"]


class Controls(Section):
    """What `control` runs."""

    names: tuple[ControlName, ...] = Field(
        CONTROLS,
        min_length=1,
        description="shuffled (training stimuli exchange their labels, then everything is fitted again), noise "
        "(training and test samples are Gaussian noise of each voxel's mean and deviation) and clusters (each cluster "
        "of stimuli with test items is held out of the training samples in turn)",
    )
    repeats: int = Field(
        3, ge=3, le=20, description="independent shuffles (or draws of noise) of each subject; a leak shows in all"
    )
    clusters: int = Field(10, ge=2, le=100, description="clusters of training stimuli, for the control of that name")
    cluster_layer: str | None = Field(
        None,
        description="<network>/<layer> whose features make the clusters; default: the last layer of the first network",
    )
    units: int = Field(
        1000,
        ge=1,
        description="units of each layer, at random; where `units` is given or pixels are decoded, that counts",
    )
    images: int = Field(24, ge=4, description="test stimuli of a dataset, at random, at most")


class Part(Section):
    """The part of the training samples that a derived subject of `power --images` has."""

    curve: Literal["all", "images", "repeats", "voxels"] = Field(description="what there is less of")
    amount: float = Field(description="training stimuli, repeats at most, or the share of voxels")
    draw: int = Field(description="which random part of that size, from 1")


class Trials(Section):
    """The test samples that a derived dataset of `power --images` has."""

    dataset: str = Field(description="of the study that the samples are from")
    trials: int = Field(description="samples of each stimulus")
    draw: int = Field(description="which random samples, from 1")


class ControlOf(Section):
    """Written by `control` and `power --images` into the studies that they derive; nothing to write yourself."""

    name: DerivedName = Field(description="which control this study is, or power")
    workspace: Path = Field(description="of the study that it is a control of")
    subjects: dict[str, str] = Field(description="whose brain each subject's was made from")
    images: int = Field(ge=4, description="test stimuli of a dataset at most")
    clusters: str | None = Field(None, description="digest of the clusters of stimuli")
    held_out: dict[str, int] = Field(
        default_factory=dict, description="cluster that a subject is not trained on, and whose test stimuli it is shown"
    )
    datasets: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="test datasets that have stimuli of a subject's cluster"
    )
    parts: dict[str, Part] | None = Field(None, description="by subject, of `power --images`")
    trials: dict[str, Trials] | None = Field(None, description="by dataset that averages some trials, of the same")

    def source(self, dataset: str) -> str:
        """Return the dataset of the study that the samples of a derived one are from."""
        return self.trials[dataset].dataset if self.trials and dataset in self.trials else dataset
