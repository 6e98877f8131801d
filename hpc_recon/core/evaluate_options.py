"""Options of `evaluate`: intervals, and which published sets of image metrics are computed beside the project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from hpc_recon.core.section import Section

PresetName = Literal["mindeye", "brain-diffuser", "takagi", "kamitani"]
#: Networks in which images are compared, by the weights that a preset names.
MetricNetwork = Literal["alexnet", "inception", "efficientnet_v1", "efficientnet_v2", "swav", "clip", "alexnet_caffe"]
#: Which presets use which network.
USED_BY: dict[MetricNetwork, tuple[PresetName, ...]] = {
    "alexnet": ("mindeye", "brain-diffuser", "takagi"),
    "inception": ("mindeye", "brain-diffuser", "takagi"),
    "efficientnet_v1": ("brain-diffuser",),
    "efficientnet_v2": ("mindeye",),
    "swav": ("mindeye", "brain-diffuser"),
    "clip": ("mindeye", "brain-diffuser", "takagi"),
    "alexnet_caffe": ("kamitani",),
}


class Evaluate(Section):
    """Scores."""

    confidence: float = Field(0.95, gt=0, lt=1, description="level of the intervals")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples over images")
    ssim_identification: bool = Field(
        False, description="identification of images by SSIM instead of r; takes time: every image with every stimulus"
    )
    n_way: tuple[Literal[5, 10, 50], ...] = Field(
        (), description="also identification of images among so many candidates, 5, 10 or 50 (chance 1 / n)"
    )
    presets: tuple[PresetName, ...] = Field(
        (),
        description="published sets of image metrics, beside this project's own: mindeye, brain-diffuser, takagi, "
        "kamitani (docs/evaluation.md)",
    )
    networks: dict[MetricNetwork, Path] = Field(
        default_factory=dict,
        description="weights files (torch state dicts; alexnet_caffe may be a .caffemodel) of the networks in which "
        "presets compare images: alexnet, inception, efficientnet_v1, efficientnet_v2, swav, clip, alexnet_caffe; "
        "metrics of others are listed as absent",
    )
    parquet: bool = Field(
        False,
        description="scores/features and scores/images also as .parquet, which keeps types and is smaller; needs "
        "pip install 'hpc_recon[parquet]'",
    )
    ratings: tuple[Path, ...] = Field(
        (), description="files that raters of a page of `rate` saved, or folders of them (docs/rating.md)"
    )
    shapes: dict[str, Literal["labels"] | Path] = Field(
        default_factory=dict,
        description="by test dataset of coloured shapes: labels (they are <colour>_<shape>), or a .csv file with the "
        "columns label, colour and shape; adds shape_identification and colour_identification of images",
    )

    @model_validator(mode="after")
    def _used(self) -> Evaluate:
        if len(set(self.presets)) != len(self.presets):
            raise ValueError(f"presets must differ, got {', '.join(self.presets)}")
        if len(set(self.n_way)) != len(self.n_way):
            raise ValueError(f"numbers of n_way must differ, got {', '.join(map(str, self.n_way))}")
        unused = [name for name in self.networks if not set(USED_BY[name]) & set(self.presets)]
        if unused:
            raise ValueError(
                f"the networks {', '.join(unused)} are used by none of the presets "
                f"({', '.join(self.presets) or 'none'}); {unused[0]} belongs to {', '.join(USED_BY[unused[0]])}: "
                f"name one of these, or leave the file out"
            )
        return self

    @property
    def intervals(self) -> dict[str, Any]:
        """What an interval depends on, beside its values."""
        return {"confidence": self.confidence, "resamples": self.resamples}
