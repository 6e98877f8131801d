"""Features that lie in one array for many stimuli, as the latents of a generator: which row is which stimulus's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.network_options import Network, StimulusArray
from hpc_recon.formats.row_arrays import RowArray
from hpc_recon.stores.images import StimulusTable


@dataclass(frozen=True)
class LayerArrays:
    """The arrays of one layer; the same functions as `given_files.LayerFiles`."""

    network: str
    layer: str
    #: Shape of a row.
    unit_shape: tuple[int, ...]
    #: Arrays, each with the row of each of its labels.
    parts: tuple[tuple[RowArray, dict[str, int]], ...] = field(repr=False)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return math.prod(self.unit_shape)

    @property
    def files(self) -> dict[str, Path]:
        """The files by their number."""
        return {f"array{number}": array.file for number, (array, _) in enumerate(self.parts)}

    @property
    def whole_bytes(self) -> int:
        """Bytes of the files that can only be read as a whole, unpacked as float64, at most."""
        rows = sum(len(rows) for array, rows in self.parts if not array.in_pieces)
        return 8 * rows * self.n_units

    def recorded(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return which files hold some labels, by the names in `files`."""
        return tuple(f"array{i}" for i, (_, rows) in enumerate(self.parts) if any(label in rows for label in labels))

    def read(self, labels: Sequence[str]) -> Array:
        """Read the features of some stimuli, (n_labels, n_units) float32; errors as `RowArray.read`."""
        values = np.empty((len(labels), self.n_units), dtype=np.float32)
        for array, rows in self.parts:
            places = [i for i, label in enumerate(labels) if label in rows]
            if places:
                found = array.read([rows[labels[i]] for i in places])
                values[places] = found.reshape(len(places), self.n_units)
        return values


def look(name: str, network: Network, table: StimulusTable | None) -> dict[str, LayerArrays]:
    """Find the arrays of a network's layers, and the row of every stimulus in them.

    Parameters
    ----------
    name
        Of the network, for messages.
    table
        All stimuli; None: not known yet, nothing is matched, and files with a declared shape may be missing.

    Returns
    -------
    dict
        By layer, in the order of the study.

    Raises
    ------
    StudyError
        With everything that does not fit: files, shapes, labels that are missing or stand twice.
    """
    assert network.features is not None, "asked of networks with files only"
    problems: list[str] = []
    found: dict[str, LayerArrays] = {}
    for layer in network.layers:
        try:
            found[layer] = _layer(name, layer, network.features.arrays[layer], table)
        except DataError as error:
            problems.append(f"{name}: {layer}: {error}")
    if problems:
        raise StudyError("networks", problems)
    return found


def _layer(name: str, layer: str, given: Sequence[StimulusArray], table: StimulusTable | None) -> LayerArrays:
    shapes: dict[str, tuple[int, ...]] = {}
    parts = []
    for own in given:
        array = RowArray(own.file, own.key)
        place = str(own.file) if own.key is None else f"{own.file} ({own.key})"  # a file may hold several arrays
        if table is None and own.unit_shape is not None and not own.file.is_file():
            shapes[place] = own.unit_shape
            continue
        n_rows, *inner = array.shape()
        shapes[place] = tuple(inner)
        if own.unit_shape not in (None, tuple(inner)):
            raise DataError(f"{own.file} has rows of shape {tuple(inner)}, but the study says {own.unit_shape}")
        if table is not None:
            parts.append((array, _rows(own, n_rows, table)))
    if len(set(shapes.values())) > 1:
        shown = ", ".join(f"{shape} in {place}" for place, shape in shapes.items())
        raise DataError(f"rows have different shapes: {shown}; give arrays of one kind of latent")
    if table is not None:
        _require_each_once(table.labels, [rows for _, rows in parts])
    return LayerArrays(name, layer, next(iter(shapes.values())), tuple(parts))


def _rows(own: StimulusArray, n_rows: int, table: StimulusTable) -> dict[str, int]:
    """Return the row of each label of an array."""
    if own.labels is not None:
        try:
            labels = [line.strip() for line in own.labels.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the labels {own.labels} cannot be read ({error}); give a text file") from error
        source = str(own.labels)
    else:
        labels = [label for label, dataset in zip(table.labels, table.dataset, strict=True) if dataset == own.dataset]
        source = f"the dataset {own.dataset}"
    if len(labels) != n_rows:
        raise DataError(
            f"{own.file} has {n_rows:,} rows, but {source} has {len(labels):,} labels; they must be as many, in the "
            "same order"
        )
    rows = {label: row for row, label in enumerate(labels)}
    if len(rows) != len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise DataError(f"{source} names {twice[0]!r} twice; each stimulus has one row")
    return rows


def _require_each_once(labels: Sequence[str], held: Sequence[dict[str, int]]) -> None:
    count = {label: sum(label in rows for rows in held) for label in labels}
    missing = [label for label, n in count.items() if n == 0]
    twice = [label for label, n in count.items() if n > 1]
    for what, some, remedy in (
        ("have no row in these arrays", missing, "add the array that holds them"),
        ("have a row in more than one array", twice, "remove one"),
    ):
        if some:
            raise DataError(
                f"{len(some):,} of {len(labels):,} stimuli {what} ({', '.join(some[:5])}"
                f"{', ...' if len(some) > 5 else ''}); {remedy}"
            )
