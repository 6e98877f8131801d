"""Brain samples for other programs: one BData file a subject and dataset, with labels, ROIs and places of voxels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core import storage
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import WITH, is_converted
from hpc_recon.core.errors import StudyError
from hpc_recon.exchange.exporting import OVERHEAD, Batch, Selection, source_of
from hpc_recon.formats.bdata import BLOCK_BYTES
from hpc_recon.formats.bdata_write import Row, write_bdata
from hpc_recon.stores import arrays, brain, layout, positions, tables

#: Key of the voxels' columns, and of the column whose numbers the vmap turns into labels.
VOXELS, LABEL = "VoxelData", "stimulus_name"
#: Names of sample columns that labs write with a capital.
DESIGN = {"run": "Run", "session": "Session", "block": "Block"}
SIDES = {"CIFTI_STRUCTURE_CORTEX_LEFT": "VertexLeft", "CIFTI_STRUCTURE_CORTEX_RIGHT": "VertexRight"}


def samples(study: Study, selection: Selection) -> Iterator[Batch]:
    """Yield `<subject>_<dataset>.h5`, one a batch; samples as they are stored, raw.

    Converted test samples are `S2.from-S1_<dataset>.h5`, and pooled training samples `S2.with-1_<dataset>.h5`.

    Keys: `VoxelData`; `stimulus_name` with its vmap; sample columns (`Run`, `Session`, `Block`, others by their own
    name); `ROI_<name>` of every mask and of the study's ROIs; where voxels have places `voxel_i`, `voxel_j`,
    `voxel_k`, `voxel_x`, `voxel_y`, `voxel_z` (mm), or `vertex_index`, `VertexLeft`, `VertexRight`.

    Raises
    ------
    MissingStore
        If samples are not there.
    """
    workspace = layout.workspace_of(study)
    folds = set(study.splits()) - set(study.subjects)
    for split in selection.decoded_splits(study):
        if split in folds:
            continue  # a fold holds samples of its subject
        source = source_of(workspace, [study.brain_key(split), f"{study.source_verb}/stimuli"])
        datasets = list(study.datasets)
        if is_converted(split):
            datasets = study.test_datasets(split)
        elif WITH in split:
            datasets = [study.training_dataset]  # its test samples are the target's own
        for dataset in datasets:
            ref = layout.samples(split, dataset)
            if not selection.has_dataset(dataset) or not _has(workspace, ref):
                continue
            n, n_voxels = arrays.describe(workspace, ref).shape
            file = f"{split}_{dataset}.h5"
            size = 8 * n * (n_voxels + 8) + 8 * n_voxels * 24 + 128 * n + OVERHEAD

            def write(
                folder: Path, names: Collection[str], split: str = split, dataset: str = dataset, file: str = file
            ) -> None:
                _write(study, folder / file, split, dataset)

            yield Batch({file: size}, source, write, 4 * BLOCK_BYTES + 8 * n_voxels * 24)


def _has(workspace: Path, ref: layout.Ref) -> bool:
    """Return whether a dataset has samples: not every subject has every dataset."""
    return storage.of(workspace).exists(f"{ref.path}/zarr.json")


class _Samples:
    """Samples of a dataset that are read when they are sliced, a block of rows at a time."""

    def __init__(self, workspace: Path, ref: layout.Ref) -> None:
        self._workspace, self._ref = workspace, ref
        described = arrays.describe(workspace, ref)
        self.shape, self.dtype = described.shape, described.dtype

    def __getitem__(self, rows: slice) -> Array:
        return arrays.read(self._workspace, self._ref, slice(rows.start, min(rows.stop, self.shape[0])))


def _write(study: Study, path: Path, split: str, dataset: str) -> None:
    workspace = layout.workspace_of(study)
    columns = tables.read_checked(workspace, layout.samples_columns(split, dataset))
    labels = [str(label) for label in columns.pop("label")]
    distinct = sorted(set(labels))
    number = {label: float(i + 1) for i, label in enumerate(distinct)}
    blocks: dict[str, Any] = {VOXELS: _Samples(workspace, layout.samples(split, dataset))}
    for name, values in columns.items():
        key = DESIGN.get(name, name)
        if key in blocks or key == LABEL:
            raise StudyError("export", [f"the sample column {name!r} of {dataset} has the name of another key: {key}"])
        blocks[key] = np.array(values, dtype=np.float64)
    blocks[LABEL] = np.array([number[label] for label in labels])
    rows = {f"ROI_{roi}": Row(VOXELS, brain.read_roi(workspace, split, roi)) for roi in _rois(study, workspace, split)}
    rows |= _places(workspace, split)
    write_bdata(
        path,
        blocks,
        metadata=rows,
        vmaps={LABEL: {value: label for label, value in number.items()}},
        header={"made_by": "hpc_recon export", "study": study.name, "subject": split, "dataset": dataset},
    )


def _rois(study: Study, workspace: Path, split: str) -> list[str]:
    """Return the ROIs of the study, and all others that have a mask."""
    _, folders = storage.of(workspace).listing(f"brain.zarr/{split}/{layout.ROI_FOLDER}")
    return list(dict.fromkeys([*study.rois, *sorted(folders)]))


def _places(workspace: Path, split: str) -> dict[str, Row]:
    """Return rows of where each voxel lies; none if the data came without."""
    found = positions.read_positions(workspace, split)
    if found is None:
        return {}
    rows: dict[str, Row] = {}
    inside = found.in_grid
    if inside.any():
        for axis, (index, mm) in enumerate(zip("ijk", "xyz", strict=True)):
            rows[f"voxel_{index}"] = Row(
                VOXELS, np.where(inside, found.ijk[:, axis].astype(np.float64), np.nan), "index in the grid, from 0"
            )
            rows[f"voxel_{mm}"] = Row(VOXELS, found.mm[:, axis], "centre in mm")
    if not inside.all():
        rows["vertex_index"] = Row(VOXELS, np.where(inside, np.nan, found.vertex.astype(np.float64)), "from 0")
        for number, structure in enumerate(found.structures):
            if structure in SIDES and (~inside & (found.structure == number)).any():
                rows[SIDES[structure]] = Row(VOXELS, ~inside & (found.structure == number), structure)
    return rows
