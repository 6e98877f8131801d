"""Arrays in a workspace that are never silently wrong.

zarr reads an absent or empty shard as fill values. So before a range is read, the length of every shard
file that it touches is compared with the receipt of the tile that wrote it; crc32c on the inner chunks
finds changed bytes. A tile writes whole shards: old ones are removed first (zarr reads a shard before it
replaces it, so a torn one would fail every rewrite), then files and folders are flushed. The arrays may also
lie in an object store (`core.storage`), where a put is whole and durable and nothing needs to be flushed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from hpc_recon.core import receipts, storage
from hpc_recon.core.array import Array
from hpc_recon.core.errors import ChangedStudy, DamagedStore, DataError, StoreUnreachable
from hpc_recon.core.objects import Objects
from hpc_recon.core.paths import require_inside
from hpc_recon.core.places import Folder
from hpc_recon.stores.checks import check_contents, check_shards, redo_command, shard_paths
from hpc_recon.stores.layout import Geometry, Ref
from hpc_recon.stores.metadata import METADATA, Description, create_groups, describe, record, seal

__all__ = ["Description", "Selection", "create", "describe", "read", "write"]

#: `None` is everything; integers must be sorted and distinct.
Selection: TypeAlias = slice | Array | None


def create(
    workspace: Path,
    ref: Ref,
    *,
    shape: Sequence[int],
    dtype: str | np.dtype[Any] | type,
    geometry: Geometry,
    made_by: str,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Create an array without shards; nothing happens if an identical one exists.

    One that differs is replaced if no tile of its maker is finished: a run that was stopped before that, or a redo that
    was killed between removing receipts and files, leaves such arrays.

    Parameters
    ----------
    made_by
        Key of the group whose tiles write it, for example `extract/vgg/conv1_1..conv2_2`.
    attributes
        Plain JSON values.

    Raises
    ------
    ChangedStudy
        If an array that differs in anything exists, with finished tiles; nothing is overwritten.
    """
    wanted = Description(
        tuple(int(n) for n in shape),
        np.dtype(dtype),
        tuple(int(n) for n in geometry.shards),
        tuple(int(n) for n in geometry.chunks),
        dict(attributes or {}),
        made_by,
    )
    _require_sound(wanted, ref)
    require_inside(workspace, workspace / ref.path)
    place, name = storage.of(workspace), f"{ref.path}/{METADATA}"
    if place.exists(name) and _is_kept(workspace, ref, wanted):
        return
    create_groups(workspace, ref.path.rpartition("/")[0])
    # Made in memory and then written whole: zarr itself neither flushes nor renames with care.
    made: dict[str, Any] = {}
    zarr.create_array(
        store=MemoryStore(made),
        shape=wanted.shape,
        dtype=wanted.dtype,
        chunks=wanted.chunks,
        shards=wanted.shards,
        filters=None,
        compressors=[Crc32cCodec()],  # the inner codecs are bytes, crc32c: no compression, each chunk checked
        fill_value=_fill(wanted.dtype),
        attributes={"hpc_recon": {**record(wanted), "seal": seal(wanted)}},
        config={"write_empty_chunks": True},
    )
    place.write_atomic(name, made[METADATA].to_bytes())


def read(workspace: Path, ref: Ref, rows: Selection = None, columns: Selection = None) -> Array:
    """Read a range after checking every shard that it touches.

    Parameters
    ----------
    rows, columns
        Of the first and the second axis: all (None), a slice without step, or sorted distinct integers.

    Returns
    -------
    Array
        (n_rows, n_columns, ...) in the stored dtype.

    Raises
    ------
    MissingStore
        If the array, or the receipt of a touched shard, does not exist.
    DamagedStore
        If a touched shard is absent, empty, shorter or longer than its receipt says, or fails its checksum; or, where
        at least half of what the touched shards hold is read, if it is another one of equal length.
    StoreUnreachable
        If an object store does not answer.
    """
    found = describe(workspace, ref)
    selection = _normalise(found, ref, (rows, columns))
    touched = [_touched(part, shard) for part, shard in zip(selection, found.shards, strict=True)]
    if not all(touched):
        return np.empty([_length(part) for part in selection], dtype=found.dtype)
    check_shards(workspace, ref, found, touched)
    try:
        with storage.of(workspace).holder(ref.path).reaching():
            values = _load(_open(workspace, ref), found, selection)
    except (StoreUnreachable, MemoryError):
        raise
    except Exception as error:
        raise _locate(workspace, ref, found, touched, error=error) from error
    held = math.prod(
        min(len(numbers) * shard, n) for numbers, shard, n in zip(touched, found.shards, found.shape, strict=True)
    )
    if 2 * values.size >= held:
        check_contents(workspace, ref, found, touched)
    return values


