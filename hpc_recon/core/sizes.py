"""Declared sizes: what the data of a study will hold, so that `--dry-run` can project it before they are there."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from hpc_recon.core.errors import MissingStore


class DatasetSize(BaseModel):
    """Sizes of one dataset, the same for every subject."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stimuli: int = Field(ge=1, description="distinct stimuli")
    samples: int = Field(ge=1, description="brain samples of a subject, as they are stored")
    own_stimuli: bool = Field(True, description="false: shows the stimuli of another dataset (imagery)")


class Sizes(BaseModel):
    """What the data will hold. Used by `--dry-run` where the workspace does not hold it yet, and by nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: tuple[int, int] = Field(description="height and width of the stored stimuli, pixels")
    voxels: dict[str, int] = Field(description="voxels of each ROI")
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
