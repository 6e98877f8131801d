"""Where the spread of natural images comes from that a norm correction restores: `networks.<name>.reference`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from hpc_recon.core.section import Section

#: What a folder of images can tell: every statistic is measured.
_MEASURED = ("l2_norm", "channel_std", "mean_center", "train_mean_center")


class Reference(Section):
    """Images, or a lab's file of statistics, whose features have the spread that decoded features shall have."""

    folder: Path | None = Field(
        None, description="folder of natural images of any size: .png .jpg .jpeg .tif .tiff .bmp .webp"
    )
    file: Path | None = Field(
        None,
        description="estimated_vgg19_cnn_feat_std.mat or a relative: a standard deviation a layer, or one a channel; "
        "with ddof 1 if its name says dof1, else with ddof 0",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Reference:
        if (self.folder is None) == (self.file is None):
            raise ValueError("give either folder or file")
        return self

    @property
    def statistic(self) -> Literal["channel_std", "mean_center"]:
        """The statistic that a file holds, by its name: `mean_center` (ddof 1) or `channel_std` (ddof 0)."""
        return "mean_center" if self.file is not None and "dof1" in self.file.name.lower() else "channel_std"

    @property
    def serves(self) -> tuple[str, ...]:
        """The values of `decode.norm_correction`, beside none, that it has statistics for.

        >>> Reference(file=Path("std_chwise_dof1.mat")).serves
        ('mean_center', 'train_mean_center')
        """
        if self.folder is not None:
            return _MEASURED
        return ("mean_center", "train_mean_center") if self.statistic == "mean_center" else ("channel_std",)

    @property
    def in_words(self) -> str:
        """What it is, in words."""
        if self.folder is not None:
            return f"the images of the folder {self.folder.name}"
        assert self.file is not None, "one of both is given"
        return f"the file {self.file.name}"


#: What is used where a network has no reference of its own.
TRAINING = "the training stimuli (no reference images were given)"


def in_words(reference: Reference | None) -> str:
    """Return what a network's norm correction restores the spread of.

    >>> in_words(Reference(folder=Path("photos")))
    'the images of the folder photos'
    """
    return TRAINING if reference is None else reference.in_words
