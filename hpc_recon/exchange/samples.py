"""The samples, labels and columns of one dataset in a lab's plain arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import ArrayKey, Exclude, IngestDataset
from hpc_recon.exchange import bdata, conditions, pooling
from hpc_recon.formats import labfiles
from hpc_recon.formats.bdata import NO_LABEL
from hpc_recon.stores.brain import N_AVERAGED, Brain
from hpc_recon.stores.images import StimulusTable, examples


def array(key: ArrayKey) -> Array:
    """Return the array that a `file` and its `key` name; errors as `labfiles.read_array`."""
    return labfiles.read_array(key.file, key.key)


def finite(values: Array, where: str, *, dtype: type = np.float32) -> Array:
    """Cast to float.

    Raises
    ------
    DataError
        If a value is not finite then: NaN, infinity, and overflow; says how many, in how many rows, and the first.
    """
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is refused below
        cast: Array = values.astype(dtype)
    bad = ~np.isfinite(cast)
    if bad.any():
        first = [int(i) + 1 for i in np.unravel_index(int(np.argmax(bad)), bad.shape)]
        rows = np.count_nonzero(bad.any(axis=tuple(range(1, bad.ndim)))) if bad.ndim > 1 else np.count_nonzero(bad)
        raise DataError(
            f"{where}: {np.count_nonzero(bad)} of {bad.size} values are NaN or infinite, in {rows} of {len(bad)} rows "
            f"(first at row {first[0]}{f', voxel {first[1]}' if len(first) > 1 else ''}, counted from 1); remove these "
            f"voxels or samples from the file"
        )
    return cast


def _column(values: Array, key: str, where: str) -> Array:
    """Cast a sample column to float64; a number may be missing (NaN) but for `n_averaged`, and none is infinite."""
    if key == N_AVERAGED or np.isinf(values.astype(np.float64)).any():
        return finite(values, where, dtype=np.float64)
    return values.astype(np.float64)


def read(name: str, dataset: IngestDataset, table: StimulusTable, *, given: Brain | None = None) -> Brain:
    """Read the samples of one dataset with the label of each, and leave out those that the study excludes.

    Samples of `null_labels`, and those of a dataset whose labels are categories, keep what they show as conditions.

    Parameters
    ----------
    name
        The dataset's, for its own stimuli and for errors.
    table
        All stimuli; a dataset that has none of its own (imagery) shows those of others.
    given
        The samples where they come from images (`exchange.images`); they may have NaN, or no voxel yet.

    Raises
    ------
    DataError
        If files, shapes, labels or values are wrong, or what is excluded does not occur.
    """
    own = [label for label, owner in zip(table.labels, table.dataset, strict=True) if owner == name]
    if given is not None:
        found = given
    elif dataset.bdata is not None:
        found = bdata.read(name, dataset.bdata, own, null=dataset.null_labels)
        found = replace(found, samples=finite(found.samples, f"{name}: samples"))
        for key, values in found.columns.items():
            _column(np.array(values), key, f"{name}: column {key}")
    else:
        found = _read_arrays(name, dataset, own)
    if min(found.columns.get(N_AVERAGED, [1.0])) < 1:
        raise DataError(f"{name}: column {N_AVERAGED} counts presentations, so it is at least 1")
    found = _exclude(name, found, dataset.exclude)
    found = conditions.named(name, found, dataset, table)
    shown = tuple(label for label in found.labels if label not in found.conditions)
    _require_known(name, shown, own or list(table.labels))
    if dataset.average_groups_of is not None:
        return pooling.average_groups(found, dataset.average_groups_of)
    return found


def _read_arrays(name: str, dataset: IngestDataset, own: list[str]) -> Brain:
    """Read the samples of one dataset in plain arrays, with the label of each."""
    assert dataset.samples is not None, "the study was validated"
    samples = finite(labfiles.numbers(array(dataset.samples), f"{name}: samples"), f"{name}: samples")
    if samples.ndim != 2 or 0 in samples.shape:
        raise DataError(f"{name}: samples are (n_samples, n_voxels), got {samples.shape}")
    labels = _sample_labels(name, dataset, own, n=len(samples))
    columns = {}
    for key, source in dataset.columns.items():
        what = f"{name}: column {key}"
        values = _column(labfiles.numbers(labfiles.column(array(source), what), what), key, what)
        if len(values) != len(samples):
            raise DataError(f"{what} has {len(values)} values, but there are {len(samples)} samples")
        columns[key] = [float(x) for x in values]
    return Brain(samples, labels, columns)


def _sample_labels(name: str, dataset: IngestDataset, own: list[str], *, n: int) -> tuple[str, ...]:
    """Return the label of the stimulus that each sample shows, by label, by row, or in order."""
    if dataset.labels is not None:
        labels = labfiles.text(array(dataset.labels), f"{name}: labels", nan=_nan(dataset))
        if len(labels) != n:
            raise DataError(f"{name}: there are {n} samples but {len(labels)} labels; give one for each sample")
        return labels
    if not own:
        raise DataError(f"{name}: it has no stimuli under ingest.stimuli, so its samples need `labels`")
    if dataset.stimulus_rows is None:
        if len(own) != n:
            raise DataError(
                f"{name}: without labels or stimulus_rows, sample i shows stimulus i, but there are {n} samples and "
                f"{len(own)} stimuli; give labels or stimulus_rows"
            )
        return tuple(own)
    what = f"{name}: stimulus_rows"
    rows = labfiles.column(labfiles.numbers(array(dataset.stimulus_rows), what), what)
    if len(rows) != n:
        raise DataError(f"{what} has {len(rows)} values, but there are {n} samples")
    raw = labfiles.text(rows, what, nan=_nan(dataset)) if dataset.null_labels else ("",) * n
    is_null = np.array([text in dataset.null_labels for text in raw])
    rows = np.where(is_null, dataset.first_row, rows)
    whole = rows.astype(np.int64) if np.isfinite(rows).all() else np.full(n, -1)
    bad = (whole != rows) | (whole < dataset.first_row) | (whole >= len(own) + dataset.first_row)
    if bad.any():
        raise DataError(
            f"{what} must be whole numbers from {dataset.first_row} to {len(own) - 1 + dataset.first_row} (first_row "
            f"is {dataset.first_row}), but {np.count_nonzero(bad)} are not (first: {rows[bad][0]} at sample "
            f"{int(np.argmax(bad)) + 1})"
        )
    return tuple(raw[i] if is_null[i] else own[row - dataset.first_row] for i, row in enumerate(whole))


def _nan(dataset: IngestDataset) -> str | None:
    """Return what NaN is called among a dataset's labels; None where it is not one of its null conditions."""
    return NO_LABEL if NO_LABEL in dataset.null_labels else None


