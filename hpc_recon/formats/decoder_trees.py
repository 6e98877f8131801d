r"""Decoders as bdpy keeps them (`bdmodel`): `W` and `b` of FastL2LiR, a file for each channel, beside their statistics.

`<folder>/W/%08d.mat` (n_voxels, 1, H, W) and `b/%08d.mat` (1, 1, H, W), a file a channel, or `W.mat` (n_voxels, K)
and `b.mat` (1, K) for a layer without places; `x_mean`, `x_norm` (1, n_voxels) and `y_mean`, `y_norm`
(1, *unit_shape), each in a `.mat` of its name. They predict `((x - x_mean) / x_norm) . W + b`, times `y_norm`, plus
`y_mean`. FastL2LiR flattens in F order while it computes; on disk a weight lies at its own channel, row and column, so
units here count in C order.

Source: bdpy 0.26 (`bdpy.ml.ModelTraining`, `ModelTest`) and fastl2lir 0.11.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import visible
from hpc_recon.formats import matlab, sparse

#: In a row of voxels: a slot that is not used, as in our stores.
UNUSED = np.iinfo(np.uint32).max
#: Peak bytes of reading a weight of a sparse W (measured: 107), and a number of one in full (measured: 10 to 31).
SPARSE_BYTES, DENSE_BYTES = 120, 36
#: Units of a W in full that are turned into rows at a time.
_UNITS_AT_ONCE = 1024


@dataclass(frozen=True)
class DecoderRows:
    """The decoders of consecutive units, a row each."""

    #: Number of the first unit, in C order of the layer.
    start: int
    #: (n_units, k) uint32, ascending voxel numbers; `UNUSED` where a unit has fewer.
    voxel: Array
    #: (n_units, k) float32; 0 where unused.
    weight: Array
    #: (n_units,) float32, on the z-scored scale.
    bias: Array


@dataclass(frozen=True)
class Scaling:
    """Statistics of training: voxels over samples, units over stimuli, both with ddof = 1 in the lab's scripts."""

    #: (n_voxels,) float32 each.
    x_mean: Array
    x_norm: Array
    #: (n_units,) float32 each, in C order.
    y_mean: Array
    y_norm: Array
    #: (C, H, W) or (K,).
    unit_shape: tuple[int, ...]


def read_scaling(folder: Path) -> Scaling:
    """Read the four statistics files of a decoder.

    Raises
    ------
    DataError
        If one is absent, is not (1, ...), holds NaN, or disagrees in shape with its partner.
    """
    found = _statistics(folder, ("x_mean", "x_norm", "y_mean", "y_norm"))
    flat = {name: value.reshape(-1) for name, value in found.items()}
    return Scaling(**flat, unit_shape=found["y_mean"].shape)


def read_voxel_scaling(folder: Path) -> tuple[Array, Array]:
    """Read `x_mean` and `x_norm` alone, (n_voxels,) float32 each; errors as `read_scaling`."""
    found = _statistics(folder, ("x_mean", "x_norm"))
    return found["x_mean"], found["x_norm"]


def _statistics(folder: Path, names: Sequence[str]) -> dict[str, Array]:
    """Return statistics by name, without their first axis, pairs of mean and norm checked."""
    found = {}
    for name in names:
        value = sparse.read_dense(folder / f"{name}.mat", name)
        if value.ndim < 2 or value.shape[0] != 1:
            raise DataError(f"{name} in {folder} must have shape (1, ...), but has {value.shape}")
        if not np.isfinite(value).all():
            raise DataError(
                f"{name} in {folder} has {np.count_nonzero(~np.isfinite(value))} values that are not finite"
            )
        found[name] = value[0].astype(np.float32)
        if name.endswith("norm") and (found[name] < 0).any():
            n_below = np.count_nonzero(found[name] < 0)
            raise DataError(
                f"{name} in {folder} has {n_below} values below 0, but is a standard deviation; write it again"
            )
    for mean, norm in zip(names[::2], names[1::2], strict=True):
        if found[mean].shape != found[norm].shape:
            raise DataError(f"{mean} {found[mean].shape} and {norm} {found[norm].shape} in {folder} disagree")
    if found["x_mean"].ndim != 1:
        raise DataError(f"x_mean in {folder} must be (1, n_voxels), but is {(1, *found['x_mean'].shape)}")
    return found


def write_scaling(folder: Path, scaling: Scaling) -> None:
    """Write the four statistics files. A voxel norm of 0 becomes 1: its weights are 0, and 0 / 0 would be NaN."""
    shape = (1, *scaling.unit_shape)
    norm = np.where(scaling.x_norm == 0, 1, scaling.x_norm)
    content = {"x_mean": scaling.x_mean[None], "x_norm": norm[None]}
    content |= {"y_mean": scaling.y_mean.reshape(shape), "y_norm": scaling.y_norm.reshape(shape)}
    for name, value in content.items():
        matlab.write_v73(folder / f"{name}.mat", {name: value.astype(np.float32)})


