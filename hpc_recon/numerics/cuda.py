"""`fit` and `decode` on a CUDA device with our own kernels: voxels chosen, systems solved, units predicted.

The kernels stand in `kernels.cu` and are compiled by cupy when first used. Nothing here waits for the device but where
it says so, and no memory grows with the number of units but the results.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import ridge
from hpc_recon.numerics.stats import BrainStatistics
from hpc_recon.numerics.xp import Namespace, namespace, to_numpy

if TYPE_CHECKING:
    from hpc_recon.numerics.decoder import UnitDecoders

logger = logging.getLogger(__name__)

#: Most voxels of a unit that `solve` takes: MAX_VOXELS of kernels.cu.
MAX_VOXELS = 1024
#: Units whose products with the voxels exist together. A constant, and the last block is filled up with zeros, so a
#: unit's result does not depend on how many are fitted with it.
UNITS_AT_ONCE = 4096
#: States of a unit's system after `solve`.
SOLVED, REDONE, FAILED = 0, 1, 2

#: Of kernels.cu: threads a block of each kernel, columns of a panel, and a side of a tile of predictions.
_SELECT_THREADS, _SOLVE_THREADS, _PREDICT_THREADS = 256, 128, 256
_PANEL = 32
_TILE = 32
#: Blocks of `solve_float` and `solve_double` a multiprocessor, by bytes of a number: what their registers allow (161
#: and 234 a thread on sm_90, without spills). Systems in double for float32 data share the workspace of the former.
_SOLVE_BLOCKS = {4: 3, 8: 2}


@cache
def _module(xp: Namespace) -> Any:
    text = files("hpc_recon.numerics").joinpath("kernels.cu").read_text(encoding="utf-8")
    return xp.RawModule(code=text, options=("--std=c++17",))


def _launch(xp: Namespace, name: str, *, grid: tuple[int, int], threads: int, arguments: tuple[Any, ...]) -> None:
    """Start a kernel on the current stream; numbers must be numpy scalars of the type that the kernel names."""
    _module(xp).get_function(name)(grid, (threads,), arguments)


def _multiprocessors(xp: Namespace) -> int:
    return int(xp.cuda.Device().attributes["MultiProcessorCount"])


def _require(array: Array, name: str, *, dtype: Any, shape: tuple[int, ...]) -> None:
    """Check what a kernel takes for granted."""
    if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} must be a C-contiguous {np.dtype(dtype)} array of shape {shape}, "
            f"got {array.dtype} {array.shape}, C-contiguous: {array.flags.c_contiguous}"
        )


def _suffix(dtype: Any) -> str:
    names = {"float32": "float", "float64": "double"}
    if np.dtype(dtype).name not in names:
        raise ValueError(f"kernels exist for float32 and float64, not for {np.dtype(dtype)}")
    return names[np.dtype(dtype).name]


def select(products: Array, usable: Array, k: int) -> tuple[Array, Array]:
    """Return the k usable voxels of largest |product| of each unit, ascending, and the products there.

    Parameters
    ----------
    products : (n_units, n_voxels) float32 or float64, no NaN
        Product of each unit's z-scored targets with each z-scored voxel.
    usable : (n_voxels,) uint8
        Not 0 where a voxel may be chosen; k of them at least.
    k
        From 1 to the number of usable voxels.

    Returns
    -------
    voxel : (n_units, k) int32
        The same as `voxels.top_voxels` of the absolute values with -1 for unusable voxels: of equal ones the lower
        number is taken.
    rhs : (n_units, k), dtype of `products`

    Notes
    -----
    One block a unit finds the k-th largest value from histograms of 11 bits at a time (3 readings for float32, 6 for
    float64), then copies what lies above it and the first of those equal to it in order. Nothing is sorted. It reads a
    unit's products 4 times: about 190 kB at 11,726 voxels in float32, mostly from the second-level cache.
    """
    xp = namespace(products, usable)
    n_units, n_voxels = products.shape
    _require(products, "products", dtype=products.dtype, shape=(n_units, n_voxels))
    _require(usable, "usable", dtype=np.uint8, shape=(n_voxels,))
    if not 1 <= k <= n_voxels:
        raise ValueError(f"k must be between 1 and the number of voxels {n_voxels}, got {k=}")
    voxel = xp.empty((n_units, k), dtype=np.int32)
    rhs = xp.empty((n_units, k), dtype=products.dtype)
    if n_units:
        arguments = (products, usable, np.int32(n_voxels), np.int32(k), voxel, rhs)
        name = f"select_{_suffix(products.dtype)}"
        _launch(xp, name, grid=(n_units, 1), threads=_SELECT_THREADS, arguments=arguments)
    return voxel, rhs


def workspace_bytes(k: int, *, itemsize: int = 4, multiprocessors: int) -> int:
    """Return the bytes of device memory that `solve` factorises in: one triangle's square a block, for any n_units.

    Examples
    --------
    >>> workspace_bytes(500, multiprocessors=132) >> 20
    396
    """
    columns, rows = _padded(k)
    return multiprocessors * _SOLVE_BLOCKS[itemsize] * columns * rows * itemsize


def _padded(k: int) -> tuple[int, int]:
    """Return columns and rows of a factor: k, and k + 1 with the right-hand side, rounded up to whole panels."""
    return (k + _PANEL - 1) // _PANEL * _PANEL, (k + _PANEL) // _PANEL * _PANEL


def new_workspace(xp: Namespace, k: int, dtype: Any) -> Array:
    """Return the memory for `solve` on the current device, to be used again for any number of calls."""
    itemsize = np.dtype(dtype).itemsize
    size = workspace_bytes(k, itemsize=itemsize, multiprocessors=_multiprocessors(xp))
    workspace: Array = xp.empty(size, dtype=np.uint8)
    return workspace


def solve(
    gram: Array, voxel: Array, rhs: Array, alpha: Array, *, refine_below: float = 0.0, workspace: Array | None = None
) -> tuple[Array, Array]:
    """Solve (gram[S, S] + alpha I) w = rhs for each unit, S its voxels.

    Parameters
    ----------
    gram : (n_voxels, n_voxels) float32 or float64
        Symmetric to the last bit.
    voxel : (n_units, k) int32, k <= MAX_VOXELS
    rhs : (n_units, k), dtype of `gram`
    alpha : (n_units,) float64, each > 0
    refine_below
        For float32: correct the solutions of smaller penalties once by their residuals, which are computed in float64.
    workspace
        From `new_workspace`; default: a new one.

    Returns
    -------
    weight : (n_units, k), dtype of `gram`
        Not defined for units that failed.
    status : (n_units,) int32
        SOLVED; REDONE: float32 did not do (a pivot was not positive, or the correction was above 1e-3 of the
        solution), so the system was solved in float64; FAILED: float64 did not do either.

    Notes
    -----
    A block of 128 threads factorises one system at a time by a left-looking Cholesky method with panels of 32 columns,
    reading each entry of the Gram matrix straight into its registers. The right-hand side is one more row, so that the
    forward substitution comes for free. float64 launches pass over units that float32 has solved: nothing is fetched.

    Estimated, not measured, for k = 500 on an H200: 34 million multiply-adds a unit (of 21 million in exact
    triangles), at a third to a half of the float32 rate, with 16 factorisations of a block of 32 by one warp: 0.6 to
    1.0 million cycles of a multiprocessor, so 200,000 to 350,000 units/s; refinement takes about a fifth more.
    """
    xp = namespace(gram, voxel, rhs, alpha)
    n_units, k = voxel.shape
    n_voxels, dtype = gram.shape[0], gram.dtype
    _require(gram, "gram", dtype=dtype, shape=(n_voxels, n_voxels))
    _require(voxel, "voxel", dtype=np.int32, shape=(n_units, k))
    _require(rhs, "rhs", dtype=dtype, shape=(n_units, k))
    _require(alpha, "alpha", dtype=np.float64, shape=(n_units,))
    if not 1 <= k <= MAX_VOXELS:
        raise ValueError(f"a system must have between 1 and {MAX_VOXELS} voxels, got {k}")
    name = f"solve_{_suffix(dtype)}"
    memory = new_workspace(xp, k, dtype) if workspace is None else workspace
    columns, rows = _padded(k)
    weight = xp.empty((n_units, k), dtype=dtype)
    status = xp.full(n_units, SOLVED, dtype=np.int32)
    passes = [(name, dtype, SOLVED, FAILED)]
    if dtype == np.float32:
        passes = [(name, dtype, SOLVED, REDONE), ("solve_float_in_double", np.dtype(np.float64), REDONE, FAILED)]
    for kernel, computing, wanted, failed in passes:
        room = memory.view(computing)
        n_blocks = min(n_units, len(room) // (columns * rows))
        if n_blocks == 0 and n_units:
            raise ValueError(f"the workspace of {memory.nbytes} bytes is too small for {k} voxels; see new_workspace")
        numbers = (np.int32(k), np.int32(n_units), np.float64(refine_below if computing == np.float32 else 0.0))
        states = (np.int32(wanted), np.int32(failed))
        arguments = (gram, np.int64(n_voxels), voxel, rhs, alpha, *numbers, *states, room, weight, status)
        if n_units:
            _launch(xp, kernel, grid=(n_blocks, 1), threads=_SOLVE_THREADS, arguments=arguments)
    return weight, status


def predict_units(Z: Array, units: UnitDecoders) -> Array:
    """Predict units on their raw scale from z-scored samples, without dense weights.

    Parameters
    ----------
    Z : (n, n_voxels)
        Samples z-scored with the training statistics.
    units
        Voxel numbers of n_voxels or more (or negative ones) mark unused slots.

    Returns
    -------
    (n, n_units), dtype of the weights
        y_mean + y_scale * (bias + sum over slots of Z[:, voxel] * weight); products in that type, 32 at a time, sums
        of those in float64.

    Notes
    -----
    Memory: a transposed copy of Z and the result; voxel numbers that are not int32 are copied.
    """
    xp = namespace(Z, units.weight)
    n_items, n_voxels = Z.shape
    n_units, k = units.weight.shape
    dtype = units.weight.dtype
    predicted: Array = xp.empty((n_items, n_units), dtype=dtype)
    items = xp.ascontiguousarray(Z.T, dtype=dtype)
    voxel = xp.ascontiguousarray(units.voxel).astype(np.int32, copy=False)
    weight, bias = xp.ascontiguousarray(units.weight), xp.ascontiguousarray(units.bias, dtype=dtype)
    y_mean, y_scale = (xp.ascontiguousarray(a, dtype=np.float64) for a in (units.y_mean, units.y_scale))
    _require(voxel, "voxel", dtype=np.int32, shape=(n_units, k))
    for array, name in ((bias, "bias"), (y_mean, "y_mean"), (y_scale, "y_scale")):
        _require(array, name, dtype=array.dtype, shape=(n_units,))
    if n_items and n_units:
        shape = (np.int32(n_items), np.int32(n_voxels))
        arguments = (items, *shape, voxel, weight, bias, y_mean, y_scale, np.int32(k), np.int32(n_units), predicted)
        grid = (-(-n_units // _TILE), -(-n_items // _TILE))
        _launch(xp, f"predict_{_suffix(dtype)}", grid=grid, threads=_PREDICT_THREADS, arguments=arguments)
    return predicted


def fit_units(
    brain: BrainStatistics, Y: Array, *, n_voxels: int, alpha: float | Array, penalize_bias: bool = False
) -> UnitDecoders:
    """Fit decoders of units to known brain statistics; the mathematics and rules of `decoder.fit_units`.

    Parameters
    ----------
    brain
        Of the training samples, with as many stimuli as Y has rows; on the device.
    Y : (n_stimuli, n_units), raw, finite, n_stimuli >= 2
    n_voxels
        Voxels a unit; all usable ones where there are fewer.
    alpha
        Ridge penalty, > 0: one for all units, or one a unit (n_units,).

    Returns
    -------
    UnitDecoders
        Arrays on the device.

    Raises
    ------
    DataError
        If a penalty is not above 0, or too small for float64.

    Notes
    -----
    float32 systems are refined where `ridge.refined_below` says so, as on the CPU. Shapes that `solve` does not take go
    through `ridge.solve`, which is slower and waits for the device: no Gram matrix, the dual form, or more than
    MAX_VOXELS voxels.

    It waits for the device twice before the first unit and once after the last one. Memory besides the results:
    UNITS_AT_ONCE rows of products (n_voxels each), the standardised targets of as many units with float64 copies, and
    `workspace_bytes`.
    """
    from hpc_recon.numerics.decoder import UnitDecoders, standardised_targets  # decoder may import this module

    xp = namespace(brain.sums, Y)
    n_units, dtype = Y.shape[1], brain.sums.dtype
    k = min(n_voxels, brain.n_usable)
    penalty = _penalties(xp, alpha, n_units)
    primal = _takes_primal_form(brain, k)
    workspace = new_workspace(xp, k, dtype) if primal else None
    usable = (brain.scale > 0).astype(np.uint8)
    counts = brain.counts.astype(np.float64)
    sums = xp.ascontiguousarray(brain.sums)
    voxel = xp.empty((n_units, k), dtype=np.int32)
    weight, bias = xp.empty((n_units, k), dtype=dtype), xp.empty(n_units, dtype=dtype)
    y_mean, y_scale = xp.empty(n_units), xp.empty(n_units)
    status = xp.full(n_units, SOLVED, dtype=np.int32)
    below = ridge.refined_below(brain, k)
    n_redone = 0
    filled = xp.empty((UNITS_AT_ONCE, Y.shape[0]), dtype=dtype)
    for start in range(0, n_units, UNITS_AT_ONCE):
        units = slice(start, min(start + UNITS_AT_ONCE, n_units))
        targets, y_mean[units], y_scale[units] = standardised_targets(Y[:, units], dtype=dtype)
        filled[: len(targets)], filled[len(targets) :] = targets, 0
        products = (filled @ sums)[: len(targets)]  # (units, n_voxels)
        voxel[units], rhs = select(products, usable, k)
        if brain.gram is not None and primal:
            weight[units], status[units] = solve(
                brain.gram, voxel[units], rhs, penalty[units], refine_below=below, workspace=workspace
            )
        else:
            solved, redone = ridge.solve(brain, voxel[units], rhs=rhs, targets=targets, alphas=[penalty[units]])
            weight[units] = solved[0]
            n_redone += redone
        bias[units] = (targets @ counts) / (brain.n_samples + (penalty[units] if penalize_bias else 0.0))
    n_redone += _checked(to_numpy(status), to_numpy(penalty), k=k, dtype=dtype)
    return UnitDecoders(voxel, weight, bias, y_mean, y_scale, n_redone)


def _penalties(xp: Namespace, alpha: float | Array, n_units: int) -> Array:
    """Return one penalty a unit, float64."""
    values = xp.asarray(alpha, dtype=np.float64)
    if values.shape not in ((), (n_units,)):
        raise DataError(f"alpha must be a number or one a unit ({n_units}), got shape {values.shape}")
    good = xp.isfinite(values) & (values > 0)
    if not bool(good.all()):
        raise DataError(
            f"alpha must be finite and above 0, but {int((~good).sum())} of {values.size} are not; "
            "use a small one for weak shrinkage"
        )
    penalties: Array = xp.ascontiguousarray(xp.broadcast_to(values, (n_units,)))
    return penalties


def _takes_primal_form(brain: BrainStatistics, k: int) -> bool:
    """Return whether `solve` is the way; as `ridge.solve`, the dual form where it is smaller and each sample counts."""
    if brain.gram is None or k > MAX_VOXELS:
        return False
    return not ridge.takes_dual_form(brain, k)


def _checked(status: Array, alpha: Array, *, k: int, dtype: np.dtype[Any]) -> int:
    """Return how many units were solved again, and say so; raise if any failed."""
    failed = np.flatnonzero(status == FAILED)
    if len(failed):
        raise ridge.too_small(alpha[failed], dtype, n=k)
    redone = int((status == REDONE).sum())
    if redone:
        logger.warning("%d of %d units had to be solved again in float64", redone, len(status))
    return redone
