"""A lab's files by the mapping in a study's `ingest` section: read, checked, and brought to one form.

Everything is checked before anything is written, and all problems of a subject or of the stimuli are
reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.files import sampled_sha256, sha256
from hpc_recon.core.image_options import BetasSource, BoldSource
from hpc_recon.core.ingest_options import Ingest, IngestSection, IngestSubject
from hpc_recon.core.text import closest
from hpc_recon.exchange import image_rois, images, rois, samples
from hpc_recon.exchange.reading import Reading
from hpc_recon.formats import labfiles
from hpc_recon.stores.brain import ALL_VOXELS, Brain
from hpc_recon.stores.images import StimulusTable
from hpc_recon.stores.positions import Positions

T = TypeVar("T")


@dataclass(frozen=True)
class SubjectData:
    """All samples of a subject as the lab gives them, repeats kept.

    Attributes
    ----------
    datasets
        By dataset name; all have the same voxels. Those in images have none where voxels were not to be read.
    rois
        (n_voxels,) bool masks by name, always with `VC`.
    n_constant
        Voxels that have one value in all training samples: they are never selected. 0 where none was read.
    n_voxels
        Voxels of all datasets; where none was read, before those with NaN are left out.
    positions
        Where the voxels lie, None if that is not known.
    notes
        What the user should know, in sentences.
    read_bytes, working_bytes, file_bytes
        Of the samples as they are read, the projected peak beside them, and the files of images.
    working_seconds
        Projected time of what is computed while images are read.
    """

    datasets: dict[str, Brain]
    rois: dict[str, Array]
    n_constant: int
    n_voxels: int
    positions: Positions | None = None
    notes: tuple[str, ...] = ()
    read_bytes: int = 0
    working_bytes: int = 0
    file_bytes: int = 0
    working_seconds: float = 0.0


def section(study: Study) -> Ingest:
    """Return the `ingest` section for the subjects of the study, with the runs of BIDS folders listed.

    Raises
    ------
    StudyError
        If the study has none, or runs are not found.
    """
    problems: list[str] = []
    found = images.resolved(of_subjects(study), problems)
    if problems:
        raise StudyError("ingest", problems)
    return found


def of_subjects(study: Study) -> Ingest:
    """Return the `ingest` section with the study's own subjects alone: the files of others need not be there.

    Where decoded features are read from files, subjects need no samples, and may be absent.

    Raises
    ------
    StudyError
        If the study has no such section.
    """
    ingest = given_section(study)
    own = {name: ingest.subjects[name] for name in study.subjects if name in ingest.subjects}
    return ingest.model_copy(update={"subjects": own})


def given_section(study: Study) -> Ingest:
    """Return the `ingest` section as the study gives it.

    Raises
    ------
    StudyError
        If the study has none.
    """
    if study.ingest is None:
        raise StudyError(study.name, ["the study has no `ingest:` section; its brain data come from `simulate`"])
    return study.ingest


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

    Files may be moved and renamed without making results invalid; changed ones do. Of the large files of runs and betas
    the length and some pieces are read (`core.files.sampled_sha256`), because a plan must not read hundreds of GB.
    """
    return _fingerprint(value, sha256)


def _fingerprint(value: Any, digest: Callable[[Path], str]) -> Any:
    if isinstance(value, Path):
        if value.is_dir():
            return {path.name: digest(path) for path in labfiles.list_images(value)}
        return digest(value)
    if isinstance(value, IngestSection):
        own = sampled_sha256 if isinstance(value, (BoldSource, BetasSource)) else digest
        return {name: _fingerprint(getattr(value, name), own) for name in sorted(type(value).model_fields)}
    if isinstance(value, dict):
        return {name: _fingerprint(value[name], digest) for name in sorted(value)}
    return [_fingerprint(item, digest) for item in value] if isinstance(value, tuple) else value


def has_images(study: Study, subject: str) -> bool:
    """Return whether a dataset of the subject comes from images."""
    return any(images.is_image(dataset) for dataset in section(study).subjects[subject].datasets.values())


