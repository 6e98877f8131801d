"""Brain samples with their labels, ROI masks, and test items (repeats averaged)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

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
#: The column of a stored table that says what each sample shows, where a dataset has samples without a stimulus.
SHOWS = "shows"
#: What a sample shows that does not show a stimulus: `nothing` (a null condition), or a `category` of stimuli.
Condition = Literal["nothing", "category"]
_CONDITIONS = ("nothing", "category")


@dataclass(frozen=True)
class Brain:
    """The samples of one dataset.

    Attributes
    ----------
    samples
        (n_samples, n_voxels) float32, raw.
    labels
        Label of the stimulus that each sample shows, or of its condition.
    columns
        More numbers for each sample: run, session, vividness, `n_averaged`; NaN where one is missing.
    conditions
        By label: what samples show whose label is not that of a stimulus.
    """

    samples: Array
    labels: tuple[str, ...]
    columns: dict[str, list[float]] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)


@dataclass(frozen=True)
class Items:
    """What of a test dataset is decoded, ordered by row of the stimulus; conditions without one follow, by label.

    Attributes
    ----------
    names
        Unique and fit to be file names: the label, or `<label>@<nn>` where not all repeats are averaged.
    labels
        Label of each item's stimulus or condition.
    rows
        (n_items,) int64 rows of the stimuli table; -1 where no stimulus was shown: such an item has no truth.
    samples
        (n_items, n_voxels) float32, raw; a mean over repeats, as `study.decode.average` says.
    n_averaged
        (n_items,) int64 presentations in each mean.
    conditions
        What each item shows instead of a stimulus; "" where it shows one.
    columns
        (n_items,) float64 by name: means of the sample columns (vividness, run) over each item's presentations, of
        those that have a number; NaN where none has.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Array
    samples: Array
    n_averaged: Array
    conditions: tuple[Condition | Literal[""], ...]
    columns: dict[str, Array]

    @property
    def scored(self) -> Array:
        """Numbers of the items that show a stimulus and so can be scored, (n_scored,) int64."""
        return np.flatnonzero(self.rows >= 0)


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
    for reserved in ("label", SHOWS):
        if reserved in brain.columns:
            raise DataError(
                f"{ref.path}: no column may be called {reserved!r}: it has a meaning; rename it in the study"
            )
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
    if not brain.conditions.keys().isdisjoint(brain.labels):
        columns[SHOWS] = [brain.conditions.get(label, "stimulus") for label in brain.labels]
    files.append(
        tables.write_table(workspace, layout.samples_columns(split, dataset), columns, made_by=made_by, gaps=True)
    )
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
    return checks.was_written(workspace, split, layout.roi_mask(split, roi))


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
    n_labels = len(columns["label"])
    if n_labels != len(samples):
        raise DamagedStore(
            f"{ref.path} has {len(samples)} samples but {n_labels} labels; make both anew with {ref.command} --redo"
        )
    return _brain(ref, samples, columns)


def _brain(ref: layout.Ref, samples: Array, columns: tables.Columns) -> Brain:
    """Return samples with what their table says of them."""
    labels = tuple(str(label) for label in columns["label"])
    shows = [str(kind) for kind in columns.get(SHOWS, ["stimulus"] * len(labels))]
    unknown = sorted(set(shows) - {"stimulus", *_CONDITIONS})
    if unknown:
        raise DamagedStore(
            f"samples of {ref.path} show {', '.join(map(repr, unknown))}, but can show a stimulus, "
            f"{' or '.join(_CONDITIONS)}; make them anew with {ref.command} --redo"
        )
    conditions = {x: cast("Condition", kind) for x, kind in zip(labels, shows, strict=True) if kind != "stimulus"}
    numbers = {
        name: [float("nan") if x is None else float(x) for x in own]
        for name, own in columns.items()
        if name not in ("label", SHOWS)
    }
    return Brain(samples, labels, numbers, conditions)


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


