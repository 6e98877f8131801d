"""Declared sizes: what the data of a study will hold, so that `--dry-run` can project it before they are there."""

from __future__ import annotations

from pydantic import Field, model_validator

from hpc_recon.core.errors import MissingStore
from hpc_recon.core.section import Section
from hpc_recon.core.training_options import Count


class DatasetSize(Section):
    """Sizes of one dataset, the same for every subject."""

    stimuli: int = Field(ge=1, description="distinct stimuli")
    samples: int = Field(ge=1, description="brain samples of a subject, as they are stored")
    own_stimuli: bool = Field(True, description="false: shows the stimuli of another dataset (imagery)")
    null_conditions: int = Field(0, ge=0, description="distinct conditions without a stimulus, beside the stimuli")
    null_samples: int = Field(0, ge=0, description="brain samples of these conditions, part of samples")

    @model_validator(mode="after")
    def _null_samples(self) -> DatasetSize:
        if (self.null_samples < self.null_conditions) or (self.null_samples > 0 and not self.null_conditions):
            raise ValueError("null_samples is the number of samples of all null_conditions: at least one for each")
        if self.null_samples + self.stimuli > self.samples:
            raise ValueError("samples counts those of stimuli, at least one for each, and null_samples")
        return self

    def n_items(self, average: bool | int) -> int:
        """Return the number of test items with this `decode.average`; samples are taken to be dealt evenly.

        >>> size = DatasetSize(stimuli=25, samples=520, null_conditions=1, null_samples=20)
        >>> [size.n_items(average) for average in (True, 8, False)]
        [26, 78, 520]
        """
        if average is False:
            return self.samples
        found = 0
        for conditions, samples in (
            (self.stimuli, self.samples - self.null_samples),
            (self.null_conditions, self.null_samples),
        ):
            if conditions:
                found += conditions * (1 if average is True else -(-samples // (conditions * average)))
        return found


class Sizes(Section):
    """What the data will hold; used by `--dry-run` and `pipeline` while the workspace does not hold it yet."""

    image_size: tuple[Count, Count] = Field(description="height and width of the stored stimuli, pixels")
    voxels: dict[str, Count] = Field(description="voxels of each ROI")
    datasets: dict[str, DatasetSize] = Field(description="by dataset name")

    def dataset(self, name: str) -> DatasetSize:
        """Return the sizes of a dataset.

        Raises
        ------
        MissingStore
            If they are not declared; names the key.
        """
        if name not in self.datasets:
            raise MissingStore(f"nothing is stored of the dataset {name!r}, and sizes.datasets.{name} is not declared")
        return self.datasets[name]

    def n_voxels(self, roi: str) -> int:
        """Return the voxels of an ROI.

        Raises
        ------
        MissingStore
            If they are not declared; names the key.
        """
        if roi not in self.voxels:
            raise MissingStore(f"nothing is stored of the ROI {roi!r}, and sizes.voxels.{roi} is not declared")
        return self.voxels[roi]
