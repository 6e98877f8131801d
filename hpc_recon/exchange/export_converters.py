"""Converters for other programs: `transformation.mat` of a pair, with its statistics."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.errors import StudyError
from hpc_recon.core.memory import array_bytes, reading_bytes
from hpc_recon.exchange.exporting import OVERHEAD, Batch, Selection, source_of
from hpc_recon.formats import transformations
from hpc_recon.stores import arrays, brain, layout


def block_names(study: Study) -> list[str]:
    """Return the blocks of the study's converters, as they are stored."""
    assert study.convert is not None, "`converters` refuses a study without"
    cut = [f".{hemisphere}" for hemisphere in study.convert.hemispheres] or [""]
    return [f"{block}{part}" for block in study.convert.blocks for part in cut]


def transformation(study: Study, split: str) -> transformations.Transformation:
    """Return a pair's blocks as one matrix over all voxels of both subjects, float32.

    Target voxels of no block have weights, mean and norm of 0; source voxels that nothing reads mean 0 and norm 1.
    """
    workspace = layout.workspace_of(study)
    n_source, n_target = (brain.n_voxels_of(workspace, subject) for subject in (seen_by(split), owner(split)))
    M = np.zeros((n_source + 1, n_target), np.float32)
    x_mean, x_norm = np.zeros(n_source, np.float32), np.ones(n_source, np.float32)
    y_mean, y_norm = np.zeros((2, n_target), np.float32)
    for block in block_names(study):
        source, target, voxel, weight = (
            arrays.read(workspace, layout.converter(split, block, part)) for part in layout.CONVERTER_PARTS
        )
        read, made = source[:, 0].astype(np.int64), target[:, 0].astype(np.int64)
        x_mean[read], x_norm[read] = source[:, 1], np.where(source[:, 2] == 0, 1, source[:, 2])
        y_mean[made], y_norm[made], M[-1, made] = target[:, 1:].T
        if len(voxel) == 1 and len(weight) != 1:
            M[np.ix_(read[voxel[0].astype(np.int64)], made)] = weight.T
        else:
            M[read[voxel.astype(np.int64)].T, made] = weight.T
    return transformations.Transformation(M, x_mean, x_norm, y_mean, y_norm)


def converters(study: Study, selection: Selection) -> Iterator[Batch]:
    """Yield the five files of each pair whose target is chosen: `<source>2<target>/model/`.

    Raises
    ------
    MissingStore
        If converters are not all there.
    StudyError
        If the study has none.
    """
    if study.convert is None:
        raise StudyError("export", ["the study has no section `convert:`, so there are no converters; add one"])
    workspace = layout.workspace_of(study)
    for split in study.convert.converted(study.subjects):
        if selection.subjects and owner(split) not in selection.subjects:
            continue
        source = source_of(workspace, [f"convert/converters/{split}"])
        n_source, n_target = (brain.n_voxels_of(workspace, subject) for subject in (seen_by(split), owner(split)))
        sizes = {"transformation": (n_source + 1) * n_target, "x_mean": n_source, "x_norm": n_source}
        sizes |= {"y_mean": n_target, "y_norm": n_target}
        folder = f"{seen_by(split)}2{owner(split)}/model"

        def write(place: Path, _: Collection[str], split: str = split, folder: str = folder) -> None:
            transformations.write(place / folder, transformation(study, split))

        files = {f"{folder}/{name}.mat": 4 * size + OVERHEAD for name, size in sizes.items()}
        memory = 2 * array_bytes(n_source + 1, n_target) + reading_bytes(n_target, n_source)
        yield Batch(files, source, write, memory)
