"""Brain samples with their labels, ROI masks, and test items (repeats averaged)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core import storage
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DamagedStore, DataError
from hpc_recon.stores import arrays, checks, images, layout, metadata, tables

#: Name of the ROI that is all voxels where no mask of this name is stored.
ALL_VOXELS = "VC"
#: The sample column that counts how many presentations a sample is the mean of.
N_AVERAGED = "n_averaged"


@dataclass(frozen=True)
class Brain:
    """The samples of one dataset.

    Attributes
    ----------
    samples
        (n_samples, n_voxels) float32, raw.
    labels
        Label of the stimulus that each sample shows.
    columns
        More numbers for each sample: run, session, vividness, `n_averaged`.
    """

    samples: Array
    labels: tuple[str, ...]
    columns: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Items:
    """What a test dataset is scored on, ordered by row of the stimulus.

    Attributes
    ----------
    names
        Unique and fit to be file names: the label, or `<label>@<nn>` where repeats are not averaged.
    labels
        Label of each item's stimulus.
    rows
        (n_items,) int64 rows of the stimuli table.
    samples
        (n_items, n_voxels) float32, raw; the mean over repeats if `study.decode.average`.
    n_averaged
        (n_items,) int64 presentations in each mean.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Array
    samples: Array
    n_averaged: Array


def write_brain(workspace: Path, split: str, dataset: str, brain: Brain, *, made_by: str) -> list[Path]:  # fmt: skip
    """Create and write the samples of a dataset, and return every file written.

    Raises
    ------
    DataError
        If samples are not finite (names range and count) or labels and columns do not have their length.
    """
    ref = layout.samples(split, dataset)
    n = len(brain.labels)
    lengths = {"samples": len(brain.samples), **{name: len(values) for name, values in brain.columns.items()}}
    wrong = {name: length for name, length in lengths.items() if length != n}
    if wrong or brain.samples.ndim != 2:
        raise DataError(
            f"{ref.path}: samples are (n_samples, n_voxels) with one label and one value of each column a sample; got "
            f"{n} labels, samples {brain.samples.shape}, and other lengths {wrong}"
        )
    if "label" in brain.columns:
        raise DataError(f"{ref.path}: no column may be called 'label': the labels are; rename it in the study")
    arrays.create(
        workspace,
        ref,
        shape=brain.samples.shape,
        dtype=np.float32,
        geometry=layout.sample_geometry(*brain.samples.shape),
        made_by=made_by,
    )
    files = arrays.write(workspace, ref, (0, 0), brain.samples)
    columns: dict[str, Sequence[tables.Value]] = {"label": brain.labels, **brain.columns}
    files.append(tables.write_table(workspace, layout.samples_columns(split, dataset), columns, made_by=made_by))
    return files


def write_roi(workspace: Path, split: str, roi: str, mask: Array, *, made_by: str) -> list[Path]:
    """Create and write the mask of an ROI, (n_voxels,) bool, and return the files written.

    Raises
    ------
    DataError
        If the mask is not boolean or has no member.
    """
    ref = layout.roi_mask(split, roi)
    if mask.dtype != bool or mask.ndim != 1 or not mask.any():
        raise DataError(
            f"{ref.path}: a mask is (n_voxels,) bool with at least one voxel; got {mask.dtype} {mask.shape} with "
            f"{int(np.count_nonzero(mask))} voxels"
        )
    arrays.create(
        workspace,
        ref,
        shape=mask.shape,
        dtype=bool,
        geometry=layout.whole_geometry(len(mask)),
        made_by=made_by,
        attributes={"n_voxels": int(np.count_nonzero(mask))},
    )
    return arrays.write(workspace, ref, (0,), mask)


def read_roi(workspace: Path, split: str, roi: str) -> Array:
    """Read the mask of an ROI, (n_voxels,) bool; `VC` is all voxels where no mask of that name was written.

    Raises
    ------
    MissingStore
        If there is no such mask, or no brain at all.
    """
    if roi == ALL_VOXELS and not has_mask(workspace, split, roi):
        return np.ones(n_voxels_of(workspace, split), dtype=bool)
    return arrays.read(workspace, layout.roi_mask(split, roi))


def has_mask(workspace: Path, split: str, roi: str) -> bool:
    """Return whether a mask was written under this name.

    Raises
    ------
    DamagedStore
        If a receipt says that it was, but it is gone.
    """
    ref = layout.roi_mask(split, roi)
    if storage.of(workspace).exists(f"{ref.path}/{metadata.METADATA}"):
        return True
    for verb in ("ingest", "simulate"):
        records = checks.group_records(workspace, f"{verb}/{split}")
        if any(path.startswith(f"{ref.path}/") for path in records):
            raise DamagedStore(
                f"{ref.path} was written but is gone from {workspace}; make it anew with "
                f"{checks.redo_command(f'{verb}/{split}')}"
            )
    return False


