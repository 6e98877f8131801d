"""Options of the decoders, as they stand under `fit:` in a study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from hpc_recon.core.decoder_files import DecoderFiles
from hpc_recon.core.section import Section
from hpc_recon.core.text import checked_name

Name = Annotated[str, AfterValidator(checked_name)]

#: Ways to bring the pattern of the selected voxels of each sample to one size.
SpatialNorm = Literal["norm1", "norm2", "std1", "norm1mean0", "norm2mean0", "std1mean0"]


class VoxelGrid(Section):
    """Candidate numbers of voxels; the best is chosen per layer by cross-validation inside the training set."""

    grid: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=2, description="candidate values")
    per: Literal["layer"] = Field("layer", description="one choice per layer: decoders of a layer share their width")


class AlphaGrid(Section):
    """Candidate penalties; the best is chosen by cross-validation inside the training set."""

    grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2, description="candidate values")
    per: Literal["layer", "unit"] = Field("layer", description="one choice per layer, or one for each unit")


class MostActive(Section):
    """Voxels of the largest response, before units have any say (Dado 2020: 4,096); others are not read at all."""

    voxels: int = Field(ge=1, description="how many of each ROI; an ROI of fewer keeps all")
    by: Literal["mean", "t"] = Field(
        "mean",
        description="the mean over training samples (if they are z-statistics, it ranks as their combined z), or t, "
        "the mean divided by its standard error",
    )


class Ard(Section):
    """Sparse Bayesian regression with a relevance of its own for each voxel (Shen 2019; estimator: ard)."""

    iterations: int = Field(200, ge=1, description="iterations at most; the original study used 2,000")
    update: Literal["geometric", "mackay", "geometric_then_mackay"] = Field(
        "geometric", description="how relevances are updated: geometric mean with the old one, or MacKay's fixed point"
    )
    switch_after: int = Field(100, ge=1, description="iterations before geometric_then_mackay changes to mackay")
    prune_by: Literal["variance", "weight"] = Field("variance", description="what is compared with prune_threshold")
    prune_threshold: float = Field(1e-10, ge=0, lt=1, description="voxels below this fraction of the largest are out")
    converge_after: int = Field(100, ge=1, description="iterations before convergence is looked for")
    tolerance: float = Field(1e-10, ge=0, description="largest change of a relevance that counts as converged")


class Gradient(Section):
    """A dense layer on all voxels, trained by stochastic gradient descent (estimator: gradient); HYPER's by default."""

    learning_rate: float = Field(1e-5, gt=0, description="of Adam")
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="added to the gradient of the mean over the layer's units of half the squared error; trained to "
        "convergence, the layer is ridge with alpha = weight_decay x samples x units of the layer",
    )
    decay_bias: bool = Field(True, description="decay biases as weights are")
    batch: int = Field(30, ge=1, description="samples a step; the last batch of an epoch may have fewer")
    epochs: int = Field(1500, ge=1, description="passes over the training samples, shuffled anew each time")
    beta1: float = Field(0.9, ge=0, lt=1, description="of Adam: decay of the mean gradient")
    beta2: float = Field(0.999, ge=0, lt=1, description="of Adam: decay of the mean squared gradient")
    epsilon: float = Field(1e-8, gt=0, description="of Adam")
    start: float = Field(0.07, ge=0, description="weights begin uniformly between -start and start; biases at 0")
    inputs: Literal["stored", "z_scored"] = Field("stored", description="voxels as they are, or z-scored")
    targets: Literal["stored", "z_scored"] = Field("stored", description="units as they are, or z-scored")


def _kind(value: object) -> str:
    if isinstance(value, (dict, BaseModel)):
        return "grid"
    return "word" if isinstance(value, str) else "number"


WholeOrGrid = Annotated[
    Annotated[Annotated[int, Field(ge=1)], Tag("number")]
    | Annotated[Literal["all"], Tag("word")]
    | Annotated[VoxelGrid, Tag("grid")],
    Discriminator(_kind),
]


def _number_or_grid(value: object) -> str:
    return "grid" if isinstance(value, (dict, BaseModel)) else "number"


RealOrGrid = Annotated[
    Annotated[Annotated[float, Field(gt=0)], Tag("number")] | Annotated[AlphaGrid, Tag("grid")],
    Discriminator(_number_or_grid),
]