def read_rows(folder: Path) -> Iterator[DecoderRows]:
    """Yield the decoders of a layer file by file: one channel, or all units of a layer without places.

    Raises
    ------
    DataError
        If W or b is absent, the files of both do not pair up or agree, or a weight is not finite.
    """
    start, n_voxels = 0, None
    for pair in pairs(folder):
        rows, shape = read_pair(pair, start=start)
        if n_voxels not in (None, shape[0]):
            raise DataError(f"{pair[0]} has {shape[0]} voxels, but the files before it have {n_voxels}")
        n_voxels = shape[0]
        yield rows
        start += len(rows.bias)


def read_pair(pair: tuple[Path, Path], *, start: int = 0) -> tuple[DecoderRows, tuple[int, ...]]:
    """Read one file of weights with its biases: a channel, or all units of a layer.

    Parameters
    ----------
    pair
        The files of W and b, from `pairs`.
    start
        Number of the file's first unit.

    Returns
    -------
    DecoderRows
        Its units in C order. Weights of 0 are not kept: k is the largest number of others that a unit has.
    tuple of int
        Shape of W: (n_voxels, *shape of the units).

    Raises
    ------
    DataError
        If W and b do not agree, a weight or bias is not finite, or a sparse W has two weights at one place.
    """
    w_path, b_path = pair
    weights, bias = sparse.read_either(w_path, "W"), sparse.read_dense(b_path, "b")
    shape = weights.shape
    if len(shape) < 2 or shape[0] >= UNUSED or bias.shape != (1, *shape[1:]):
        raise DataError(f"{w_path} has W {shape}, and {b_path} b {bias.shape}; b must be (1, ...) with W's units")
    values = weights if isinstance(weights, np.ndarray) else weights.value
    bad = [np.count_nonzero(~np.isfinite(found)) for found in (values, bias)]
    if any(bad):
        raise DataError(
            f"{w_path} has {bad[0]} of {values.size} weights and {b_path} {bad[1]} of {bias.size} biases that are not "
            "finite (a constant voxel or unit?); fit it again"
        )
    if isinstance(weights, np.ndarray):
        voxel, weight = _dense_rows(weights.reshape(shape[0], -1))
    else:
        if weights.background != 0:
            raise DataError(
                f"{w_path} is a sparse array on a background of {weights.background}, not 0; write it again"
            )
        place, value = _placed(weights)
        del weights, values  # coordinates of every axis: most of what is in memory
        voxel, weight = _sparse_rows(place, value, shape, w_path)
    if not np.isfinite(weight).all():
        n_large = np.count_nonzero(~np.isfinite(weight))
        raise DataError(f"{w_path} has {n_large} weights too large for float32; fit it again")
    return DecoderRows(start, voxel, weight, bias.reshape(-1).astype(np.float32)), shape


def write_rows(
    folder: Path, rows: DecoderRows, n_voxels: int, unit_shape: Sequence[int], *, dense: bool = False
) -> list[Path]:
    """Write decoders of whole channels (or of all units of a layer without places), as bdpy names and shapes them.

    Parameters
    ----------
    folder
        The decoder's folder (`model` in the lab's trees).
    rows
        Units of whole channels.
    n_voxels
        Number of voxels of the ROI.
    unit_shape
        (C, H, W) or (K,) of the whole layer.
    dense
        Write W in full instead of as a `SparseArray`; bdpy reads both.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    DataError
        If the units are not whole channels of the layer, or a voxel number is beyond `n_voxels`.
    """
    per_file = math.prod(unit_shape[1:]) if len(unit_shape) > 1 else math.prod(unit_shape)
    n_units = len(rows.bias)
    if rows.start % per_file or n_units % per_file or rows.start + n_units > math.prod(unit_shape):
        raise DataError(f"units {rows.start} to {rows.start + n_units} are not whole channels of {tuple(unit_shape)}")
    used = rows.voxel != UNUSED
    if used.any() and int(rows.voxel[used].max()) >= n_voxels:
        raise DataError(f"voxel {rows.voxel[used].max()} has a weight, but the ROI has {n_voxels} voxels")
    inner = (1, *unit_shape[1:]) if len(unit_shape) > 1 else tuple(unit_shape)
    written = []
    for begin in range(0, n_units, per_file):
        part = slice(begin, begin + per_file)
        unit, slot = np.nonzero(used[part] & (rows.weight[part] != 0))
        voxel = rows.voxel[part][unit, slot].astype(np.int64)
        weights = sparse.Sparse(
            np.array([voxel, *np.unravel_index(unit, inner)], dtype=np.int64),
            rows.weight[part][unit, slot].astype(np.float32),
            (n_voxels, *inner),
        )
        name = f"/{(rows.start + begin) // per_file:08d}.mat" if len(unit_shape) > 1 else ".mat"
        w_path, b_path = folder / f"W{name}", folder / f"b{name}"
        if dense:
            matlab.write_v73(w_path, {"W": weights.dense().astype(np.float32)})
        else:
            sparse.write_sparse(w_path, "W", weights)
        matlab.write_v73(b_path, {"b": rows.bias[part].astype(np.float32).reshape(1, *inner)})
        written += [w_path, b_path]
    return written


