"""Stage `spaces` of `convert`: one common space of all subjects, by hyperalignment of their training samples.

Every subject of the study takes part, whichever pairs are converted, and training samples alone are read. A subject's
map leads from its z-scored voxels of a block into the common space; a pair's converter is the source's map, then the
target's turned round.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.conversion import blocks, pairing, reading
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics import alignment
from hpc_recon.numerics.stats import mean_and_scale, standardise
from hpc_recon.stores import arrays, layout


def together(study: Study) -> pairing.Together:
    """Return the training samples of all subjects that belong together.

    Raises
    ------
    DataError
        As `pairing.together`.
    """
    presented = [reading.presented(study, subject) for subject in study.subjects]
    return pairing.together(presented, **reading.rules(study, "spaces"))


def write_space(study: Study, tile: Tile) -> list[Path]:
    """Hyperalign one block of all subjects, and write for each its map, and the mean and scale of its voxels."""
    options, workspace = blocks.options_of(study), layout.workspace_of(study)
    name, found = blocks.names(options)[tile.start], together(study)
    sides, scaling = [], []
    for subject, rows in zip(study.subjects, found.rows, strict=True):
        samples = reading.samples(study, subject, rows, blocks.voxels_of(study, subject, name))
        if options.average:
            samples = pairing.averaged(samples, found.stimulus)
        mean, scale = mean_and_scale(samples)
        sides.append(standardise(samples, mean=mean, scale=scale, dtype=np.float64))
        scaling.append(np.column_stack([mean, scale]))
    files: list[Path] = []
    for subject, R, own in zip(study.subjects, alignment.hyperalign(sides), scaling, strict=True):
        for part, values in (("map", R.astype(np.float32)), ("scaling", own)):
            ref = layout.space(name, subject, part)
            geometry = layout.unit_geometry(*values.shape)
            dtype = values.dtype.name
            arrays.create(workspace, ref, shape=values.shape, dtype=dtype, geometry=geometry, made_by=tile.group.key)
            files += arrays.write(workspace, ref, (0, 0), values)
    return files


def between(study: Study, split: str, where: blocks.Voxels) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """Return the map of z-scored voxels of a pair's block (n_source, n_target), and mean and scale of both sides."""
    first, x = _map(study, where.name, seen_by(split), where.source)
    second, y = _map(study, where.name, owner(split), where.target)
    R: Array = first @ second.T
    return R, x, y


def _map(study: Study, name: str, subject: str, voxels: Array) -> tuple[Array, tuple[Array, Array]]:
    workspace = layout.workspace_of(study)
    place = np.searchsorted(blocks.voxels_of(study, subject, name), voxels)
    R, scaling = (arrays.read(workspace, layout.space(name, subject, part))[place] for part in layout.SPACE_PARTS)
    return R, (scaling[:, 0], scaling[:, 1])


def has_space(study: Study) -> bool:
    """Return whether the study's converters go by way of a space of all subjects."""
    options = blocks.options_of(study)
    return options.method == "hyperalignment" and options.template == "all" and not options.files