def write(workspace: Path, ref: Ref, start: Sequence[int], values: Array, *, allow_nan: bool = False) -> list[Path]:
    """Write whole shards, flush them, and return their paths in the workspace, wherever its arrays lie.

    Parameters
    ----------
    start
        First index along each axis; axes left out start at 0.
    values
        (extent, ...); cast to the stored dtype if that loses no more than precision.
    allow_nan
        Accept NaN (infinity is always refused).

    Raises
    ------
    DataError
        If the range does not consist of whole shards, or a value is not finite or does not fit the dtype.
    """
    found = describe(workspace, ref)
    origin = (*(int(n) for n in start), *[0] * (len(found.shape) - len(start)))
    _require_aligned(found, ref, origin, values.shape)
    stored = _cast(values, found.dtype, f"{ref.path} [{_range_text(origin, values.shape)}]")
    _require_finite(stored, ref, origin, allow_nan=allow_nan)
    spans = [
        range(first // shard, -(-(first + n) // shard))
        for first, n, shard in zip(origin, values.shape, found.shards, strict=True)
    ]
    names = list(shard_paths(ref, spans))
    place = storage.of(workspace).holder(ref.path)
    place.delete(names, flush=False)
    with place.reaching():
        _open(workspace, ref)[tuple(slice(a, a + n) for a, n in zip(origin, values.shape, strict=True))] = stored
    place.flush(names, ref.path)
    return [workspace / name for name in names]


def _locate(
    workspace: Path, ref: Ref, found: Description, touched: Sequence[Sequence[int]], *, error: Exception
) -> DamagedStore:
    """Return an error that names the shard that cannot be decoded, and the range it holds."""
    array = _open(workspace, ref)
    for index in itertools.product(*touched):
        bounds = [
            (i * shard, min((i + 1) * shard, n)) for i, shard, n in zip(index, found.shards, found.shape, strict=True)
        ]
        try:
            array[tuple(slice(*pair) for pair in bounds)]
        except Exception as cause:
            path = storage.of(workspace).where(next(iter(shard_paths(ref, [[i] for i in index]))))
            return DamagedStore(
                f"the shard {path} fails its checksum ({' '.join(str(cause).split())}); it holds {ref.path} "
                f"[{_bounds_text(bounds)}]; make it anew with {redo_command(found.made_by)}"
            )
    return DamagedStore(
        f"reading {ref.path} failed ({error}), but each of its shards can be read now: the storage is unreliable, or a "
        f"tile was written meanwhile; run the command again"
    )


def _open(workspace: Path, ref: Ref) -> Any:
    place = storage.of(workspace).holder(ref.path)
    if isinstance(place, Objects):
        array = zarr.open_array(store=ObjectStore(place.client), path=ref.path, mode="r+", zarr_format=3)
    else:
        assert isinstance(place, Folder)
        array = zarr.open_array(store=LocalStore(place.root / ref.path), mode="r+", zarr_format=3)
    # Opening ignores this setting (zarr 3.1.6), and a shard of nothing but fill values would then not be written.
    return array.with_config({"write_empty_chunks": True})


def _load(array: Any, found: Description, selection: Sequence[slice | Array]) -> Array:
    """Read a selection: ranges at once, numbers shard by shard.

    zarr's own selection by numbers holds index arrays several times as large as the result (measured: 1 GB
    for 3,000 of 11,726 columns of 6,000 rows), so here ranges of whole chunks are read and picked from.
    """
    if all(isinstance(part, slice) for part in selection):
        return np.asarray(array[tuple(selection)])
    result = np.empty([_length(part) for part in selection], dtype=found.dtype)
    axes = zip(selection, found.chunks, found.shards, strict=True)
    for pieces in itertools.product(*[_pieces(part, chunk, shard) for part, chunk, shard in axes]):
        values = np.asarray(array[tuple(piece.source for piece in pieces)])
        for axis, piece in enumerate(pieces):
            if piece.numbers is not None:
                values = values.take(piece.numbers, axis=axis)
        result[tuple(piece.target for piece in pieces)] = values
    return result


@dataclass(frozen=True)
class _Piece:
    """Part of a selection along one axis: where it lies in the array, which of these to keep, where they go."""

    source: slice
    numbers: Array | None
    target: slice


def _pieces(part: slice | Array, chunk: int, shard: int) -> list[_Piece]:
    """Cut a selection along one axis into pieces within one shard each; numbers also where a chunk is left out."""
    if isinstance(part, slice):
        edges = [part.start, *range((part.start // shard + 1) * shard, part.stop, shard), part.stop]
        bounds = list(itertools.pairwise(edges))
        return [_Piece(slice(a, b), None, slice(a - part.start, b - part.start)) for a, b in bounds]
    apart = (np.diff(part // chunk) > 1) | (np.diff(part // shard) > 0)
    runs = np.split(np.arange(len(part)), np.flatnonzero(apart) + 1)
    return [
        _Piece(slice(int(part[run[0]]), int(part[run[-1]]) + 1), part[run] - part[run[0]], slice(run[0], run[-1] + 1))
        for run in runs
    ]


def _normalise(found: Description, ref: Ref, wanted: Sequence[Selection]) -> tuple[slice | Array, ...]:
    """Turn selections into slices with bounds and checked integer arrays, one for each axis."""
    parts: list[slice | Array] = []
    for axis, n in enumerate(found.shape):
        part = wanted[axis] if axis < len(wanted) else None
        if part is None:
            parts.append(slice(0, n))
        elif isinstance(part, slice):
            first, stop, step = part.indices(n)
            if step != 1:
                raise ValueError(f"a range of {ref.path} must have no step, got {part}")
            parts.append(slice(first, max(first, stop)))
        else:
            parts.append(_integers(part, n, f"{ref.path}, axis {axis}"))
    if len(found.shape) == 1 and wanted[1] is not None:
        raise ValueError(f"{ref.path} has one axis and so no columns")
    return tuple(parts)


def _integers(part: Array, n: int, where: str) -> Array:
    numbers = np.asarray(part)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise ValueError(f"numbers of {where} must be a list of integers, got {numbers.dtype} {numbers.shape}")
    numbers = numbers.astype(np.int64)
    if numbers.size and (numbers[0] < 0 or numbers[-1] >= n or np.any(np.diff(numbers) <= 0)):
        raise ValueError(f"numbers of {where} must be sorted, distinct and in [0, {n})")
    return numbers


def _length(part: slice | Array) -> int:
    return int(part.stop - part.start) if isinstance(part, slice) else len(part)


def _touched(part: slice | Array, shard: int) -> list[int]:
    if isinstance(part, slice):
        return list(range(part.start // shard, -(-part.stop // shard))) if part.stop > part.start else []
    return [int(i) for i in np.unique(part // shard)]


def _require_aligned(found: Description, ref: Ref, start: Sequence[int], extent: Sequence[int]) -> None:
    if len(extent) != len(found.shape) or len(start) != len(found.shape):
        raise DataError(f"{ref.path} has shape {found.shape}; got values of shape {tuple(extent)} at {tuple(start)}")
    for axis, (first, n, shard, total) in enumerate(zip(start, extent, found.shards, found.shape, strict=True)):
        stop = first + n
        if n < 1 or first % shard or stop > total or (stop % shard and stop != total):
            raise DataError(
                f"a tile writes whole shards, because two writers of one shard would lose each other's values: "
                f"axis {axis} of {ref.path} has {total} elements in shards of {shard}, but the range is "
                f"[{first}, {stop}); start at a multiple of {shard} and stop at one, or at {total}"
            )


def _cast(values: Array, dtype: np.dtype[Any], where: str) -> Array:
    if values.dtype == dtype:
        return np.ascontiguousarray(values)
    if dtype.kind in "iu" and values.dtype.kind in "iu":
        cast = values.astype(dtype)
        if np.array_equal(cast, values):
            return cast
    elif dtype.kind == values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # an overflow becomes infinite, and that is refused with its place
            return values.astype(dtype)
    raise DataError(f"{where} stores {dtype}, but the values are {values.dtype} and do not fit; convert them first")


def _require_finite(values: Array, ref: Ref, start: Sequence[int], *, allow_nan: bool) -> None:
    if values.dtype.kind != "f":
        return
    bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
    count = int(np.count_nonzero(bad))
    if count:
        first = [int(i + a) for i, a in zip(np.unravel_index(int(np.argmax(bad)), bad.shape), start, strict=True)]
        raise DataError(
            f"{ref.path} takes finite numbers, but {count} of {values.size} values in "
            f"[{_range_text(start, values.shape)}] are NaN or infinite as {values.dtype} (first at {first}); nothing "
            f"was written. Look at the input of this tile"
        )


def _range_text(start: Sequence[int], extent: Sequence[int]) -> str:
    return _bounds_text([(first, first + n) for first, n in zip(start, extent, strict=True)])


def _bounds_text(bounds: Sequence[tuple[int, int]]) -> str:
    names = ("rows", "columns")
    return ", ".join(
        f"{names[axis] if axis < 2 else f'axis {axis}'} {first}:{stop}" for axis, (first, stop) in enumerate(bounds)
    )


def _require_sound(wanted: Description, ref: Ref) -> None:
    if not wanted.shape or min(wanted.shape) < 1:
        raise DataError(f"{ref.path} cannot have shape {wanted.shape}: every axis needs at least one element")
    if not len(wanted.shape) == len(wanted.shards) == len(wanted.chunks) or any(
        shard % chunk for shard, chunk in zip(wanted.shards, wanted.chunks, strict=True)
    ):
        raise DataError(
            f"{ref.path} {wanted.shape} cannot have shards {wanted.shards} of chunks {wanted.chunks}: as many axes, "
            f"and shards divisible by chunks; use a geometry of stores.layout"
        )


def _require_same(found: Description, wanted: Description, folder: str) -> None:
    changed = [
        f"{key} is {old}, now {new}"
        for (key, old), new in zip(record(found).items(), record(wanted).values(), strict=True)
        if old != new
    ]
    if changed:
        raise ChangedStudy(
            f"{folder} exists and differs ({'; '.join(changed)}); it is not overwritten. Remove the folder, or give "
            f"the study another workspace"
        )


def _is_kept(workspace: Path, ref: Ref, wanted: Description) -> bool:
    """Return whether the array that exists is the one wanted; another one is removed where nothing in it counts."""
    place, found = storage.of(workspace), describe(workspace, ref)
    if record(found) == record(wanted):
        return True
    if receipts.Listing(workspace, found.made_by).any_done(found.made_by):
        _require_same(found, wanted, place.where(ref.path))
    metadata = f"{ref.path}/{METADATA}"
    place.delete([*(name for name in place.walk(ref.path) if name != metadata), metadata])
    return False


def _fill(dtype: np.dtype[Any]) -> Any:
    """Return what absent data would read as: NaN, or the largest number where 0 is a valid voxel number."""
    if dtype.kind == "f":
        return math.nan
    return int(np.iinfo(dtype).max) if dtype.kind == "u" and dtype.itemsize > 1 else dtype.type(0).item()
