"""The samples of one dataset in betas of single trials, by the `betas` part of its mapping."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import BetasSource
from hpc_recon.exchange import labelling, places
from hpc_recon.exchange.reading import Reading
from hpc_recon.formats import betas, bids
from hpc_recon.stores.brain import Brain
from hpc_recon.stores.positions import Positions

#: Bytes a voxel of the whole file that one block of 16 trials takes (measured with int16: 110).
_BLOCK_BYTES = 160


@dataclass(frozen=True)
class _File:
    """The betas of one session, nothing read yet: `blocks` yields (trials, n_voxels) float32 in order."""

    n_trials: int
    blocks: Callable[[], Iterator[Array]]


@dataclass(frozen=True)
class _List:
    """What the trials showed: label of each, which are kept, and the columns kept, of all trials."""

    labels: tuple[str, ...]
    kept: Array
    columns: dict[str, tuple[str, ...]]


def read(name: str, source: BetasSource, own: Sequence[str], *, voxels: bool = True) -> Reading:
    """Read the betas of the kept trials, in the order of the files.

    Parameters
    ----------
    name
        The dataset's, for errors.
    own
        Labels of the dataset's own stimuli, for labels by `image_index`.
    voxels
        False: only headers and the lists of trials are read, and the samples have no voxels.

    Returns
    -------
    Reading
        Its samples may have NaN: the caller drops voxels or refuses them. Columns: `session`, and those asked for.

    Raises
    ------
    DataError
        If a file, the mask or a list of trials is wrong, or no trial is kept.
    """
    positions, files = _open(source)
    counts = [file.n_trials for file in files]
    listed = _trials(name, source, own, counts)
    if not listed.kept.any():
        shown = "; ".join(f"{key} = {', '.join(values)}" for key, values in source.trials.rows.items())
        raise DataError(f"{name}: none of {sum(counts)} trials has {shown}; correct trials.rows")
    sessions = np.repeat(source.sessions or range(1, len(files) + 1), counts)
    rows = np.flatnonzero(listed.kept)
    columns = {"session": [float(x) for x in sessions[rows]]}
    for key, texts in listed.columns.items():
        columns[key] = labelling.numbers([texts[row] for row in rows], f"{name}: column {key} of the trials").tolist()
    samples = np.empty((len(rows), positions.n_voxels if voxels else 0), dtype=np.float32)
    first, row = 0, 0
    for file in files if voxels else ():
        for block in file.blocks():
            chosen = listed.kept[first : first + len(block)]
            n = int(np.count_nonzero(chosen))
            samples[row : row + n] = block[chosen]
            first, row = first + len(block), row + n
    n_whole = int(np.prod(positions.grid_shape or (sum(positions.surface_sizes.values()),)))
    brain = Brain(samples, tuple(listed.labels[row] for row in rows), columns)
    return Reading(brain, positions, (), _BLOCK_BYTES * n_whole)


def _open(source: BetasSource) -> tuple[Positions, list[_File]]:
    """Look at every file; surfaces are pairs of files, left vertices before right."""
    if source.files:
        if not source.mask:
            raise DataError(f"{source.files[0]}: betas of volumes need `mask`: a NIfTI mask of the voxels to keep")
        mask = places.common_mask(source.mask)
        found = [
            betas.open_betas(path, mask, scale=source.scale, key=source.key, axes=source.axes) for path in source.files
        ]
        return places.of_mask(mask), [_File(item.n_trials, item.blocks) for item in found]
    if source.left_mask is None or source.right_mask is None:
        raise DataError(
            f"{source.left_files[0]}: betas of surfaces need `left_mask` and `right_mask`: vertices to keep"
        )
    left, right = (places.surface_mask(path) for path in (source.left_mask, source.right_mask))
    files = []
    for one, other in zip(source.left_files, source.right_files, strict=True):
        pair = [
            betas.open_betas(path, mask, scale=source.scale, key=source.key, axes=source.axes)
            for path, mask in ((one, left), (other, right))
        ]
        if pair[0].n_trials != pair[1].n_trials:
            raise DataError(f"{one} has {pair[0].n_trials} trials, {other} {pair[1].n_trials}; are they one session?")
        files.append(_File(pair[0].n_trials, lambda pair=pair: _side_by_side(pair[0], pair[1])))  # type: ignore[misc]
    return places.of_hemispheres(left, right), files


def _side_by_side(left: betas.Betas, right: betas.Betas) -> Iterator[Array]:
    for one, other in zip(left.blocks(), right.blocks(), strict=True):
        yield np.concatenate([one, other], axis=1)


def _trials(name: str, source: BetasSource, own: Sequence[str], counts: Sequence[int]) -> _List:
    """Read the list or lists of trials and check that there is one row a trial."""
    listed = source.trials
    expected = counts if len(listed.files) == len(counts) else [sum(counts)]
    labels: list[str] = []
    kept: list[bool] = []
    columns: dict[str, list[str]] = {key: [] for key in listed.columns}
    for path, n_trials in zip(listed.files, expected, strict=True):
        if path.name.endswith(".txt"):
            if listed.rows or listed.columns or listed.column is not None:
                raise DataError(f"{path}: a text file has no columns, so trials.column, rows and columns need a table")
            texts = betas.read_trials(path, n_trials)
            kept += [True] * n_trials
        else:
            table = _table(path)
            if table.n_rows != n_trials:
                raise DataError(
                    f"{path} has {table.n_rows} rows, but its betas {n_trials} trials; give one row a trial"
                )
            if listed.column is None:
                raise DataError(f"{path}: say which column has the labels (trials.column): {', '.join(table.columns)}")
            texts = table.texts(listed.column)
            wanted = [(table.texts(column), values) for column, values in listed.rows.items()]
            kept += [all(column[row] in values for column, values in wanted) for row in range(n_trials)]
            for key, column in listed.columns.items():
                columns[key] += table.texts(column)
        labels += texts
    mask = np.array(kept, dtype=bool)
    # Trials that are left out may show anything; a number that is none is only an error in one that is kept.
    rows = np.flatnonzero(mask)
    where = f"{name}: labels of the trials ({listed.files[0]}{' ...' if len(listed.files) > 1 else ''})"
    named = labelling.stimulus_labels([labels[row] for row in rows], listed.by, own, where)
    complete = list(labels)
    for row, label in zip(rows, named, strict=True):
        complete[row] = label
    return _List(tuple(complete), mask, {key: tuple(texts) for key, texts in columns.items()})


def _table(path: Path) -> bids.Table:
    """Read a table with a header: `.tsv` as BIDS defines it, `.csv` with commas and quotes."""
    if path.name.endswith(".tsv"):
        return bids.read_table(path)
    if not path.name.endswith(".csv"):
        raise DataError(f"{path}: a list of trials is .txt (one label a line), .tsv or .csv; save it as one of these")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a table in UTF-8 with a header: {error}; save it again") from error
    wrong = [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    if wrong or not rows or len(set(header)) < len(header) or "" in header:
        what = f"row {wrong[0]} has another number of cells than" if wrong else "it needs rows, and distinct names in"
        raise DataError(f"{path}: {what} its header {header[:20]}; correct the table")
    return bids.Table(path, {name: tuple(row[i] for row in rows) for i, name in enumerate(header)})