class Fit(Section):
    """Decoders, one per unit: voxel selection by correlation, then a regression on the voxels selected."""

    estimator: Literal["ridge", "ard", "gradient"] = Field("ridge", description="the regression")
    n_voxels: WholeOrGrid = Field(
        500, description="voxels per unit, all (no selection: every voxel of the ROI), or {grid: [...]}"
    )
    most_active: MostActive | None = Field(
        None, description="read only the voxels of an ROI that respond most, chosen on all training samples"
    )
    alpha: RealOrGrid = Field(
        100.0,
        description="ridge penalty on z-scored data (sum of squares + alpha |w|^2), or "
        "{grid: [...], per: layer or unit}",
    )
    folds: int = Field(5, ge=2, description="folds of grids and of out_of_fold, grouped by stimulus")
    choice_units: int = Field(1000, ge=1, description="units per layer (drawn at random) on which grids are judged")
    penalize_bias: bool = Field(False, description="penalise the intercept too, as FastL2LiR does")
    spatial_norm: SpatialNorm | None = Field(
        None,
        description="divide each sample's pattern over a unit's voxels by its L1 norm, L2 norm or standard deviation, "
        "less its mean first for ...mean0",
    )
    ard: Ard = Field(Ard(), description="options of estimator: ard")
    gradient: Gradient = Field(Gradient(), description="options of estimator: gradient, which wants n_voxels: all")
    samples: dict[Name, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="train only on samples whose column has one of these values: {session: [1, 2]}; default: all",
    )
    statistics_by: Name | None = Field(
        None,
        description="sample column (session, run) by which sums over brain samples are stored: a subset or a new scan "
        "day is then added from stored sums; each value takes 4 bytes x voxels^2 of disk",
    )
    out_of_fold: bool = Field(
        False, description="also predict each training stimulus by decoders that never saw it, and store that"
    )
    decode: bool = Field(False, description="decode while fitting and store no decoders, only predictions")
    files: dict[Name, DecoderFiles] = Field(
        default_factory=dict,
        description="by network: read decoders from files instead of fitting; nothing else may stand under `fit` then, "
        "and training samples are not needed",
    )

    @model_validator(mode="after")
    def _combinations(self) -> Fit:
        ridge_only = self.has_grids or self.n_voxels == "all" or self.spatial_norm or self.penalize_bias
        if self.estimator == "ard" and ridge_only:
            raise ValueError(
                "estimator: ard sets its own penalties: give a number of n_voxels, and no alpha grid, spatial_norm "
                "or penalize_bias"
            )
        if self.estimator == "gradient" and (
            self.n_voxels != "all" or self.has_grids or self.spatial_norm or self.penalize_bias
        ):
            raise ValueError(
                "estimator: gradient trains on every voxel of the ROI and has its own penalty: give n_voxels: all, and "
                "no alpha grid, spatial_norm or penalize_bias (see gradient.weight_decay and gradient.decay_bias)"
            )
        for name, options in (("ard", self.ard), ("gradient", self.gradient)):
            if self.estimator != name and options != type(options)():
                raise ValueError(
                    f"{name} holds options of estimator: {name}, but the estimator is {self.estimator}, which reads "
                    f"none of them; give estimator: {name}, or leave them out"
                )
        if self.out_of_fold and (self.per_unit or self.estimator == "ard"):
            raise ValueError(
                "out_of_fold is there for estimator: ridge with one penalty a layer (give a number or a grid per layer "
                "for alpha) and for estimator: gradient"
            )
        if self.out_of_fold and self.has_grids and self.folds < 3:
            raise ValueError("out_of_fold with grids chooses inside each fold from the others: give folds of 3 or more")
        if self.spatial_norm and (self.has_grids or self.n_voxels == "all" or self.out_of_fold):
            raise ValueError(
                "spatial_norm needs one number each for n_voxels and alpha, and no out_of_fold: its systems are formed "
                "unit by unit; choose the numbers without it first"
            )
        if self.spatial_norm not in (None, "norm1", "norm2") and self.n_voxels == 1:
            raise ValueError(
                f"spatial_norm: {self.spatial_norm} has no meaning for n_voxels: 1; give 2 or more, or norm2"
            )
        return self

    @property
    def shares_system(self) -> bool:
        """Whether all units share one ridge system, that of all voxels."""
        return self.estimator == "ridge" and self.n_voxels == "all"

    @property
    def voxel_candidates(self) -> tuple[int, ...]:
        """Numbers of voxels per unit to choose from; one if it is fixed, none if all are used."""
        if self.n_voxels == "all":
            return ()
        return self.n_voxels.grid if isinstance(self.n_voxels, VoxelGrid) else (self.n_voxels,)

    def most_voxels(self, n_voxels: int) -> int:
        """Return the most voxels that a unit of an ROI of `n_voxels` can read."""
        active = n_voxels if self.most_active is None else self.most_active.voxels
        return min(max(self.voxel_candidates, default=n_voxels), n_voxels, active)

    @property
    def alpha_candidates(self) -> tuple[float, ...]:
        """Ridge penalties to choose from; one if it is fixed."""
        return self.alpha.grid if isinstance(self.alpha, AlphaGrid) else (self.alpha,)

    @property
    def has_grids(self) -> bool:
        """Whether cross-validation chooses the number of voxels or the penalty of a layer or its units."""
        return isinstance(self.n_voxels, VoxelGrid) or isinstance(self.alpha, AlphaGrid)

    @property
    def per_unit(self) -> bool:
        """Whether each unit has a penalty of its own."""
        return isinstance(self.alpha, AlphaGrid) and self.alpha.per == "unit"

    @property
    def chooses_per_layer(self) -> bool:
        """Whether a layer's number of voxels or penalty is chosen before its units are fitted."""
        return isinstance(self.n_voxels, VoxelGrid) or (isinstance(self.alpha, AlphaGrid) and not self.per_unit)

    @property
    def needs_folds(self) -> bool:
        """Whether statistics of cross-validation folds are needed."""
        return self.has_grids or self.out_of_fold
