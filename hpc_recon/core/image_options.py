"""Options of `ingest:` for images of the brain: BOLD runs, betas of single trials, and where voxels lie.

Every field has its meaning beside it; `docs/study_file.md` is written from these descriptions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from hpc_recon.core.ingest_section import ArrayKey, IngestSection, Name, as_list, as_texts

Paths = Annotated[tuple[Path, ...], BeforeValidator(as_list)]
Texts = Annotated[tuple[str, ...], BeforeValidator(as_texts)]
#: How the text of a table becomes the label of a stimulus.
LabelRule = Literal["text", "file", "stimulus_id", "image_index"]
#: Columns of samples from BOLD runs that are always there; the last says that test samples were normalised with their
#: own statistics, and is there only then.
OWN_COLUMNS = ("session", "run", "block", "onset_s")
TRANSDUCTIVE = "transductive"
LABEL_RULES = (
    "text: as it stands; file: the name of a file without folders and ending; stimulus_id: 1518878.010042 is "
    "n01518878_10042; image_index: place among the sorted labels of the dataset's stimuli, from 1"
)


class VoxelSet(IngestSection):
    """Which voxels or vertices of the images are kept; those of all datasets of a subject must be the same."""

    mask: Paths = Field((), description="volumes: a NIfTI mask, or several whose common voxels are kept")
    left_mask: Path | None = Field(
        None, description="GIFTI: .label.gii or .shape.gii of the left hemisphere, not 0 = kept; default: all vertices"
    )
    right_mask: Path | None = Field(None, description="the same of the right hemisphere")

    @model_validator(mode="after")
    def _both_hemispheres(self) -> VoxelSet:
        if (self.left_mask is None) != (self.right_mask is None):
            raise ValueError("give left_mask and right_mask, or neither")
        return self


class BoldRun(IngestSection):
    """One preprocessed run: a volume or CIFTI file, or the GIFTI files of two hemispheres, and its tables."""

    file: Path | None = Field(None, description=".nii.gz, .nii (four axes) or .dtseries.nii")
    left: Path | None = Field(None, description=".func.gii of the left hemisphere")
    right: Path | None = Field(None, description=".func.gii of the right hemisphere")
    events: Path = Field(
        description="BIDS events (.tsv): onset and duration in seconds from the first volume of the file"
    )
    confounds: Path | None = Field(None, description="fMRIPrep's _desc-confounds_timeseries.tsv; none: no confounds")
    sidecar: Path | None = Field(None, description="BIDS .json with RepetitionTime, where the header does not know it")
    tr_s: float | None = Field(None, gt=0, description="repetition time, seconds; default: sidecar or header")
    session: int = Field(1, ge=1, description="number of the session")
    run: int | None = Field(None, ge=1, description="number of the run; default: its place among those of its session")

    @model_validator(mode="after")
    def _one_image(self) -> BoldRun:
        if (self.left is None) != (self.right is None) or (self.file is None) == (self.left is None):
            raise ValueError("give either file, or left and right")
        return self


class BidsRuns(IngestSection):
    """Runs found in a folder of BIDS derivatives by the entities of their names; in a fixed order, none is guessed."""

    folder: Path = Field(description="derivatives with sub-<subject>/[ses-<session>/]func/*_bold.*, as fMRIPrep writes")
    events: Path | None = Field(None, description="BIDS folder with *_events.tsv; default: the same folder")
    subject: str = Field(description="label after sub-")
    sessions: Texts = Field(("*",), description="labels after ses-, with * and ?; numbered in their natural order")
    tasks: Texts = Field(("*",), description="labels after task-, with * and ?")
    runs: Texts = Field(("*",), description="labels after run-, with * and ?")
    space: str | None = Field(None, description="label after space-; default: files without it")
    kind: Literal["volume", "gifti", "cifti"] = Field("volume", description="desc-preproc volumes, GIFTI or CIFTI")
    entities: dict[str, str] = Field(default_factory=dict, description="more entities: {res: '2'}, {den: 91k}")


class EventLabels(IngestSection):
    """Which column of a table of events or trials says what was shown."""

    column: str = Field(description="stim_file, trial_type, stimulus_id, ...")
    by: LabelRule = Field("text", description=LABEL_RULES)


class EventValues(IngestSection):
    """Rows of a table by the text of one column."""

    column: str = Field(description="name of the column")
    values: Texts = Field(min_length=1, description="one text or several")


class BoldSource(VoxelSet):
    """Samples of one dataset from BOLD runs, one run in memory at a time.

    Per run: the first volumes are dropped, trend and confounds regressed out, the signal becomes percent of the initial
    rest, is despiked, shifted, and averaged over a window for each event. Times are whole numbers of volumes.
    """

    runs: tuple[BoldRun, ...] = Field((), description="the runs, in order")
    bids: BidsRuns | None = Field(None, description="or where to find them in a BIDS folder")
    structures: Texts = Field(
        (), description="CIFTI: the structures kept, CIFTI_STRUCTURE_CORTEX_LEFT, ...; default: all"
    )
    labels: EventLabels = Field(description="what each event showed")
    stimuli: dict[str, Texts] = Field(
        default_factory=dict,
        description="rows of the events that are stimuli, {trial_type: [stimulus]}; default: every row",
    )
    repetitions: EventValues | None = Field(
        None, description="events that repeat the one before; default: those with the label of the event before"
    )
    columns: dict[Name, str] = Field(
        default_factory=dict, description="more sample columns, by column of the events: {vividness: evaluation}"
    )
    confounds: Texts = Field(
        ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"), description="columns of the confounds; []: none"
    )
    window_s: float | None = Field(
        None, gt=0, description="seconds averaged for a sample; default: 8 for training, 12 for test, 16 for a dataset "
        "called imagery",
    )  # fmt: skip
    shift_s: float = Field(4.0, ge=0, description="seconds from an event to its window: the haemodynamic delay")
    drop_s: float = Field(8.0, ge=0, description="seconds dropped at the start of the file; 0 if they are not in it")
    baseline_s: float = Field(24.0, gt=0, description="seconds of initial rest after those, whose mean is 100 percent")
    linear_trend: bool = Field(True, description="whether a linear trend is regressed out of each run")
    despike_sd: float | None = Field(
        3.0, gt=0, description="values beyond this many SD of a run are clipped; null: none"
    )
    despike_passes: int = Field(10, ge=1, description="how often, because clipping makes the SD smaller")
    drop_repetitions: bool = Field(True, description="whether events that repeat the one before are left out")
    normalise: Literal["none", "run", "session"] = Field(
        "none", description="z-score the samples of each run or session; of test samples, scores are then transductive"
    )

    @model_validator(mode="after")
    def _one_list(self) -> BoldSource:
        if bool(self.runs) == (self.bids is not None):
            raise ValueError("give either runs or bids")
        taken = sorted({*OWN_COLUMNS, TRANSDUCTIVE} & set(self.columns))
        if taken:
            raise ValueError(f"columns: {', '.join(taken)} are made from the runs; give other names")
        return self


class Trials(IngestSection):
    """What each trial of the betas showed, in the order of the betas: text, one label a line, or a table."""

    files: Paths = Field(
        min_length=1,
        description=".txt (one label a line), .tsv or .csv (with a header); one for all betas, or one each",
    )
    column: str | None = Field(None, description="of a table: the column with the labels")
    by: LabelRule = Field("text", description=LABEL_RULES)
    rows: dict[str, Texts] = Field(
        default_factory=dict, description="of a table: keep the trials whose column has one of these texts"
    )
    columns: dict[Name, str] = Field(default_factory=dict, description="of a table: sample columns to keep, {run: run}")


class BetasSource(VoxelSet):
    """Samples of one dataset from single-trial betas, one file a session; a few trials in memory beside the samples."""

    files: Paths = Field((), description="volumes: .nii.gz, .nii (i, j, k, trial), .hdf5 or .h5; in order")
    left_files: Paths = Field((), description="surfaces: .hdf5 of the left hemisphere (vertices by trials)")
    right_files: Paths = Field((), description="the same of the right hemisphere")
    trials: Trials = Field(description="what each trial showed")
    scale: float = Field(1.0, gt=0, description="stored values divided by this are percent: 300 for NSD's integers")
    key: str = Field("betas", description=".hdf5: the data set")
    axes: Literal["reversed", "as written"] = Field(
        "reversed", description=".hdf5: reversed if MATLAB wrote them (NSD), else as written: trial last"
    )
    sessions: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="number of the session of each file; default: 1, 2, ..."
    )

    @model_validator(mode="after")
    def _one_list(self) -> BetasSource:
        if bool(self.files) == bool(self.left_files) or len(self.left_files) != len(self.right_files):
            raise ValueError("give either files, or as many left_files as right_files")
        n = len(self.files or self.left_files)
        if self.sessions is not None and len(self.sessions) != n:
            raise ValueError(f"sessions needs one number a file: {n}, not {len(self.sessions)}")
        if len(self.trials.files) not in (1, n):
            raise ValueError(f"trials.files needs one file, or one a file of betas: {n}, not {len(self.trials.files)}")
        return self


class VoxelPositions(IngestSection):
    """Where the voxels of plain arrays or BData lie: a mask whose voxels they are, or indices or mm in a grid."""

    mask: Path | None = Field(None, description="NIfTI mask whose voxels are those of the samples, in `order`")
    order: Literal["C", "F"] = Field("C", description="C: the last axis runs fastest (numpy); F: the first (MATLAB)")
    grid: Path | None = Field(None, description="any NIfTI file on the grid; with ijk, xyz or bdata")
    ijk: ArrayKey | None = Field(None, description="(n_voxels, 3) or (3, n_voxels) indices in the grid")
    first_index: Literal[0, 1] = Field(0, description="whether ijk counts from 0 or, as in MATLAB, from 1")
    xyz: ArrayKey | None = Field(
        None, description="(n_voxels, 3) or (3, n_voxels) mm; each must lie on a voxel's centre"
    )
    bdata: Literal["ijk", "xyz"] | None = Field(
        None, description="keys of the subject's BData: voxel_i, voxel_j, voxel_k, or voxel_x, voxel_y, voxel_z (mm)"
    )

    @model_validator(mode="after")
    def _one_source(self) -> VoxelPositions:
        given = [name for name in ("mask", "ijk", "xyz", "bdata") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of mask, ijk, xyz and bdata, not {' and '.join(given) or 'none'}")
        if (self.grid is None) != (self.mask is not None):
            raise ValueError("a grid belongs to ijk, xyz and bdata; a mask has its own")
        return self