@dataclass(frozen=True)
class _Grouping:
    """Which samples each item is the mean of: names, labels, and rows of the stimuli table or -1."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Array
    members: list[list[int]]


def _group(workspace: Path, brain: Brain, *, average: bool | int) -> _Grouping:
    shown = [label for label in dict.fromkeys(brain.labels) if label not in brain.conditions]
    row = dict(zip(shown, stimulus_rows(workspace, shown).tolist(), strict=True))
    samples: dict[str, list[int]] = {}
    for i, label in enumerate(brain.labels):
        samples.setdefault(label, []).append(i)
    labels, names, members = [], [], []
    for label in sorted(samples, key=lambda x: (x not in row, row.get(x, -1), x)):
        own = samples[label]
        step = _step(average, len(own))
        parts = [own[start : start + step] for start in range(0, len(own), step)]
        labels += [label] * len(parts)
        names += [label] if average is True else [f"{label}@{n + 1:02d}" for n in range(len(parts))]
        members += parts
    rows = np.array([row.get(label, -1) for label in labels], dtype=np.int64)
    return _Grouping(tuple(names), tuple(labels), rows, members)


def read_items(study: Study, split: str, dataset: str, roi: str = ALL_VOXELS) -> Items:
    """Return the test items of a dataset, as `study.decode.average` says.

    True: one a stimulus or condition, the mean of its samples. A number N: the means of N samples at a time, in their
    order; a rest is averaged too. False: one a sample. Means weigh each sample by its `n_averaged`; sums are float64.
    """
    brain = read_brain(layout.workspace_of(study), split, dataset, roi)
    return _items(study, brain)


def read_item_table(study: Study, split: str, dataset: str) -> Items:
    """Return the items of a dataset without their samples, which are not read: `samples` is (n_items, 0)."""
    ref = layout.samples_columns(split, dataset)
    columns = tables.read_checked(layout.workspace_of(study), ref)
    return _items(study, _brain(ref, np.empty((len(columns["label"]), 0), np.float32), columns))


def _items(study: Study, brain: Brain) -> Items:
    found = _group(layout.workspace_of(study), brain, average=study.decode.average)
    counts = np.array(brain.columns.get(N_AVERAGED, [1] * len(brain.labels)), dtype=np.float64)
    samples = np.empty((len(found.names), brain.samples.shape[1]), dtype=np.float32)
    for item, own in enumerate(found.members):
        if len(own) == 1:
            samples[item] = brain.samples[own[0]]
        else:
            samples[item] = np.average(brain.samples[own].astype(np.float64), axis=0, weights=counts[own])
    return Items(
        names=found.names,
        labels=found.labels,
        rows=found.rows,
        samples=samples,
        n_averaged=np.array([counts[own].sum() for own in found.members]).astype(np.int64),
        conditions=tuple(brain.conditions.get(label, "") for label in found.labels),
        columns={
            name: np.array([mean_of(values[own], counts[own]) for own in found.members])
            for name, values in ((name, np.array(values)) for name, values in brain.columns.items())
            if name != N_AVERAGED
        },
    )


def mean_of(values: Array, weights: Array) -> float:
    """Return the weighted mean of the numbers that are not NaN; NaN if there is none.

    >>> mean_of(np.array([1.0, np.nan, 4.0]), np.array([2.0, 5.0, 1.0]))
    2.0
    """
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def n_items(labels: Sequence[str], *, average: bool | int) -> int:
    """Return the number of items of samples with these labels, as `read_items` makes them.

    >>> [n_items(["a", "a", "a", "b"], average=average) for average in (True, 2, False)]
    [2, 3, 4]
    """
    return sum(-(-count // _step(average, count)) for count in Counter(labels).values())


def _step(average: bool | int, n: int) -> int:
    """Return how many of the `n` samples of a label one item averages at most."""
    if average is True:
        return n
    return int(average) or 1
