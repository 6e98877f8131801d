"""Stages `apply` and `pool` of `convert`: brains that hold converted samples, in the voxels of the target.

Converted test samples are single trials, as the source's are stored: a converter is affine, so the mean of converted
repeats is the converted mean. They are then averaged, z-scored and decoded as the target's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.conversion import blocks
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import FROM, WITH, owner, seen_by
from hpc_recon.core.tiles import Tile
from hpc_recon.stores import arrays, brain, layout


def convert(study: Study, split: str, samples: Array, *, as_fitted: bool = False) -> Array:
    """Convert raw samples of the source, all its voxels, into raw samples of the target (n, n_voxels) float32.

    Target voxels that no block predicts are given the mean of the target's training samples.

    Parameters
    ----------
    as_fitted
        Without the factor of `converter.match_variance`.
    """
    workspace, target = layout.workspace_of(study), owner(split)
    converted = np.full((len(samples), brain.n_voxels_of(workspace, target)), np.nan, np.float32)
    for where, block in blocks.read(study, split):
        made = block.predict(samples[:, where.source])
        if as_fitted and (factor := blocks.variance_factor(study, split, where.name)) != 1:
            mean = block.y_mean.astype(made.dtype)
            made = mean + (made - mean) / made.dtype.type(factor)
        converted[:, where.target] = made
    left = np.flatnonzero(np.isnan(converted[0]))
    if len(left):
        own = arrays.read(workspace, layout.samples(target, study.training_dataset), None, left)
        converted[:, left] = own.mean(axis=0, dtype=np.float64)
    return converted


def write_converted(study: Study, tile: Tile) -> list[Path]:
    """Write the converted test samples of a pair, with the labels and columns of the source, and the target's ROIs."""
    (split,) = tile.group.path
    workspace, files = layout.workspace_of(study), []
    for dataset in study.test_datasets(split):
        read = _all_voxels(study, seen_by(split), dataset)
        made = brain.Brain(convert(study, split, read.samples), read.labels, read.columns, read.conditions)
        files += brain.write_brain(workspace, split, dataset, made, made_by=tile.group.key)
    return files + _write_rois(study, split, owner(split), made_by=tile.group.key)


def write_pooled(study: Study, tile: Tile) -> list[Path]:
    """Write a brain whose training samples are the target's own, then the converted ones of each source as fitted.

    Decoders gain by that: samples scaled up bring their noise, scaled up too, into the weights (benchmarks/LOG.md).
    """
    (split,) = tile.group.path
    target = split.partition(WITH)[0]
    workspace, training = layout.workspace_of(study), study.training_dataset
    own = _all_voxels(study, target, training)
    parts, labels = [own.samples], list(own.labels)
    for source in blocks.options_of(study).sources(split, study.subjects):
        read = _all_voxels(study, source, training)
        parts.append(convert(study, f"{target}{FROM}{source}", read.samples, as_fitted=True))
        labels += read.labels
    pooled = brain.Brain(np.concatenate(parts), tuple(labels))
    del parts
    files = brain.write_brain(workspace, split, training, pooled, made_by=tile.group.key)
    for dataset in study.test_datasets(split):
        files += brain.write_brain(
            workspace, split, dataset, _all_voxels(study, target, dataset), made_by=tile.group.key
        )
    return files + _write_rois(study, split, target, made_by=tile.group.key)


def _all_voxels(study: Study, subject: str, dataset: str) -> brain.Brain:
    """Read the samples of a dataset, all voxels: `VC` is fewer where a mask of that name was written."""
    workspace = layout.workspace_of(study)
    read = brain.read_brain(workspace, subject, dataset)
    if not brain.has_mask(workspace, subject, brain.ALL_VOXELS):
        return read
    samples = arrays.read(workspace, layout.samples(subject, dataset))
    return brain.Brain(samples, read.labels, read.columns, read.conditions)


def rois(study: Study) -> list[str]:
    """Return the ROIs that are decoded or in which accuracy is told."""
    return list(dict.fromkeys((*study.rois, *blocks.options_of(study).areas)))


def _write_rois(study: Study, split: str, target: str, *, made_by: str) -> list[Path]:
    workspace, files = layout.workspace_of(study), []
    for roi in rois(study):
        if roi != brain.ALL_VOXELS or brain.has_mask(workspace, target, roi):
            mask = brain.read_roi(workspace, target, roi)
            files += brain.write_roi(workspace, split, roi, mask, made_by=made_by)
    return files
