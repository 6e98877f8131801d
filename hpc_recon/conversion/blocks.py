"""The blocks of a converter: which source voxels predict which target voxels, and where fitted blocks lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import Convert, owner, seen_by
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import read_json
from hpc_recon.numerics.converter import Block
from hpc_recon.stores import arrays, brain, layout


@dataclass(frozen=True)
class Voxels:
    """The voxels of a block, by their numbers in the whole brain of each subject, ascending int64."""

    name: str
    source: Array
    target: Array


def options_of(study: Study) -> Convert:
    """Return the section `convert`, which a study with converters has."""
    assert study.convert is not None, "the plan of a study without it is refused"
    return study.convert


def names(options: Convert) -> list[str]:
    """Return the names of the blocks: `V1`, or `V1.LH_VC` where hemispheres cut them."""
    cut = [f".{hemisphere}" for hemisphere in options.hemispheres] or [""]
    return [f"{block}{part}" for block in options.blocks for part in cut]


def voxels(study: Study, split: str) -> list[Voxels]:
    """Return the blocks of a pair. A target voxel that several ROIs share belongs to the first of them, and is
    predicted once; a source voxel may be read by several blocks.

    Raises
    ------
    DataError
        If a block has no voxel on one side, or hemispheres overlap.
    MissingStore
        If there is no mask of a name.
    """
    options, workspace = options_of(study), layout.workspace_of(study)
    sides = {}
    for role, subject in (("source", seen_by(split)), ("target", owner(split))):
        masks = {roi: brain.read_roi(workspace, subject, roi) for roi in (*options.blocks, *options.hemispheres)}
        cut = [masks[name] for name in options.hemispheres]
        if cut and (both := np.sum(cut, axis=0) > 1).any():
            raise DataError(
                f"hemispheres must not overlap, but {int(both.sum())} voxels of {subject} are in several of "
                f"{', '.join(options.hemispheres)}; correct the masks, or leave out convert.hemispheres"
            )
        cut = cut or [np.ones_like(masks[options.blocks[0]])]
        sides[role] = [masks[block] & part for block in options.blocks for part in cut]
    found, taken = [], np.zeros_like(sides["target"][0])
    for name, source, target in zip(names(options), sides["source"], sides["target"], strict=True):
        own = target & ~taken
        taken |= target
        if not source.any() or not own.any():
            raise DataError(
                f"each block of a converter needs voxels on both sides, but {name} of {split} has "
                f"{int(source.sum())} of the source and {int(own.sum())} of the target that no block before it has; "
                "leave it out of convert.blocks, or change their order"
            )
        found.append(Voxels(name, np.flatnonzero(source), np.flatnonzero(own)))
    return found


def voxels_of(study: Study, subject: str, name: str) -> Array:
    """Return the voxels of a subject in a block (n,) int64, shared ones included.

    Raises
    ------
    MissingStore
        If the subject has no mask of one of the names.
    """
    workspace = layout.workspace_of(study)
    masks = [brain.read_roi(workspace, subject, part) for part in name.split(".")]
    return np.flatnonzero(np.logical_and.reduce(masks))


def require_covered(study: Study, split: str) -> None:
    """Raise unless the blocks predict every voxel of the ROIs that are decoded.

    Raises
    ------
    DataError
        With the number of voxels that would be left out.
    """
    workspace, target = layout.workspace_of(study), owner(split)
    predicted = np.concatenate([block.target for block in voxels(study, split)])
    for roi in study.rois:
        mask = brain.read_roi(workspace, target, roi)
        left = int(mask.sum()) - int(mask[predicted].sum())
        if left:
            raise DataError(
                f"a converter must predict all voxels that are decoded, but {left} of the {int(mask.sum())} voxels of "
                f"{roi} of {target} are in no block ({', '.join(names(options_of(study)))}); add blocks, or leave "
                f"{roi} out of rois"
            )


def write(study: Study, split: str, where: Voxels, block: Block, *, made_by: str) -> list[Path]:
    """Create and write the arrays of a fitted block; only weights inside of it are stored."""
    parts = {
        "source": np.column_stack([where.source, block.x_mean, block.x_scale]).astype(np.float64),
        "target": np.column_stack([where.target, block.y_mean, block.y_scale, block.bias]).astype(np.float64),
        "voxel": block.voxel.astype(layout.voxel_dtype(len(where.source))),
        "weight": block.weight.astype(np.float32, copy=False),
    }
    files: list[Path] = []
    for part, values in parts.items():
        ref = layout.converter(split, where.name, part)
        arrays.create(
            layout.workspace_of(study),
            ref,
            shape=values.shape,
            dtype=values.dtype.name,
            geometry=layout.unit_geometry(*values.shape),
            made_by=made_by,
        )
        files += arrays.write(layout.workspace_of(study), ref, (0, 0), values)
    return files


def variance_factor(study: Study, split: str, name: str) -> float:
    """Return what the weights of a block were multiplied by (`converter.match_variance`); 1 if by nothing."""
    note = read_json(layout.conversion_file(study, split, name=f"chosen-{name}.json"))
    return float(note.get("variance_factor", 1.0))


def read(study: Study, split: str) -> Iterator[tuple[Voxels, Block]]:
    """Yield the fitted blocks of a pair, one in memory at a time."""
    for name in names(options_of(study)):
        source, target, voxel, weight = (
            arrays.read(layout.workspace_of(study), layout.converter(split, name, part))
            for part in layout.CONVERTER_PARTS
        )
        where = Voxels(name, source[:, 0].astype(np.int64), target[:, 0].astype(np.int64))
        yield (
            where,
            Block(
                source[:, 1],
                source[:, 2],
                voxel.astype(np.int32),
                weight,
                target[:, 3].astype(np.float32),
                target[:, 1],
                target[:, 2],
            ),
        )
