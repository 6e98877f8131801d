"""Stage `converters` of `convert` for converters trained elsewhere: their matrix, cut into the study's blocks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol

import numpy as np

from hpc_recon.conversion import blocks
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import write_json
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics.converter import Block
from hpc_recon.numerics.stats import mean_and_scale
from hpc_recon.stores import arrays, brain, layout

#: Standard deviations of the source's training samples from which means of the files may lie, in half of the voxels.
FAR = 0.5


class Matrix(Protocol):
    """A converter of all voxels of one subject into all of another; the prediction is

    [(x - x_mean) / x_norm, 1] . M * y_norm + y_mean.
    """

    @property
    def M(self) -> Array:
        """(n_source + 1, n_target) float32, biases last."""
        ...

    @property
    def x_mean(self) -> Array:
        """(n_source,)"""
        ...

    @property
    def x_norm(self) -> Array:
        """(n_source,)"""
        ...

    @property
    def y_mean(self) -> Array:
        """(n_target,)"""
        ...

    @property
    def y_norm(self) -> Array:
        """(n_target,)"""
        ...


def write_block(study: Study, tile: Tile, found: Matrix) -> list[Path]:
    """Write one block of a pair from the matrix of all voxels of `convert.files_roi`.

    Raises
    ------
    DataError
        If the block has voxels that the matrix does not, or the matrix weights that no block has.

    Notes
    -----
    A warning tells if the files' means are not those of the source's samples: voxels in another order, or of another
    subject, could not be told by their number.
    """
    split, options, workspace = tile.group.path[-1], blocks.options_of(study), layout.workspace_of(study)
    every = blocks.voxels(study, split)
    where = every[tile.start]
    known = {s: np.flatnonzero(brain.read_roi(workspace, s, options.files_roi)) for s in (seen_by(split), owner(split))}
    source, target = known[seen_by(split)], known[owner(split)]
    lacking = [len(np.setdiff1d(*both)) for both in ((where.source, source), (where.target, target))]
    if any(lacking):
        raise DataError(
            f"block {where.name} of {split} has {lacking[0]} voxels of the source and {lacking[1]} of the target that "
            f"are not in convert.files_roi ({options.files_roi}); name blocks inside of it"
        )
    rows, columns = np.searchsorted(source, where.source), np.searchsorted(target, where.target)
    _require_inside(study, split, found, rows, columns, first=tile.start == 0)
    warned = _far(study, split, found, source)
    if warned and tile.start == 0:
        warnings.warn(warned, stacklevel=2)
    voxel = np.arange(len(rows), dtype=np.int32)[None]
    weight, bias = np.ascontiguousarray(found.M[np.ix_(rows, columns)].T), found.M[-1, columns]
    statistics = (found.x_mean[rows], found.x_norm[rows], found.y_mean[columns], found.y_norm[columns])
    x_mean, x_scale, y_mean, y_scale = (values.astype(np.float64) for values in statistics)
    block = Block(x_mean, x_scale, voxel, weight, bias, y_mean, y_scale)
    note = {"pair": split, "block": where.name, "method": "files", "files": str(options.file_of(split))}
    path = layout.conversion_file(study, split, name=f"chosen-{where.name}.json")
    return [*blocks.write(study, split, where, block, made_by=tile.group.key), write_json(path, note)]


def _require_inside(study: Study, split: str, found: Matrix, rows: Array, columns: Array, *, first: bool) -> None:
    """Raise if target voxels of a block read source voxels outside of it, or voxels of no block read any."""
    weights = found.M[:-1]
    outside = np.ones(len(weights), np.bool_)
    outside[rows] = False
    left = int(np.count_nonzero(weights[np.ix_(np.flatnonzero(outside), columns)]))
    unused = 0
    if first:
        target = np.flatnonzero(
            brain.read_roi(layout.workspace_of(study), owner(split), blocks.options_of(study).files_roi)
        )
        made = np.concatenate([block.target for block in blocks.voxels(study, split)])
        unused = int(weights[:, ~np.isin(target, made)].any(axis=0).sum())
    if left or unused:
        raise DataError(
            f"the converter of {split} in {blocks.options_of(study).file_of(split)} has {left} weights from outside of "
            f"its blocks, and {unused} target voxels of no block; name the ROIs that it was trained with in "
            "convert.blocks and convert.hemispheres (one block of all voxels always holds it)"
        )


def _far(study: Study, split: str, found: Matrix, source: Array) -> str | None:
    """Return a warning if the means of the files are far from those of the source's training samples."""
    samples = arrays.read(
        layout.workspace_of(study), layout.samples(seen_by(split), study.training_dataset), None, source
    )
    mean, scale = mean_and_scale(samples)
    varies = scale > 0
    apart = np.abs(found.x_mean - mean)[varies] / scale[varies]
    if not len(apart) or np.median(apart) <= FAR:
        return None
    return (
        f"means of {seen_by(split)}'s training samples are {np.median(apart):.2g} standard deviations (median) from "
        f"those in {blocks.options_of(study).file_of(split)}: are the voxels in another order, scaled otherwise, or of "
        "another subject?"
    )