def n_voxels_of(workspace: Path, split: str) -> int:
    """Return the number of voxels of a split's samples, all ROIs together."""
    place = storage.of(workspace)
    _, folders = place.listing(f"brain.zarr/{split}")
    refs = [layout.samples(split, dataset) for dataset in folders if dataset not in layout.RESERVED]
    written = (ref for ref in refs if place.exists(f"{ref.path}/{metadata.METADATA}"))
    # Without any dataset, describe says which command makes them.
    return metadata.describe(workspace, next(written, layout.samples(split, "training"))).shape[1]


def read_brain(workspace: Path, split: str, dataset: str, roi: str = ALL_VOXELS) -> Brain:
    """Read the samples of a dataset, the voxels of one ROI only.

    Returns
    -------
    Brain
        `samples` (n_samples, n_voxels of the ROI) float32; voxels keep their order.
    """
    ref = layout.samples(split, dataset)
    mask = read_roi(workspace, split, roi)
    n_voxels = metadata.describe(workspace, ref).shape[1]
    if len(mask) != n_voxels:
        raise DamagedStore(
            f"the mask of {roi} has {len(mask)} voxels but {ref.path} has {n_voxels}; make both anew with "
            f"{ref.command} --redo"
        )
    samples = arrays.read(workspace, ref, columns=None if mask.all() else np.flatnonzero(mask))
    columns = tables.read_checked(workspace, layout.samples_columns(split, dataset))
    labels = tuple(str(label) for label in columns.pop("label"))
    if len(labels) != len(samples):
        raise DamagedStore(
            f"{ref.path} has {len(samples)} samples but {len(labels)} labels; make both anew with {ref.command} --redo"
        )
    return Brain(samples, labels, {name: [float(x) for x in values] for name, values in columns.items()})


def read_labels(workspace: Path, split: str, dataset: str) -> tuple[str, ...]:
    """Read the label of each sample of a dataset."""
    columns = tables.read_checked(workspace, layout.samples_columns(split, dataset))
    return tuple(str(label) for label in columns["label"])


def stimulus_rows(workspace: Path, labels: Sequence[str]) -> Array:
    """Return the row of the stimuli table for each label, (n,) int64.

    Raises
    ------
    DataError
        If labels are not in the table, with their number and examples.
    """
    place = {label: row for row, label in enumerate(images.read_table(workspace).labels)}
    unknown = [label for label in dict.fromkeys(labels) if label not in place]
    if unknown:
        raise DataError(
            f"{len(unknown)} labels of brain samples are not in the stimuli table of {workspace}: "
            f"{images.examples(unknown)}; the table has {len(place)}: {images.examples(list(place))}"
        )
    return np.array([place[label] for label in labels], dtype=np.int64)


def read_items(study: Study, split: str, dataset: str, roi: str = ALL_VOXELS) -> Items:
    """Return the test items of a dataset: one a stimulus if `study.decode.average`, else one a sample.

    The mean over the repeats of a stimulus weighs each sample by its `n_averaged`. Sums are float64.
    """
    workspace = layout.workspace_of(study)
    brain = read_brain(workspace, split, dataset, roi)
    rows = stimulus_rows(workspace, brain.labels)
    counts = np.array(brain.columns.get(N_AVERAGED, [1] * len(rows)), dtype=np.float64)
    order = np.argsort(rows, kind="stable")
    if not study.decode.average:
        labels = tuple(brain.labels[i] for i in order)
        names = numbered(labels)
        return Items(names, labels, rows[order], brain.samples[order], counts[order].astype(np.int64))
    distinct, first, code = np.unique(rows, return_index=True, return_inverse=True)
    samples = np.empty((len(distinct), brain.samples.shape[1]), dtype=np.float32)
    for item in range(len(distinct)):
        members = np.flatnonzero(code == item)
        samples[item] = np.average(brain.samples[members].astype(np.float64), axis=0, weights=counts[members])
    labels = tuple(brain.labels[i] for i in first)
    totals = np.bincount(code, weights=counts).astype(np.int64)
    return Items(labels, labels, distinct.astype(np.int64), samples, totals)


def numbered(labels: Sequence[str]) -> tuple[str, ...]:
    """Return `<label>@<nn>` with the number of the repeat, from 01."""
    seen: dict[str, int] = {}
    names = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        names.append(f"{label}@{seen[label]:02d}")
    return tuple(names)
