"""Tables of columns as JSON files: labels and other columns that go with the rows of an array.

zarr's string arrays have no stable specification in version 3, so text lies beside the arrays.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_recon.core import storage
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.tiles import FORMAT_VERSION
from hpc_recon.stores.checks import group_records, redo_command
from hpc_recon.stores.layout import Ref, command

Value = str | float | int | None
Columns = dict[str, list[Any]]


def write_table(
    workspace: Path, ref: Ref, columns: Mapping[str, Sequence[Value]], *, made_by: str = "", gaps: bool = False
) -> Path:
    """Write columns of equal length atomically, and return the path in the workspace.

    Parameters
    ----------
    columns
        Text or finite numbers, by column name.
    made_by
        Key of the group that writes it; `read_checked` finds the receipt by it.
    gaps
        Whether a number may be missing: NaN is written as null, and read as None.

    Raises
    ------
    DataError
        If lengths differ or a number is not finite.
    """
    place = storage.of(workspace)
    path = place.where(ref.path)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns of a table must have equal lengths, got {lengths} ({path})")
    if gaps:
        columns = {name: [None if value != value else value for value in own] for name, own in columns.items()}
    for name, values in columns.items():
        bad = [i for i, value in enumerate(values) if isinstance(value, float) and not math.isfinite(value)]
        if bad:
            raise DataError(
                f"a table holds finite numbers, but column {name!r} of {path} has {len(bad)} that are NaN or infinite "
                f"(first at row {bad[0]}); remove the column or its gaps"
            )
    content = {"format": FORMAT_VERSION, "made_by": made_by, "columns": {k: list(v) for k, v in columns.items()}}
    place.write_atomic(ref.path, (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return workspace / ref.path


def read_table(workspace: Path, ref: Ref) -> Columns:
    """Read the columns of a table.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedStore
        If the file is not such a table.
    """
    place = storage.of(workspace)
    return _parse(place.read_bytes(ref.path), place.where(ref.path))[0]


def read_checked(workspace: Path, ref: Ref) -> Columns:
    """Read a table after comparing its length and crc32 with its receipt.

    Raises
    ------
    MissingStore
        If the table, or the receipt of the tile that writes it, does not exist.
    DamagedStore
        If the file differs from its receipt.
    """
    place = storage.of(workspace).holder(ref.path)
    path = place.where(ref.path)
    try:
        payload = place.read_bytes(ref.path)
    except FileNotFoundError:
        raise MissingStore(
            f"{ref.path} does not exist in {place.where('')}; make it with {ref.command}, and --redo if it counts as "
            "done"
        ) from None
    columns, made_by = _parse(payload, path)
    verb = made_by.partition("/")[0]
    record = group_records(workspace, made_by).get(ref.path)
    if record is None:
        raise MissingStore(
            f"{ref.path} in {place.where('')} has no receipt below receipts/{made_by}: it was never finished; "
            f"make it with {command(verb)}"
        )
    if len(payload) != record.length or zlib.crc32(payload) != record.crc32:
        raise DamagedStore(
            f"{path} has changed since it was written ({len(payload)} bytes, its receipt says {record.length}); "
            f"make it anew with {redo_command(made_by)}"
        )
    return columns


def _parse(payload: bytes, path: str) -> tuple[Columns, str]:
    try:
        content = json.loads(payload)
        if content["format"] != FORMAT_VERSION:
            raise ValueError(f"it has format {content['format']}, this program reads format {FORMAT_VERSION}")
        return {str(k): list(v) for k, v in content["columns"].items()}, str(content["made_by"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStore(
            f"the table {path} is damaged ({error}); remove it and run the command that made it again, with --redo"
        ) from error
