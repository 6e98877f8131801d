"""Converters trained elsewhere (`convert.files`): which files hold them, and whether they fit the subjects."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.core import file_records
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import Convert, owner, seen_by
from hpc_recon.core.errors import DataError
from hpc_recon.formats import sparse, transformations
from hpc_recon.stores import brain, layout


def identities(study: Study) -> dict[str, str]:
    """Return what stays the same while the files of a pair hold the same, by split; nothing without such files.

    Raises
    ------
    DataError
        If a file is absent.
    """
    options = _options(study)
    if not options.files:
        return {}
    return {
        split: file_records.identity(_records(study, split), _files(options, split), redo=_redo(split))
        for split in options.converted(study.subjects)
    }


def require_fits(study: Study) -> None:
    """Compare the sizes of all files with the voxels of their subjects; matrices are not read.

    Raises
    ------
    DataError
        With both numbers, and what has as many voxels as the files.
    """
    options = _options(study)
    for split in options.converted(study.subjects):
        files = _files(options, split)
        counts = {name: int(sparse.read_dense(files[name], name).size) for name in _subjects(split)}
        sizes = {name: _n_voxels(study, subject) for name, subject in _subjects(split).items()}
        if counts != sizes:
            raise DataError(_misfit(study, split, counts, sizes))
        stored = sparse.n_stored(files["transformation"], "M")
        wanted = (counts["x_mean"] + 1) * counts["y_mean"]
        if stored is not None and not stored[1] and stored[0] != wanted:
            raise DataError(
                f"M in {files['transformation']} must be (source voxels + 1, target voxels), {counts['x_mean'] + 1} x "
                f"{counts['y_mean']} = {wanted} values, but has {stored[0]}; take all five files of one converter"
            )


def read(study: Study, split: str) -> transformations.Transformation:
    """Return the converter of a pair over all voxels of `convert.files_roi`; errors as `transformations.read`."""
    return transformations.read(_options(study).file_of(split))


def record(study: Study, split: str, *, name: str) -> Path:
    """Write down which files were read; return the record."""
    files = _files(_options(study), split)
    return file_records.record(_records(study, split), files, list(files), name=name, redo=_redo(split))


def _options(study: Study) -> Convert:
    assert study.convert is not None, "the plan of a study without it is refused"
    return study.convert


def _files(options: Convert, split: str) -> dict[str, Path]:
    """Return the five files of a pair by name."""
    folder = options.file_of(split)
    files = {name.removesuffix(".mat"): folder / name for name in transformations.FILES}
    absent = [path.name for path in files.values() if not path.is_file()]
    if absent:
        raise DataError(
            f"a converter is five files in one folder, but {len(absent)} of them are absent in {folder} "
            f"({seen_by(split)} to {owner(split)}): {', '.join(absent)}; name in convert.files "
            "the folder `model` that holds them"
        )
    return files


def _subjects(split: str) -> dict[str, str]:
    """Return which subject's voxels a file of means is of."""
    return {"x_mean": seen_by(split), "y_mean": owner(split)}


def _n_voxels(study: Study, subject: str, roi: str | None = None) -> int:
    mask = brain.read_roi(layout.workspace_of(study), subject, roi or _options(study).files_roi)
    return int(np.count_nonzero(mask))


def _misfit(study: Study, split: str, counts: dict[str, int], sizes: dict[str, int]) -> str:
    """Say which sizes differ, and what would fit."""
    options = _options(study)
    told = "; ".join(
        f"{name} is of {counts[name]} voxels, {options.files_roi} of {subject} has {sizes[name]}"
        for name, subject in _subjects(split).items()
    )
    rois = dict.fromkeys((*study.rois, *options.blocks, *options.hemispheres, *options.areas))
    fits = [
        roi
        for roi in rois
        if all(_n_voxels(study, subject, roi) == counts[name] for name, subject in _subjects(split).items())
    ]
    if [counts["x_mean"], counts["y_mean"]] == [sizes["y_mean"], sizes["x_mean"]]:
        remedy = f"these are the sizes of {owner(split)} to {seen_by(split)}: were the folders exchanged?"
    elif fits:
        remedy = f"{' or '.join(fits)} has these numbers: set convert.files_roi: {fits[0]}"
    else:
        remedy = (
            "ingest the voxels that the converter was trained on, in their order, and name them in convert.files_roi"
        )
    return (
        f"the converter in {options.file_of(split)} does not fit {seen_by(split)} and {owner(split)}: {told}; {remedy}"
    )


def _records(study: Study, split: str) -> Path:
    return layout.workspace_of(study).joinpath(file_records.SOURCES, "_converters", split)


def _redo(split: str) -> str:
    return f"`python -m hpc_recon.convert --study <study file> --redo --only 'converters/{split}/*'`"
