"""A lab's files by the mapping in a study's `ingest` section: read, checked, and brought to one form.

Everything is checked before anything is written, and all problems of a subject or of the stimuli are
reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.ingest_options import Ingest, IngestSection
from hpc_recon.core.text import closest
from hpc_recon.exchange import rois, samples
from hpc_recon.formats import labfiles
from hpc_recon.stores.brain import ALL_VOXELS, Brain
from hpc_recon.stores.images import StimulusTable

T = TypeVar("T")


@dataclass(frozen=True)
class SubjectData:
    """All samples of a subject as the lab gives them, repeats kept.

    Attributes
    ----------
    datasets
        By dataset name; all have the same voxels.
    rois
        (n_voxels,) bool masks by name, always with `VC`.
    n_constant
        Voxels that have one value in all training samples: they are never selected.
    """

    datasets: dict[str, Brain]
    rois: dict[str, Array]
    n_constant: int


def section(study: Study) -> Ingest:
    """Return the `ingest` section.

    Raises
    ------
    StudyError
        If the study has none.
    """
    if study.ingest is None:
        raise StudyError(study.name, ["the study has no `ingest:` section; its brain data come from `simulate`"])
    return study.ingest


def of_subjects(study: Study) -> Ingest:
    """Return the `ingest` section with the study's own subjects alone: the files of others need not be there.

    Raises
    ------
    StudyError
        If the study has no such section.
    """
    ingest = section(study)
    return ingest.model_copy(update={"subjects": {name: ingest.subjects[name] for name in study.subjects}})


def input_files(value: object) -> list[Path]:
    """Return every existing file that a part of the `ingest` section names, images of folders included, sorted.

    Raises
    ------
    StudyError
        With every file and folder that does not exist.
    """
    found: set[Path] = set()
    problems = []
    for path in named_paths(value):
        if path.is_dir():
            found.update(labfiles.list_images(path))
        elif path.is_file():
            found.add(path)
        else:
            problems.append(f"{path} does not exist; correct the path, which starts at the folder of the study file")
    if problems:
        raise StudyError("ingest", sorted(set(problems)))
    return sorted(found)


def fingerprint(value: Any) -> Any:
    """Return a part of the `ingest` section as plain values, each path replaced by the sha256 of what it holds.

    Files may be moved and renamed without making results invalid; changed ones do.
    """
    if isinstance(value, Path):
        if value.is_dir():
            return {path.name: labfiles.sha256(path) for path in labfiles.list_images(value)}
        return labfiles.sha256(value)
    if isinstance(value, IngestSection):
        return {name: fingerprint(getattr(value, name)) for name in sorted(type(value).model_fields)}
    if isinstance(value, dict):
        return {name: fingerprint(value[name]) for name in sorted(value)}
    return [fingerprint(item) for item in value] if isinstance(value, tuple) else value


def read_subject(study: Study, subject: str, *, table: StimulusTable) -> SubjectData:
    """Read all samples and ROI masks of a subject, and check them against the stimuli.

    Raises
    ------
    StudyError
        With every problem found.
    """
    mapping = section(study).subjects[subject]
    where = f"ingest.subjects.{subject}"
    problems = []
    if study.training_dataset not in mapping.datasets:
        problems.append(f"datasets: the training dataset {study.training_dataset!r} is missing; decoders need it")
    datasets = {}
    for name, dataset in mapping.datasets.items():
        found = attempt(problems, partial(samples.read, name, dataset, table))
        if found is not None:
            datasets[name] = found
    widths = {name: found.samples.shape[1] for name, found in datasets.items()}
    if len(set(widths.values())) > 1:
        problems.append(f"all datasets of a subject have the same voxels, but their numbers are {widths}")
    masks = rois.Masks(mapping, next(iter(widths.values()), None))
    found_masks = {}
    for name in mapping.rois:
        mask = attempt(problems, partial(masks.read, name))
        if mask is not None:
            found_masks[name] = mask
    problems += [
        f"rois: the study decodes {name!r}, but it is not given{closest(name, mapping.rois)}"
        for name in study.rois
        if name not in mapping.rois and name != ALL_VOXELS
    ]
    if problems:
        raise StudyError(where, problems)
    found_masks.setdefault(ALL_VOXELS, np.ones(next(iter(widths.values())), dtype=bool))
    training = datasets[study.training_dataset].samples
    return SubjectData(datasets, found_masks, int(np.count_nonzero(np.ptp(training, axis=0) == 0)))


def named_paths(value: object) -> Iterator[Path]:
    """Yield every path in a part of the `ingest` section, whether it exists or not."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, IngestSection):
        for name in type(value).model_fields:
            yield from named_paths(getattr(value, name))
    elif isinstance(value, (dict, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from named_paths(item)


def attempt(problems: list[str], action: Callable[[], T]) -> T | None:
    """Return what `action` returns; a `DataError` becomes one of the problems, and None is returned."""
    try:
        return action()
    except DataError as error:
        problems.append(str(error))
        return None
