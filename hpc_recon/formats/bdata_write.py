"""BData files written for bdpy.

The layout is described in `formats.bdata`; it is what bdpy 0.26 writes: a contiguous float64 dataset, fixed-length
names, and a scalar text for each number of a vmap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing
from hpc_recon.formats.bdata import BLOCK_BYTES


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
