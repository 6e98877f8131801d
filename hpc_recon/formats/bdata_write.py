"""BData files written for bdpy, and several BData files read as one.

The layout is described in `formats.bdata`; it is what bdpy 0.26 writes: a contiguous float64 dataset, fixed-length
names, and a scalar text for each number of a vmap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing
from hpc_recon.formats.bdata import BLOCK_BYTES, NO_LABEL, BData
from hpc_recon.formats.selectors import Reading


@dataclass(frozen=True)
class Row:
    """A row of metadata.

    Attributes
    ----------
    block
        The block whose columns `values` covers; all other columns get NaN.
    values
        (columns of the block,) bool (an ROI: True becomes 1, False NaN) or numbers (a coordinate).
    description
        Free text.
    """

    block: str
    values: Array
    description: str = ""


def write_bdata(
    path: Path,
    blocks: Mapping[str, Any],
    *,
    metadata: Mapping[str, Row] | None = None,
    vmaps: Mapping[str, Mapping[float, str]] | None = None,
    header: Mapping[str, str] | None = None,
) -> Path:
    """Write a BData file; whole or not at all.

    Parameters
    ----------
    path
        The `.h5` file; an old one is replaced.
    blocks
        Key to (n_samples,) or (n_samples, n_columns) numbers, in the order of columns: voxels first by custom. Anything
        that is sliced by rows will do; it is read `BLOCK_BYTES` at a time. Each becomes a key of its own.
    metadata
        Key to further rows: ROIs, coordinates.
    vmaps
        Key to number to text; all numbers in the key's columns but NaN must have one.
    header
        Name to text.

    Raises
    ------
    DataError
        If names occur twice or cannot be stored, lengths differ, or a vmap lacks a number.
    """
    metadata, vmaps, header = metadata or {}, vmaps or {}, header or {}
    spans, n_samples = _spans(blocks)
    rows = _rows(spans, metadata)
    for name in (*rows, *header):
        _require_name(name)
    for name, vmap in vmaps.items():
        _require_vmap(name, vmap, blocks)
    n_columns = max(end for _, end in spans.values())
    with replacing(Path(path)) as stream, h5py.File(stream.name, "w") as file:
        dataset = file.create_dataset("dataset", (n_samples, n_columns), dtype=np.float64)
        for name, (begin, end) in spans.items():
            step = max(1, BLOCK_BYTES // (8 * (end - begin)))
            for top in range(0, n_samples, step):
                piece = np.asarray(blocks[name][top : top + step], dtype=np.float64)
                dataset[top : top + step, begin:end] = piece.reshape(len(piece), end - begin)
        file["metadata/key"] = np.array([name.encode() for name in rows])
        file["metadata/description"] = np.array([text.encode() for text, _ in rows.values()])
        file["metadata/value"] = np.stack([values for _, values in rows.values()])
        for name, text in header.items():
            file[f"header/{name}"] = text.encode()
        file.create_group("vmap")  # bdpy writes it always
        for name, vmap in vmaps.items():
            for number, text in vmap.items():
                file[f"vmap/{name}/{float(number)}"] = text.encode()
    return Path(path)


class Stack:
    """Several BData files with the same columns, read as one, samples below each other.

    Numbers with a vmap are made to agree: where files use one number for two texts or two numbers for one text, the
    first file's numbers stay, and later texts get their own number if it is free, else one above all others.

    Parameters
    ----------
    parts
        At least one file.

    Raises
    ------
    DataError
        If the files differ in their keys or metadata numbers; says which file, and where.
    """

    def __init__(self, parts: Sequence[BData]) -> None:
        if not parts:
            raise DataError("no BData file is given; name at least one")
        self.parts = tuple(parts)
        first = self.parts[0]
        for part in self.parts[1:]:
            _require_equal_metadata(first, part)
        self.keys, self.descriptions = first.keys, first.descriptions
        self.shape = (sum(part.shape[0] for part in self.parts), first.shape[1])
        self.vmaps = tuple(key for key in first.vmaps if all(key in part.vmaps for part in self.parts))

    def columns(self, selector: str, *, reading: Reading = "agreed") -> Array:
        """Return the columns of a selector; see `BData.columns`."""
        return self.parts[0].columns(selector, reading=reading)

    def value(self, key: str) -> Array:
        """Return the metadata numbers of a key; see `BData.value`."""
        return self.parts[0].value(key)

    def read(self, columns: str | Array | None = None, *, dtype: Any = np.float32) -> Array:
        """Return all samples as stored, (n_samples, columns); see `BData.read`. Numbers are not made to agree."""
        return np.concatenate([part.read(columns, dtype=dtype) for part in self.parts])

    def label(self, key: str, *, column: int | None = None) -> tuple[str, ...]:
        """Return the text of each sample; see `BData.label`."""
        return tuple(text for part in self.parts for text in part.label(key, column=column))

    def numbers(self, key: str, *, column: int | None = None) -> Array:
        """Return the column of a key, (n_samples,) float64; where it has a vmap, equal texts have equal numbers."""
        if key not in self.vmaps:
            return np.concatenate([part.numbers(key, column=column) for part in self.parts])
        number = {text: value for value, text in self.vmap(key, column=column).items()}
        return np.array([np.nan if text == NO_LABEL else number[text] for text in self.label(key, column=column)])

    def vmap(self, key: str, *, column: int | None = None) -> dict[float, str]:
        """Return number to text, of the texts that samples have, after `numbers` made them agree."""
        found = []
        for part in self.parts:
            vmap = part.vmap(key, part.numbers(key, column=column))
            if NO_LABEL in vmap.values():
                raise DataError(
                    f"{part.path} has a text {NO_LABEL!r} in the vmap of {key!r}, which means none; rename it"
                )
            found.append(vmap)
        merged: dict[float, str] = {}
        taken: set[str] = set()
        free = float(np.floor(max((value for vmap in found for value in vmap), default=0.0))) + 1
        for vmap in found:
            for value, text in vmap.items():
                if text in taken:
                    continue
                if value in merged:
                    value, free = free, free + 1
                merged[value] = text
                taken.add(text)
        return merged


def _spans(blocks: Mapping[str, Any]) -> tuple[dict[str, tuple[int, int]], int]:
    """Return the columns of each block, and the number of samples."""
    spans: dict[str, tuple[int, int]] = {}
    lengths: dict[str, int] = {}
    at = 0
    for name, block in blocks.items():
        if len(block.shape) not in (1, 2) or 0 in block.shape:
            raise DataError(f"block {name!r} must have shape (samples,) or (samples, columns), but has {block.shape}")
        if np.dtype(block.dtype).kind not in "biuf":
            raise DataError(f"block {name!r} must hold numbers, but holds {block.dtype}; give texts as a vmap")
        width = block.shape[1] if len(block.shape) == 2 else 1
        spans[name], lengths[name], at = (at, at + width), block.shape[0], at + width
    if len(set(lengths.values())) != 1:
        raise DataError(f"all blocks must have the same number of samples, but have {lengths or 'none is given'}")
    return spans, next(iter(lengths.values()))


def _rows(spans: Mapping[str, tuple[int, int]], metadata: Mapping[str, Row]) -> dict[str, tuple[str, Array]]:
    """Return description and (n_columns,) float64 of each key."""
    n_columns = max(end for _, end in spans.values())
    found: dict[str, tuple[str, Array]] = {}
    for name, (begin, end) in spans.items():
        values = np.full(n_columns, np.nan)
        values[begin:end] = 1
        found[name] = (f"1 = {name}", values)
    for name, row in metadata.items():
        if name in found:
            raise DataError(f"the key {name!r} is both a block and metadata; rename one")
        if row.block not in spans:
            raise DataError(f"metadata {name!r} is over the block {row.block!r}, which is none of {', '.join(spans)}")
        begin, end = spans[row.block]
        if row.values.shape != (end - begin,):
            raise DataError(
                f"metadata {name!r} has shape {row.values.shape}, but {row.block!r} has {end - begin} columns"
            )
        values = np.full(n_columns, np.nan)
        values[begin:end] = np.where(row.values, 1.0, np.nan) if row.values.dtype == bool else row.values
        found[name] = (row.description or f"1 = {name}", values)
    return found


def _require_name(name: str) -> None:
    if not name or "\0" in name or "/" in name or name == ".":
        raise DataError(f"a name must not be empty, '.', or contain / or a null character, but is {name!r}; rename it")


def _require_vmap(name: str, vmap: Mapping[float, str], blocks: Mapping[str, Any]) -> None:
    if name not in blocks:
        raise DataError(f"the vmap {name!r} belongs to no block; blocks are {', '.join(blocks)}")
    used = np.unique(np.asarray(blocks[name][:], dtype=np.float64))
    missing = [number for number in used[~np.isnan(used)].tolist() if number not in vmap]
    if missing:
        raise DataError(f"the vmap {name!r} has no text for {missing[0]} ({len(missing)} numbers); add it")
    empty = [number for number, text in vmap.items() if not text or "\0" in text]
    if empty:
        raise DataError(f"the vmap {name!r} has an empty text, or one with a null character, for {empty[0]}")


def _require_equal_metadata(first: BData, other: BData) -> None:
    if set(first.keys) != set(other.keys) or first.shape[1] != other.shape[1]:
        differing = sorted(set(first.keys) ^ set(other.keys))[:10]
        raise DataError(
            f"{first.path} and {other.path} cannot be stacked: {first.shape[1]} and {other.shape[1]} columns, and keys "
            f"that only one has: {', '.join(differing) or 'none'}; stack files with the same voxels"
        )
    for key in first.keys:
        if not np.array_equal(first.value(key), other.value(key), equal_nan=True):
            raise DataError(f"{first.path} and {other.path} cannot be stacked: the metadata {key!r} differ")
