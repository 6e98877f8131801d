"""Sizes of everything that a study holds, from metadata only: what a plan needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore
from hpc_recon.stores import brain, images, layout, metadata


@dataclass(frozen=True)
class StoreShapes:
    """Implements `core.tiles.Shapes`: each size is looked up when it is asked for."""

    workspace: Path
    #: Whether, or how many at a time, repeats of test stimuli are averaged into one item (`decode.average`).
    average: bool | int
    #: Whether decoded features are read from files (`decode.files`): each stimulus of a dataset is an item then.
    decoded_elsewhere: bool = False

    def n_stimuli(self) -> int:
        """Return the number of rows of the stimulus table (all datasets)."""
        return metadata.describe(self.workspace, layout.stimuli()).shape[0]

    def image_size(self) -> tuple[int, int]:
        """Return height and width of the stored stimuli, pixels."""
        _, height, width, _ = metadata.describe(self.workspace, layout.stimuli()).shape
        return height, width

    def n_samples(self, split: str, dataset: str) -> int:
        """Return the number of brain samples of a dataset."""
        return metadata.describe(self.workspace, layout.samples(split, dataset)).shape[0]

    def n_voxels(self, split: str, roi: str) -> int:
        """Return the number of voxels of an ROI."""
        if roi == brain.ALL_VOXELS and not brain.has_mask(self.workspace, split, roi):
            return brain.n_voxels_of(self.workspace, split)
        return int(metadata.describe(self.workspace, layout.roi_mask(split, roi)).attributes["n_voxels"])

    def n_items(self, split: str, dataset: str) -> int:
        """Return the number of test items: distinct stimuli and conditions, or means of some samples, or samples."""
        if self.decoded_elsewhere:
            return images.read_table(self.workspace).dataset.count(dataset)
        if not self.average:
            return self.n_samples(split, dataset)
        return brain.n_items(brain.read_labels(self.workspace, split, dataset), average=self.average)

    def n_units(self, network: str, layer: str) -> int:
        """Return the number of units of a stored layer."""
        return metadata.describe(self.workspace, layout.features(network, layer)).shape[1]

    def unit_shape(self, network: str, layer: str) -> tuple[int, ...]:
        """Return (channels, height, width) or (n_units,) of a stored layer."""
        ref = layout.features(network, layer)
        found = metadata.describe(self.workspace, ref)
        shape = tuple(int(n) for n in found.attributes.get("unit_shape", ()))
        if prod(shape) != found.shape[1] or not shape:
            raise DamagedStore(
                f"{ref.path} has {found.shape[1]} units, but its attribute unit_shape is {shape}; make it anew with "
                f"{ref.command} --redo"
            )
        return shape

    def made_by(self, network: str, layer: str) -> str:
        """Return the key of the group that makes a stored layer."""
        return metadata.describe(self.workspace, layout.features(network, layer)).made_by


def read(study: Study) -> StoreShapes:
    """Return the shapes of a study's workspace; nothing is read before a size is asked for."""
    return StoreShapes(layout.workspace_of(study), study.decode.average, bool(study.decode.files))
