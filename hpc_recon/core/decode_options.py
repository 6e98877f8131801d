"""Options of `decode`: how test data are decoded, and decoded features that were computed elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from hpc_recon.core.ingest_options import Name, SubjectName
from hpc_recon.core.ingest_section import paths_as_list
from hpc_recon.core.section import Section

NormCorrection = Literal["none", "l2_norm", "channel_std", "mean_center", "train_mean_center"]


def _checked_average(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value < 2:
        raise ValueError("is true (all repeats), false (single trials), or a number of repeats from 2")
    return value


Average = Annotated[StrictBool | StrictInt, BeforeValidator(_checked_average)]


class DecodedFiles(Section):
    """Decoded features of one network that were computed elsewhere: `<folder>/<layer>/<subject>/<roi>/<label>.mat`.

    Also `.../<roi>/decoded_features/<label>.mat`, and the names of the public archives of 2019.
    """

    folders: Annotated[tuple[Path, ...], BeforeValidator(paths_as_list)] = Field(
        min_length=1, description="folder of the layers' folders, or a list of such (one a dataset, for example)"
    )
    subjects: dict[SubjectName, str] = Field(
        default_factory=dict, description="what the files call a subject, where it differs: {S1: sub-01}"
    )
    rois: dict[Name, str] = Field(default_factory=dict, description="what the files call an ROI, where it differs")


class Decode(Section):
    """Decoded features of the test datasets."""

    average: Average = Field(
        True,
        description="average the raw repeats of each test stimulus before z-scoring: true (all), false (single trials; "
        "--single-trial), or N at a time, in their order, a rest too (--average N)",
    )
    norm_correction: NormCorrection = Field("none", description="how the shrunken norm of decoded features is restored")
    files: dict[Name, DecodedFiles] = Field(
        default_factory=dict,
        description="by network: read decoded features from files instead of decoding; no brain samples and no "
        "decoders are needed then, and the training dataset holds reference images",
    )
