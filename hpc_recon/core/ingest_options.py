"""Options of `ingest:` in a study file: where a lab's samples, labels, masks and stimuli lie, and how they are read.

Every field has its meaning beside it; `docs/study_file.md` is written from these descriptions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hpc_recon.core.image_options import BetasSource, BoldSource, VoxelPositions
from hpc_recon.core.ingest_section import ArrayKey as ArrayKey
from hpc_recon.core.ingest_section import IngestSection as IngestSection
from hpc_recon.core.ingest_section import Name as Name
from hpc_recon.core.ingest_section import as_list as _as_list
from hpc_recon.core.text import SAFE_NAME_RULE, checked_name, is_safe_name

SubjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]{0,60}$"), AfterValidator(checked_name)]


def _as_names(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        value = [value]
    if isinstance(value, (list, tuple)):
        value = {str(label): str(label) for label in value}
    if not isinstance(value, dict):
        return value
    unsafe = [str(name) for name in value.values() if not is_safe_name(str(name))]
    if unsafe:
        raise ValueError(
            f"{', '.join(map(repr, unsafe))} cannot name files, which have {SAFE_NAME_RULE}; give a name for it: "
            f"{{{unsafe[0]!r}: fixation}}"
        )
    return {str(label): str(name) for label, name in value.items()}


def _as_combination(value: Any) -> Any:
    return {"combine": value} if isinstance(value, str) else value


class BDataLabels(IngestSection):
    """Which column of a BData table says what each sample shows, and how its numbers become stimulus labels."""

    key: str = Field(description="metadata key of the column: stimulus_name, image_index, stimulus_id, Label, ...")
    column: int = Field(1, ge=1, description="which of the key's columns, from 1 (Label often has several)")
    by: Literal["vmap", "image_index", "stimulus_id", "number"] = Field(
        "vmap",
        description="vmap: the file's own text; image_index: place among the sorted labels of the dataset's stimuli, "
        "from 1; stimulus_id: 1518878.010042 is n01518878_10042; number: the number itself, as text",
    )


class BDataSource(IngestSection):
    """The samples of one dataset in BData files (`.h5`): one table of voxels, labels and design, read in row blocks."""

    files: Annotated[tuple[Path, ...], BeforeValidator(_as_list)] = Field(
        min_length=1, description="one file or a list; the rows of several follow each other"
    )
    voxels: str = Field("VoxelData", description="selector of the voxel columns: ROI_VC, ROI_V1 = 1 | ROI_V2 = 1, ...")
    labels: BDataLabels = Field(description="the stimulus of each sample")
    rows: dict[str, Annotated[tuple[float, ...], BeforeValidator(_as_list)]] = Field(
        default_factory=dict, description="keep the rows whose column has one of these values: {DataType: 1}"
    )
    columns: dict[Name, str] = Field(
        default_factory=dict, description="sample columns to keep, by metadata key: {run: Run, vividness: Evaluation}"
    )


class Exclude(IngestSection):
    """Samples left out by name, before anything else is done with them."""

    labels: tuple[str, ...] = Field((), description="stimulus labels; each must occur")
    trials: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="samples by number, from 1 in the order of the files (after `rows` of BData)"
    )


class IngestDataset(IngestSection):
    """Where the samples of one dataset lie and which stimulus each one shows."""

    samples: ArrayKey | None = Field(None, description="(n_samples, n_voxels), any real number type")
    bdata: BDataSource | None = Field(None, description="samples, labels and columns in BData files instead")
    bold: BoldSource | None = Field(None, description="samples, labels and columns from BOLD runs instead")
    betas: BetasSource | None = Field(None, description="samples, labels and columns from betas of trials instead")
    labels: ArrayKey | None = Field(None, description="(n_samples,) stimulus label of each sample; matched by text")
    stimulus_rows: ArrayKey | None = Field(
        None, description="(n_samples,) row of each sample's stimulus, from first_row"
    )
    first_row: Literal[0, 1] = Field(1, description="whether stimulus_rows counts from 0 or 1")
    columns: dict[Name, ArrayKey] = Field(
        default_factory=dict, description="sample columns to keep: run, session, vividness"
    )
    null_labels: Annotated[dict[str, str], BeforeValidator(_as_names)] = Field(
        default_factory=dict,
        description="labels of samples that show no stimulus, in test datasets: [fixation], or with a name for each "
        "{n/a: fixation, 0: rest}; also raw numbers of the label column; such samples are decoded, never scored",
    )
    labels_are: Literal["stimuli", "categories"] = Field(
        "stimuli",
        description="categories: a sample shows no stimulus but the category of some (imagery of categories); test "
        "datasets only",
    )
    repeats: Literal["keep", "average"] | None = Field(None, description="default: keep for training, average for test")

    average_groups_of: int | None = Field(
        None, ge=2, description="average N samples of a stimulus at a time, in their order; a rest is averaged too"
    )
    exclude: Exclude = Field(Exclude(), description="samples left out, by stimulus label or number")

    @model_validator(mode="after")
    def _one_source(self) -> IngestDataset:
        given = [name for name in ("samples", "bdata", "bold", "betas") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of samples, bdata, bold and betas, not {' and '.join(given) or 'none'}")
        if self.samples is None and (self.labels or self.stimulus_rows or self.columns):
            raise ValueError(
                f"labels, stimulus_rows and columns are for plain arrays; those of {given[0]} go under {given[0]}"
            )
        if self.repeats == "average" and self.average_groups_of is not None:
            raise ValueError("give repeats: average or average_groups_of, not both")
        return self

    @model_validator(mode="after")
    def _one_route_to_stimuli(self) -> IngestDataset:
        if self.labels is not None and self.stimulus_rows is not None:
            raise ValueError("give labels or stimulus_rows, not both (neither: sample i shows stimulus i)")
        return self


class IngestRoi(IngestSection):
    """One ROI: a mask or an atlas (array or image), a selector over BData, or a combination of other ROIs."""

    file: Path | None = Field(None, description="array of (n_voxels,): a mask (non-zero = member), or an atlas")
    key: str | None = Field(None, description="variable, dataset path or npz entry of the file; not used for .npy")
    values: Annotated[tuple[int, ...] | None, BeforeValidator(_as_list)] = Field(
        None, description="labels of an atlas that make the ROI; default: every value that is not 0"
    )
    mask: Path | None = Field(None, description="NIfTI mask on the grid of the samples: not 0 = member")
    above: float | None = Field(None, description="of a mask with probabilities: members have a greater value")
    atlas: Path | None = Field(
        None, description="label image on the grid of the samples (.nii.gz, .nii), or .dlabel.nii of grayordinates"
    )
    left: Path | None = Field(None, description=".label.gii of the left hemisphere, on the surface of the samples")
    right: Path | None = Field(None, description=".label.gii of the right hemisphere")
    labels: Annotated[tuple[int | str, ...] | None, BeforeValidator(_as_list)] = Field(
        None, description="names or numbers of an atlas's labels that make the ROI; default: every label that is not 0"
    )
    table: Path | None = Field(None, description="names of a volume atlas: index and name (.tsv), or number and name")
    select: str | None = Field(None, description="selector over the keys of the subject's BData: ROI_V1 = 1")
    combine: str | None = Field(
        None,
        description="other ROIs joined by + (or), - (and not) and & (and), from left to right, with parentheses: "
        "LOC + FFA + PPA - V1; names with operator characters in quotes; a plain text is this",
    )

    @model_validator(mode="after")
    def _one_source(self) -> IngestRoi:
        sources = {"file": self.file, "mask": self.mask, "atlas": self.atlas, "select": self.select}
        sources |= {"combine": self.combine, "left and right": self.left or self.right}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of file, mask, atlas, left and right, select and combine, not "
                f"{' and '.join(given) or 'none'}"
            )
        if (self.left is None) != (self.right is None):
            raise ValueError("give the labels of both hemispheres: left and right")
        for option, owners in (("key", "file"), ("values", "file"), ("above", "mask"), ("table", "atlas")):
            if getattr(self, option) is not None and given != [owners]:
                raise ValueError(f"{option} belongs to {owners}")
        if self.labels is not None and given not in (["atlas"], ["left and right"]):
            raise ValueError("labels belong to an atlas, or to left and right")
        return self


class IngestSubject(IngestSection):
    """The samples of one subject, and its ROIs."""

    datasets: dict[Name, IngestDataset] = Field(description="by dataset name")
    rois: dict[Name, Annotated[IngestRoi, BeforeValidator(_as_combination)]] = Field(
        default_factory=dict, description="by ROI name"
    )
    positions: VoxelPositions | None = Field(
        None, description="where the voxels of plain arrays and BData lie; bold and betas know it"
    )
    drop_nan_voxels: bool = Field(
        False,
        description="leave out voxels that are NaN in any sample of bold or betas, in all datasets; default: error",
    )

    @model_validator(mode="after")
    def _nan_of_images(self) -> IngestSubject:
        if self.drop_nan_voxels and not any(dataset.bold or dataset.betas for dataset in self.datasets.values()):
            raise ValueError("drop_nan_voxels is for bold and betas; take NaN out of plain arrays and BData beforehand")
        return self


class IngestStimuli(IngestSection):
    """The stimuli of one dataset: an array, or a folder of images whose names are the labels."""

    array: ArrayKey | None = Field(None, description="(n, H, W[, 3]) or (n, H*W) with shape given")
    folder: Path | None = Field(
        None, description="folder of .png .jpg .jpeg .tif .tiff .bmp .webp; label = name without ending"
    )
    shape: tuple[int, int] | None = Field(None, description="height and width of flattened images, pixels")
    transpose: bool = Field(False, description="exchange rows and columns (images written by MATLAB)")
    scale: float = Field(255.0, gt=0, description="the array's value for white")
    labels: ArrayKey | None = Field(None, description="(n,) label of each image of an array; default: numbered")
    categories: ArrayKey | Literal["before_underscore"] | None = Field(
        None,
        description="(n,) category of each image; or before_underscore: n01518878 of the label n01518878_10042",
    )

    @model_validator(mode="after")
    def _one_source(self) -> IngestStimuli:
        if (self.array is None) == (self.folder is None):
            raise ValueError("give either array or folder")
        return self


class CrossValidation(IngestSection):
    """Repeated K-fold over the pooled stimuli of the two datasets named here: each fold is a split of the subject."""

    folds: int = Field(10, ge=2, description="number of folds K")
    repeats: int = Field(1, ge=1, description="how often the stimuli are dealt anew")
    test_dataset: Name = Field("test", description="dataset name that the held-out samples get")
    training_dataset: Name = Field("training", description="dataset name that the others get")


class SourceFile(IngestSection):
    """Where one input file is published; `ingest --check` says so where it is missing, and checks what is known."""

    file: Path = Field(description="where it is expected, relative to the study file; a folder for a set of images")
    source: str = Field(description="where to get it: figshare article and file id, OpenNeuro accession, who to ask")
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$", description="as published; default: not known")
    bytes: int | None = Field(None, ge=1, description="size as published; default: not known")


class Ingest(IngestSection):
    """A mapping from a lab's files to brain samples and stimuli."""

    subjects: dict[SubjectName, IngestSubject] = Field(description="by subject name")
    stimuli: dict[Name, IngestStimuli] = Field(description="by dataset name")
    image_size: int | None = Field(None, ge=8, le=1024, description="resize stimuli to this height and width, pixels")
    cross_validation: CrossValidation | None = Field(
        None, description="also deal the stimuli into folds; each fold is a split"
    )
    sources: tuple[SourceFile, ...] = Field((), description="where the input files are published; for --check")
    shared_stimuli: Literal["error", "allow"] = Field(
        "error", description="whether a test dataset may show stimuli that decoders are trained on"
    )