def read_subject(study: Study, subject: str, *, table: StimulusTable, voxels: bool = True) -> SubjectData:
    """Read all samples and ROI masks of a subject, and check them against the stimuli.

    Parameters
    ----------
    voxels
        False: of datasets in images, headers, events and lists of trials are read, but no voxel.

    Raises
    ------
    StudyError
        With every problem found.
    """
    mapping = section(study).subjects[subject]
    where = f"ingest.subjects.{subject}"
    problems: list[str] = []
    if study.training_dataset not in mapping.datasets and not study.fit.files:
        problems.append(f"datasets: the training dataset {study.training_dataset!r} is missing; decoders need it")
    datasets: dict[str, Brain] = {}
    readings: dict[str, Reading] = {}
    for name, dataset in mapping.datasets.items():
        if images.is_image(dataset):
            reading = attempt(problems, partial(_read_images, study, mapping, name, table, voxels=voxels))
            if reading is None:
                continue
            readings[name] = reading
        given = readings[name].brain if name in readings else None
        found = attempt(problems, partial(samples.read, name, dataset, table, given=given))
        if found is not None:
            datasets[name] = found
    widths = {
        name: readings[name].positions.n_voxels if name in readings else found.samples.shape[1]
        for name, found in datasets.items()
    }
    if len(set(widths.values())) > 1:
        problems.append(f"all datasets of a subject have the same voxels, but their numbers are {widths}")
    n_voxels = next(iter(widths.values()), None)
    positions, before = None, len(problems)
    if n_voxels is not None:
        known = {name: reading.positions for name, reading in readings.items()}
        positions = attempt(problems, partial(images.positions_of, mapping, known, n_voxels))
    masks = rois.Masks(mapping, n_voxels, positions)
    found_masks = {}
    # Where positions are not known because of a problem, ROIs in images would only be more errors of the same cause.
    in_doubt = (n_voxels is None or len(problems) > before) and any(map(image_rois.is_image, mapping.rois.values()))
    for name in () if in_doubt else mapping.rois:
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
    assert n_voxels is not None, "a dataset was read, else there are problems"
    found_masks.setdefault(ALL_VOXELS, np.ones(n_voxels, dtype=bool))
    whole = SubjectData(
        datasets,
        found_masks,
        0,
        n_voxels,
        positions,
        tuple(f"{subject} {name}: {note}" for name, reading in readings.items() for note in reading.notes),
        sum(
            4 * n_voxels * len((readings[n].brain if n in readings else brain).labels) for n, brain in datasets.items()
        ),
        max((reading.working_bytes for reading in readings.values()), default=0),
        sum(path.stat().st_size for name in readings for path in named_paths(mapping.datasets[name])),
        sum(reading.working_seconds for reading in readings.values()),
    )
    if readings and not voxels:
        return whole
    if readings:
        whole = _without_nan(whole, subject, where, allowed=mapping.drop_nan_voxels)
    return _with_constants(whole, study, subject, note=bool(readings))


def _with_constants(whole: SubjectData, study: Study, subject: str, *, note: bool) -> SubjectData:
    """Return a subject's data with its constant voxels counted; noted where the plan has not read them."""
    if study.training_dataset not in whole.datasets:  # decoders are read from files
        return whole
    training = whole.datasets[study.training_dataset].samples
    n_constant = int(np.count_nonzero(np.ptp(training, axis=0) == 0))
    text = f"{subject}: {n_constant} voxels are constant over the training samples; never selected"
    notes = (*whole.notes, text) if note and n_constant else whole.notes
    return replace(whole, n_constant=n_constant, notes=notes)


def _read_images(study: Study, mapping: IngestSubject, name: str, table: StimulusTable, *, voxels: bool) -> Reading:
    """Read a dataset in images; samples that a fold holds out are test samples too."""
    own = [label for label, owner in zip(table.labels, table.dataset, strict=True) if owner == name]
    folds = study.ingest.cross_validation if study.ingest is not None else None
    held_out = folds is not None and name in (folds.training_dataset, folds.test_dataset)
    return images.read(
        name,
        mapping.datasets[name],
        own,
        kind=study.datasets[name].role,
        role="test" if held_out else study.datasets[name].role,
        voxels=voxels,
        allow_nan=mapping.drop_nan_voxels,
    )


def _without_nan(whole: SubjectData, subject: str, where: str, *, allowed: bool) -> SubjectData:
    """Return a subject's data without the voxels that have NaN, or raise."""
    problems: list[str] = []
    kept = attempt(problems, partial(images.drop_nan, whole.datasets, allowed=allowed))
    if kept is None:
        raise StudyError(where, problems)
    if kept.all():
        return whole
    masks = {name: mask[kept] for name, mask in whole.rois.items()}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise StudyError(where, [f"rois.{empty[0]}: all its voxels are NaN in some sample; leave it out or correct it"])
    for name in list(whole.datasets):  # one after another, so that only one is there twice
        whole.datasets[name] = replace(whole.datasets[name], samples=whole.datasets[name].samples[:, kept])
    note = f"{subject}: {np.count_nonzero(~kept)} of {len(kept)} voxels are NaN in some sample and were left out"
    return replace(
        whole,
        rois=masks,
        n_voxels=int(np.count_nonzero(kept)),
        positions=None if whole.positions is None else images.kept_positions(whole.positions, kept),
        notes=(*whole.notes, note),
    )


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