def _require_known(name: str, labels: tuple[str, ...], known: list[str]) -> None:
    """Raise unless every label is one of `known`: the dataset's own, or (imagery) those of all datasets."""
    unknown = sorted(set(labels) - set(known), key=labels.index)
    if unknown:
        raise DataError(
            f"{name}: {len(unknown)} of {len(set(labels))} distinct labels of samples are not labels of its "
            f"stimuli: {examples(unknown)}; its {len(known)} stimuli are {examples(known)}; labels that stand for no "
            f"stimulus go under null_labels"
        )


def _exclude(name: str, brain: Brain, exclude: Exclude) -> Brain:
    """Leave samples out by label and number."""
    missing = sorted(set(exclude.labels) - set(brain.labels))
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(exclude.labels)} labels under exclude.labels are labels of no sample: "
            f"{examples(missing)}; correct or remove them"
        )
    beyond = [trial for trial in exclude.trials if trial > len(brain.labels)]
    if beyond:
        raise DataError(
            f"{name}: exclude.trials names {beyond[0]}, but there are {len(brain.labels)} samples, counted from 1; "
            f"correct it"
        )
    if not exclude.labels and not exclude.trials:
        return brain
    out = set(exclude.labels)
    trials = {trial - 1 for trial in exclude.trials}
    kept = [i for i, label in enumerate(brain.labels) if label not in out and i not in trials]
    if not kept:
        raise DataError(f"{name}: exclude leaves no sample of {len(brain.labels)}; exclude less")
    return pooling.take(brain, np.array(kept))