def _dense_rows(weights: Array) -> tuple[Array, Array]:
    """Turn (n_voxels, n_units) into rows of the weights that are not 0, some units at a time."""
    n_units = weights.shape[1]
    counts = np.count_nonzero(weights, axis=0)
    shape = (n_units, int(counts.max(initial=0)))
    voxels, kept = np.full(shape, UNUSED, dtype=np.uint32), np.zeros(shape, dtype=np.float32)
    for begin in range(0, n_units, _UNITS_AT_ONCE):
        block = np.ascontiguousarray(weights[:, begin : begin + _UNITS_AT_ONCE].T)  # what float32 makes 0 was counted
        unit, voxel = np.nonzero(block)
        slot = _slots(counts[begin : begin + _UNITS_AT_ONCE])
        with np.errstate(over="ignore"):  # told by whoever asked
            voxels[begin + unit, slot], kept[begin + unit, slot] = voxel, block[unit, voxel]
    return voxels, kept


def _slots(counts: Array) -> Array:
    """Number the members of each unit from 0, units one after another."""
    slots: Array = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return slots


def _placed(weights: sparse.Sparse) -> tuple[Array, Array]:
    """Return unit times number of voxels plus voxel (n,) int64, and value, of each weight that is not 0."""
    place = np.zeros(weights.value.size, dtype=np.int64)
    for axis in (*range(1, len(weights.shape)), 0):
        place *= weights.shape[axis]
        place += weights.index[axis]
    kept = weights.value != 0
    return (place, weights.value) if kept.all() else (place[kept], weights.value[kept])


def _sparse_rows(place: Array, value: Array, shape: Sequence[int], path: Path) -> tuple[Array, Array]:
    """Sort weights into rows of ascending voxels: (n_units, k) uint32 and float32, k the largest count."""
    n_units, order = math.prod(shape[1:]), np.argsort(place)
    place, value = place[order], value[order]
    del order
    twice = np.count_nonzero(place[1:] == place[:-1])
    if twice:
        raise DataError(f"{path} has {twice} of {value.size} weights twice, at one voxel of one unit; write it again")
    unit, voxel = place // max(shape[0], 1), (place % max(shape[0], 1)).astype(np.uint32)
    del place
    counts = np.bincount(unit, minlength=n_units)
    slot = _slots(counts)
    wide = (n_units, int(counts.max(initial=0)))
    voxels, rows = np.full(wide, UNUSED, dtype=np.uint32), np.zeros(wide, dtype=np.float32)
    with np.errstate(over="ignore"):  # told by whoever asked
        voxels[unit, slot], rows[unit, slot] = voxel, value
    return voxels, rows


def stored(path: Path, *, n_voxels: int, n_units: int) -> tuple[int, int]:
    """Return how many weights a file of W stores a unit, rounded up, and the peak bytes of reading it, by its header.

    Where only reading it would tell (v5), as if W were stored in full.

    Raises
    ------
    DataError
        If the file is absent or damaged, or holds no W.
    """
    found = sparse.n_stored(path, "W")
    n, is_sparse = (n_voxels * n_units, False) if found is None else found
    k = min(max(1, -(-n // n_units)), n_voxels)
    return k, n_units * k * (SPARSE_BYTES if is_sparse else DENSE_BYTES)


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return the files of W and b in the order of their units; none is opened.

    Raises
    ------
    DataError
        If one of both is absent, or a channel of either.
    """
    found = {}
    for name in ("W", "b"):
        inner, single = folder / name, folder / f"{name}.mat"
        found[name] = visible(inner, "*.mat") if inner.is_dir() else [single] if single.is_file() else []
        if not found[name]:
            raise DataError(
                f"{folder} has neither {name}/*.mat nor {name}.mat; name the folder that holds them (`model`)"
            )
    names = [[path.name.removeprefix(name) for path in found[name]] for name in ("W", "b")]
    if names[0] != names[1]:
        differ = sorted(set(names[0]) ^ set(names[1]))
        raise DataError(
            f"W and b in {folder} differ in {len(differ)} files ({', '.join(differ[:5])}); was training finished?"
        )
    chunks = [int(path.stem) for path in found["W"] if path.stem.isdigit()]
    if chunks and chunks != list(range(len(chunks))):
        raise DataError(
            f"W in {folder} lacks chunks: {len(chunks)} files, the last is {chunks[-1]:08d}; copy all of them"
        )
    return list(zip(found["W"], found["b"], strict=True))
