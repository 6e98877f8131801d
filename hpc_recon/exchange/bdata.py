"""The samples, labels and columns of one dataset in BData tables, by the `bdata` part of a dataset's mapping."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import BDataSource
from hpc_recon.formats import labfiles, stimulus_ids
from hpc_recon.formats.bdata import NO_LABEL, BData
from hpc_recon.stores.brain import Brain


def read(name: str, source: BDataSource, own: list[str], *, null: Collection[str] = ()) -> Brain:
    """Read the rows that the study keeps, of the voxel columns alone; files are read in row blocks.

    Parameters
    ----------
    name
        The dataset's, for errors.
    own
        Labels of the dataset's own stimuli, which an `image_index` counts in sorted order.
    null
        Labels that stand for no stimulus; numbers of the column that read like one of them are not interpreted.

    Returns
    -------
    Brain
        Samples (n_samples, n_voxels) float32 as stored, NaN included: the caller checks them.

    Raises
    ------
    DataError
        If a file, a selector, a key or a number is wrong, or no row is kept.
    """
    samples, found = [], []
    columns: dict[str, list[float]] = {key: [] for key in source.columns}
    for path in source.files:
        table = BData(path)
        rows = _kept(table, source)
        if not rows.size:
            continue
        samples.append(table.read(_voxels(table, source), rows))
        found += sample_labels(name, table, source, rows, own=own, null=null)
        for column, key in source.columns.items():
            columns[column] += table.numbers(key)[rows].tolist()
    widths = sorted({part.shape[1] for part in samples})
    if len(widths) > 1:
        raise DataError(
            f"{name}: {source.voxels!r} chooses {widths} voxels in the different files; name files of one subject"
        )
    if not samples:
        shown = "; ".join(f"{key} = {list(values)}" for key, values in source.rows.items())
        raise DataError(f"{name}: no row of {', '.join(map(str, source.files))} has {shown}; correct bdata.rows")
    return Brain(np.concatenate(samples) if len(samples) > 1 else samples[0], tuple(found), columns)


def n_rows(source: BDataSource) -> int:
    """Return how many rows the study keeps of all files; no voxel is read."""
    return sum(_kept(BData(path), source).size for path in source.files)


def raw_labels(name: str, source: BDataSource) -> tuple[str, ...]:
    """Return what the label column says of each row that the study keeps, numbers as text, NaN as `n/a`.

    No voxel is read, and nothing is interpreted: it is enough to count labels.
    """
    found: list[str] = []
    for path in source.files:
        table = BData(path)
        rows, key, column = _kept(table, source), source.labels.key, source.labels.column - 1
        if source.labels.by == "vmap":
            texts = table.label(key, column=column)
            found += [texts[row] for row in rows]
        else:
            found += labfiles.text(table.numbers(key, column=column)[rows], f"{name}: {key} in {path}", nan=NO_LABEL)
    return tuple(found)


def mask(source: BDataSource, selector: str) -> Array:
    """Return the members of an ROI among the voxels of a dataset, (n_voxels,) bool.

    Raises
    ------
    DataError
        If the selector is wrong, chooses columns that are no voxels of the dataset only, or the files differ.
    """
    found = []
    for path in source.files:
        table = BData(path)
        found.append(np.isin(_voxels(table, source), table.columns(selector)))
        if not found[-1].any():
            raise DataError(f"{selector!r} chooses none of the voxels ({source.voxels!r}) of {path}; correct it")
        if not np.array_equal(found[0], found[-1]):
            raise DataError(
                f"{selector!r} chooses other voxels in {path} than in {source.files[0]}; use one set of files"
            )
    return found[0]


def _voxels(table: BData, source: BDataSource) -> Array:
    chosen = table.columns(source.voxels)
    if not chosen.size:
        raise DataError(f"{source.voxels!r} chooses no column of {table.path}; correct bdata.voxels")
    return chosen


def _kept(table: BData, source: BDataSource) -> Array:
    """Return the rows that fulfil every condition of `rows`."""
    kept = np.ones(table.shape[0], dtype=bool)
    for key, values in source.rows.items():
        kept &= np.isin(table.numbers(key), values)
    return np.flatnonzero(kept)


def sample_labels(
    name: str, table: BData, source: BDataSource, rows: Array, *, own: list[str], null: Collection[str] = ()
) -> list[str]:
    """Return the stimulus label of each row; arguments and errors as `read`."""
    key, column, by = source.labels.key, source.labels.column - 1, source.labels.by
    where = f"{name}: {key} in {table.path}"
    if by == "vmap":
        texts = table.label(key, column=column)
        return [texts[row] for row in rows]
    numbers = table.numbers(key, column=column)[rows]
    if by == "number" or null:
        raw = labfiles.text(numbers, where, nan=NO_LABEL if NO_LABEL in null else None)
        if by == "number":
            return list(raw)
        shown = np.array([text not in null for text in raw], dtype=bool)
        found = np.array(raw, dtype=object)
        found[shown] = _interpreted(numbers[shown], where, source, own) if shown.any() else []
        return [str(label) for label in found]
    return _interpreted(numbers, where, source, own)


def _interpreted(numbers: Array, where: str, source: BDataSource, own: list[str]) -> list[str]:
    """Return the stimuli of ids or of places among the dataset's own stimuli."""
    if source.labels.by == "stimulus_id":
        return list(stimulus_ids.stimulus_labels(numbers, where))
    if not own:
        raise DataError(f"{where}: an image_index counts the dataset's own stimuli, but it has none; use another label")
    return list(stimulus_ids.image_names(numbers, own))
