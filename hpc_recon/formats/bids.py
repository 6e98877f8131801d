"""BIDS tables and names: events, fMRIPrep's confounds, the TR of a sidecar, entities of a file name.

Source: Brain Imaging Data Structure 1.10, "Tabular files" (tab-separated, UTF-8, a header, `n/a` for a missing value),
"Events" (onset and duration in seconds; an onset counts from the first volume of the file) and "File name structure".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats.texts import read_text

#: fMRIPrep's six motion parameters: translations in mm, rotations in radians.
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
MISSING = "n/a"
#: A table of a run has hundreds of rows; more than this is no table of a run.
_MAX_BYTES = 64 * 2**20
#: The longest runs with all of fMRIPrep's columns have a million cells.
_MAX_CELLS = 4_000_000
#: A sidecar has some KB.
_MAX_SIDECAR = 16 * 2**20


@dataclass(frozen=True)
class Table:
    """A BIDS table: `columns` name -> the texts of its rows, in the order of the file."""

    path: Path
    columns: Mapping[str, tuple[str, ...]]

    @property
    def n_rows(self) -> int:
        """How many rows it has, the header not counted."""
        return len(next(iter(self.columns.values())))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return one column as texts.

        Raises
        ------
        DataError
            If there is no such column; those that exist are named.
        """
        if name not in self.columns:
            raise DataError(f"{self.path}: there is no column {name!r}. Columns: {', '.join(list(self.columns)[:30])}.")
        return self.columns[name]

    def numbers(self, name: str) -> Array:
        """Return one column as (n_rows,) float64; `n/a` is NaN.

        Raises
        ------
        DataError
            If there is no such column, or a text is neither a number nor `n/a`.
        """
        values = []
        for row, text in enumerate(self.texts(name), start=2):
            try:
                values.append(math.nan if text == MISSING else float(text))
            except ValueError as error:
                raise DataError(
                    f"{self.path}, line {row}: column {name} has {text!r}, which is neither a number nor {MISSING}."
                ) from error
        return np.array(values, dtype=np.float64)


def read_table(path: Path) -> Table:
    """Read a tab-separated table.

    Raises
    ------
    DataError
        If it is not UTF-8, has no row, a column twice or without a name, or a row of another length.
    """
    text = read_text(path, limit=_MAX_BYTES, what="table of one run")
    n_cells = text.count("\t") + text.count("\n")
    if n_cells > _MAX_CELLS:
        raise DataError(f"{path}: {n_cells} cells are too many for a table of one run. Is it another file?")
    lines = text.split("\n")
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, start=1) if line.strip()]
    if len(rows) < 2:
        raise DataError(f"{path}: a table needs a header and at least one row. Is the file empty or truncated?")
    header = [name.strip() for name in rows[0][1]]
    if len(set(header)) < len(header) or "" in header:
        raise DataError(f"{path}: columns must have names, each once: {header[:30]}.")
    for number, cells in rows[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells, the header has {len(header)}. Cells are separated by tabs;"
                f" a missing value is {MISSING}."
            )
    return Table(path, {name: tuple(cells[c].strip() for _, cells in rows[1:]) for c, name in enumerate(header)})


@dataclass(frozen=True)
class EventRow:
    """One row of an events table: onset from the first volume of the file and duration, seconds, and a label.

    `row` counts the table's rows from 0, so that other columns of the event can be asked for.
    """

    onset_s: float
    duration_s: float
    label: str
    row: int = field(default=0, compare=False)


def read_events(
    path: Path, *, label_column: str = "stim_file", only: Mapping[str, Sequence[str]] | None = None
) -> list[EventRow]:
    """Read the events of a run in the order of their onsets.

    Parameters
    ----------
    path
        `*_events.tsv`.
    label_column
        Whose texts are the labels, e.g. `stim_file` or `trial_type`.
    only
        Column -> values; rows with other values are left out (rest, cues), e.g. `{"trial_type": ["stimulus"]}`.

    Returns
    -------
    The events, by onset. A duration of `n/a` is NaN.

    Raises
    ------
    DataError
        If the table, an onset or the label of a chosen row is unusable, or no row is chosen.
    """
    table = read_table(path)
    onsets, durations, labels = table.numbers("onset"), table.numbers("duration"), table.texts(label_column)
    chosen = [row for row in range(table.n_rows) if all(table.texts(c)[row] in v for c, v in (only or {}).items())]
    if not chosen:
        found = {column: sorted(set(table.texts(column)))[:10] for column in only or {}}
        raise DataError(f"{path}: no row has {dict(only or {})}. The file has {found}.")
    bad = [r for r in chosen if not math.isfinite(onsets[r]) or durations[r] < 0 or labels[r] in ("", MISSING)]
    if bad:
        raise DataError(
            f"{path}: {len(bad)} of {len(chosen)} events have no onset, a negative duration or no {label_column}; the"
            f" first is line {bad[0] + 2}. Leave rest and cues out (`only`), or name another label column."
        )
    rows = [EventRow(float(onsets[row]), float(durations[row]), labels[row], row) for row in chosen]
    return sorted(rows, key=lambda event: event.onset_s)


def read_confounds(path: Path, columns: Sequence[str] = MOTION) -> Array:
    """Read columns of fMRIPrep's `*_desc-confounds_timeseries.tsv`.

    Returns
    -------
    (n_volumes, n_columns) float64; `n/a` (the first row of derivatives) is NaN.

    Raises
    ------
    DataError
        If the table is unusable or a column does not exist.
    """
    table = read_table(path)
    return np.stack([table.numbers(name) for name in columns], axis=1)


def read_repetition_time(path: Path) -> float:
    """Return `RepetitionTime` (seconds) of a `*_bold.json` sidecar.

    Raises
    ------
    DataError
        If the file is not JSON, or has no `RepetitionTime` above 0.
    """
    text = read_text(path, limit=_MAX_SIDECAR, what="sidecar")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}.") from error
    value = content.get("RepetitionTime") if isinstance(content, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise DataError(f"{path}: RepetitionTime must be seconds above 0, not {value!r}. Write it, or give `tr_s`.")
    if value > 100:
        raise DataError(f"{path}: RepetitionTime {value} is in seconds by BIDS; this looks like milliseconds.")
    return float(value)


def entities_of(path: Path) -> dict[str, str]:
    """Return the entities of a BIDS file name, and its `suffix` and `extension`.

    Raises
    ------
    DataError
        If the name is not made of `key-value` parts joined by `_` and a suffix, or a key is there twice.

    Examples
    --------
    >>> entities_of(Path("sub-01_ses-perception02_task-perception_run-03_bold.nii.gz"))["run"]
    '03'
    >>> entities_of(Path("sub-01_run-1_space-fsnative_hemi-L_bold.func.gii"))["extension"]
    '.func.gii'
    """
    stem, dot, extension = path.name.partition(".")
    *parts, suffix = stem.split("_")
    found: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(r"([A-Za-z]+)-([A-Za-z0-9+]+)", part)
        if match is None or match[1] in found:
            raise DataError(f"{path}: {part!r} is no entity of BIDS (key-value, each key once). Rename the file.")
        found[match[1]] = match[2]
    if not parts or not re.fullmatch(r"[A-Za-z0-9]+", suffix):
        raise DataError(f"{path}: a BIDS name is sub-<label>[_key-value ...]_<suffix>.<extension>.")
    return {**found, "suffix": suffix, "extension": dot + extension}
