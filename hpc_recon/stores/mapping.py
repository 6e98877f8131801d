"""A lab's files by the mapping in a study's `ingest` section: read, checked, and brought to one form.

Everything is checked before anything is written, and all problems of a subject or of the stimuli are
reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import ArrayKey, Ingest, IngestDataset, IngestStimuli, Section, Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.text import closest
from hpc_recon.stores import labfiles
from hpc_recon.stores.brain import ALL_VOXELS, N_AVERAGED, Brain
from hpc_recon.stores.images import Stimuli, StimulusTable, examples, require_labels

T = TypeVar("T")
#: How far pixels may be outside black and white, as a part of white: what float32 files and their scaling round.
ROUNDING = 1e-4


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


def input_files(value: object) -> list[Path]:
    """Return every existing file that a part of the `ingest` section names, images of folders included, sorted.

    Raises
    ------
    StudyError
        With every file and folder that does not exist.
    """
    found: set[Path] = set()
    problems = []
    for path in _paths(value):
        if path.is_dir():
            found.update(labfiles.list_images(path))
        elif path.is_file():
            found.add(path)
        else:
            problems.append(f"{path} does not exist; correct the path, which starts at the folder of the study file")
    if problems:
        raise StudyError("ingest", sorted(problems))
    return sorted(found)


def fingerprint(value: Any) -> Any:
    """Return a part of the `ingest` section as plain values, each path replaced by the sha256 of what it holds.

    Files may be moved and renamed without making results invalid; changed ones do.
    """
    if isinstance(value, Path):
        if value.is_dir():
            return {path.name: labfiles.sha256(path) for path in labfiles.list_images(value)}
        return labfiles.sha256(value)
    if isinstance(value, Section):
        return {name: fingerprint(getattr(value, name)) for name in sorted(type(value).model_fields)}
    if isinstance(value, dict):
        return {name: fingerprint(value[name]) for name in sorted(value)}
    return list(value) if isinstance(value, tuple) else value


def read_stimuli(study: Study) -> Stimuli:
    """Read the stimuli of all datasets, in the order of the study's datasets.

    Raises
    ------
    StudyError
        With every problem found.
    """
    ingest = section(study)
    problems: list[str] = []
    parts = [
        part
        for name in study.datasets
        if name in ingest.stimuli
        and (part := _attempt(problems, partial(_read_dataset, name, ingest.stimuli[name], ingest.image_size)))
    ]
    sizes = {part.dataset[0]: part.images.shape for part in parts}
    if len({shape[1:3] for shape in sizes.values()}) > 1:
        shown = ", ".join(f"{name} {h} x {w}" for name, (_, h, w, _) in sizes.items())
        problems.append(
            f"stimuli of all datasets must have one size, got {shown}; set ingest.image_size to resize them"
        )
    if not ingest.stimuli:
        problems.append("stimuli: no dataset has any; name an array or a folder for each")
    labels = [label for part in parts for label in part.labels]
    _attempt(problems, partial(require_labels, labels, where="the stimuli of all datasets"))
    if problems:
        raise StudyError("ingest.stimuli", problems)
    return Stimuli(
        images=np.concatenate([part.images for part in parts]),
        labels=tuple(labels),
        dataset=tuple(x for part in parts for x in part.dataset),
        category=tuple(x for part in parts for x in part.category),
        source=tuple(x for part in parts for x in part.source),
    )


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
        found = _attempt(problems, partial(_read_samples, name, dataset, table))
        if found is not None:
            datasets[name] = found
    widths = {name: found.samples.shape[1] for name, found in datasets.items()}
    if len(set(widths.values())) > 1:
        problems.append(f"all datasets of a subject have the same voxels, but their numbers are {widths}")
    rois = {}
    for name, key in mapping.rois.items():
        n_voxels = next(iter(widths.values()), None)
        mask = _attempt(problems, partial(_read_mask, name, key, n_voxels))
        if mask is not None:
            rois[name] = mask
    problems += [
        f"rois: the study decodes {name!r}, but it is not given{closest(name, mapping.rois)}"
        for name in study.rois
        if name not in mapping.rois and name != ALL_VOXELS
    ]
    if problems:
        raise StudyError(where, problems)
    rois.setdefault(ALL_VOXELS, np.ones(next(iter(widths.values())), dtype=bool))
    training = datasets[study.training_dataset].samples
    return SubjectData(datasets, rois, int(np.count_nonzero(np.ptp(training, axis=0) == 0)))


def average_repeats(brain: Brain) -> Brain:
    """Return one sample a stimulus: the mean of its samples, in order of first appearance.

    Samples that are means already weigh by their `n_averaged`; the result's counts their sum. Other columns
    are averaged in the same way. Sums are float64.
    """
    place = {label: i for i, label in enumerate(dict.fromkeys(brain.labels))}
    code = np.array([place[label] for label in brain.labels])
    weight = np.array(brain.columns.get(N_AVERAGED, [1.0] * len(code)))
    total = np.bincount(code, weights=weight)
    samples = np.empty((len(place), brain.samples.shape[1]), dtype=np.float32)
    for i in range(len(place)):
        members = np.flatnonzero(code == i)
        samples[i] = np.average(brain.samples[members].astype(np.float64), axis=0, weights=weight[members])
    columns = {
        name: [float(x) for x in np.bincount(code, weights=weight * np.array(values)) / total]
        for name, values in brain.columns.items()
        if name != N_AVERAGED
    }
    return Brain(samples, tuple(place), {**columns, N_AVERAGED: [float(x) for x in total]})


def pool(parts: Sequence[Brain]) -> Brain:
    """Return the samples of several datasets as one; columns that not all of them have are left out."""
    shared = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    return Brain(
        np.concatenate([part.samples for part in parts]),
        tuple(label for part in parts for label in part.labels),
        {name: [x for part in parts for x in part.columns[name]] for name in shared},
    )


def take(brain: Brain, rows: Array) -> Brain:
    """Return some of the samples, by row."""
    return replace(
        brain,
        samples=brain.samples[rows],
        labels=tuple(brain.labels[i] for i in rows),
        columns={name: [values[i] for i in rows] for name, values in brain.columns.items()},
    )


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _paths(item)


def _attempt(problems: list[str], action: Callable[[], T]) -> T | None:
    """Return what `action` returns; a `DataError` becomes one of the problems."""
    try:
        return action()
    except DataError as error:
        problems.append(str(error))
        return None


def _array(key: ArrayKey) -> Array:
    return labfiles.read_array(key.file, key.key)


def _read_dataset(name: str, source: IngestStimuli, size: int | None) -> Stimuli:
    """Read the stimuli of one dataset."""
    if source.folder is not None:
        if source.labels is not None:
            raise DataError(f"{name}: labels are for arrays; the images of a folder are named by their files")
        files = labfiles.list_images(source.folder)
        labels = tuple(path.stem for path in files)
        sources = tuple(path.name for path in files)
        pictures: Iterator[Array] = (labfiles.read_image(path) for path in files)
    else:
        assert source.array is not None, "the study was validated"
        array = _shaped(name, source, _array(source.array))
        labels = _labels(name, source, len(array))
        sources = labels
        pictures = _as_pictures(name, source, array)
    categories = ("",) * len(labels)
    if source.categories is not None:
        categories = labfiles.text(_array(source.categories), f"{name}: categories")
    if len(categories) != len(labels):
        raise DataError(f"{name}: there are {len(labels)} images but {len(categories)} categories; give one for each")
    require_labels(labels, where=f"the stimuli of {name}")
    pixels = [picture if size is None else labfiles.resize(picture, size) for picture in pictures]
    shapes = sorted({picture.shape[:2] for picture in pixels})
    if len(shapes) > 1:
        raise DataError(
            f"{name}: the images have {len(shapes)} different sizes, {shapes[0][0]} x {shapes[0][1]} to "
            f"{shapes[-1][0]} x {shapes[-1][1]}; set ingest.image_size to resize them"
        )
    return Stimuli(np.stack(pixels), labels, (name,) * len(labels), categories, sources)


def _labels(name: str, source: IngestStimuli, n: int) -> tuple[str, ...]:
    if source.labels is None:
        return tuple(f"{name}-{row + 1:04d}" for row in range(n))
    labels = labfiles.text(_array(source.labels), f"{name}: labels")
    if len(labels) != n:
        raise DataError(f"{name}: there are {n} images but {len(labels)} labels; give one for each")
    return labels


def _shaped(name: str, source: IngestStimuli, array: Array) -> Array:
    """Return the lab's array as (n, H, W) or (n, H, W, 3), rows and columns exchanged where they are to be."""
    array = labfiles.numbers(array, f"{name}: the array of images")
    if array.ndim == 2:
        if source.shape is None or array.shape[1] != source.shape[0] * source.shape[1]:
            raise DataError(
                f"{name}: flattened images {array.shape} need `shape: [height, width]` with height x width = "
                f"{array.shape[1]}, got {list(source.shape) if source.shape else 'none'}"
            )
        height, width = source.shape
        array = array.reshape((len(array), *((width, height) if source.transpose else (height, width))))
    shape: tuple[int, ...] = array.shape
    if len(shape) not in (3, 4) or shape[3:] not in ((), (3,)) or 0 in shape:
        raise DataError(f"{name}: images are (n, H, W), (n, H, W, 3) or (n, H*W) with shape, got {shape}")
    return array.swapaxes(1, 2) if source.transpose else array


def _as_pictures(name: str, source: IngestStimuli, array: Array) -> Iterator[Array]:
    """Yield each image as (H, W, 3) uint8, scaled so that `source.scale` is 255."""
    bad, low, high = 0, np.inf, -np.inf
    for image in array:
        values = image.astype(np.float64) / source.scale
        bad += int(np.count_nonzero(~((values >= -ROUNDING) & (values <= 1 + ROUNDING))))  # NaN counts as bad
        low, high = np.fmin(low, np.fmin.reduce(image, axis=None)), np.fmax(high, np.fmax.reduce(image, axis=None))
        if not bad:
            grey = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
            yield grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    if bad:
        raise DataError(
            f"{name}: {bad} of {array.size} pixel values are NaN or outside 0 to scale = {source.scale:g} (range "
            f"{low:g} to {high:g}); set `scale` to the value of white"
        )


def _read_samples(name: str, dataset: IngestDataset, table: StimulusTable) -> Brain:
    """Read the samples of one dataset, with the label of each."""
    samples = _finite(labfiles.numbers(_array(dataset.samples), f"{name}: samples"), f"{name}: samples")
    if samples.ndim != 2 or 0 in samples.shape:
        raise DataError(f"{name}: samples are (n_samples, n_voxels), got {samples.shape}")
    labels = _sample_labels(name, dataset, table, n=len(samples))
    columns = {}
    for key, source in dataset.columns.items():
        what = f"{name}: column {key}"
        values = _finite(labfiles.numbers(labfiles.column(_array(source), what), what), what, dtype=np.float64)
        if len(values) != len(samples):
            raise DataError(f"{what} has {len(values)} values, but there are {len(samples)} samples")
        columns[key] = [float(x) for x in values]
    if min(columns.get(N_AVERAGED, [1.0])) < 1:
        raise DataError(f"{name}: column {N_AVERAGED} counts presentations, so it is at least 1")
    return Brain(samples, labels, columns)


def _sample_labels(name: str, dataset: IngestDataset, table: StimulusTable, *, n: int) -> tuple[str, ...]:
    """Return the label of the stimulus that each sample shows, by label, by row, or in order."""
    own = [label for label, owner in zip(table.labels, table.dataset, strict=True) if owner == name]
    if dataset.labels is not None:
        labels = labfiles.text(_array(dataset.labels), f"{name}: labels")
        if len(labels) != n:
            raise DataError(f"{name}: there are {n} samples but {len(labels)} labels; give one for each sample")
        known = own or list(table.labels)  # a dataset without stimuli (imagery) refers to those of the others
        unknown = [label for label in dict.fromkeys(labels) if label not in set(known)]
        if unknown:
            raise DataError(
                f"{name}: {len(unknown)} of {len(set(labels))} distinct labels of samples are not labels of its "
                f"stimuli: {examples(unknown)}; its {len(known)} stimuli are {examples(known)}"
            )
        return labels
    if not own:
        raise DataError(f"{name}: it has no stimuli under ingest.stimuli, so its samples need `labels`")
    if dataset.stimulus_rows is None:
        if len(own) != n:
            raise DataError(
                f"{name}: without labels or stimulus_rows, sample i shows stimulus i, but there are {n} samples and "
                f"{len(own)} stimuli; give labels or stimulus_rows"
            )
        return tuple(own)
    what = f"{name}: stimulus_rows"
    rows = labfiles.column(labfiles.numbers(_array(dataset.stimulus_rows), what), what)
    if len(rows) != n:
        raise DataError(f"{what} has {len(rows)} values, but there are {n} samples")
    whole = rows.astype(np.int64) if np.isfinite(rows).all() else np.full(n, -1)
    bad = (whole != rows) | (whole < dataset.first_row) | (whole >= len(own) + dataset.first_row)
    if bad.any():
        raise DataError(
            f"{what} must be whole numbers from {dataset.first_row} to {len(own) - 1 + dataset.first_row} (first_row "
            f"is {dataset.first_row}), but {np.count_nonzero(bad)} are not (first: {rows[bad][0]} at sample "
            f"{int(np.argmax(bad)) + 1})"
        )
    return tuple(own[i - dataset.first_row] for i in whole)


def _finite(values: Array, where: str, *, dtype: type = np.float32) -> Array:
    """Cast to float and refuse what is not finite then: NaN, infinity, and overflow."""
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is refused below
        cast: Array = values.astype(dtype)
    bad = ~np.isfinite(cast)
    if bad.any():
        first = [int(i) + 1 for i in np.unravel_index(int(np.argmax(bad)), bad.shape)]
        rows = np.count_nonzero(bad.any(axis=tuple(range(1, bad.ndim)))) if bad.ndim > 1 else np.count_nonzero(bad)
        raise DataError(
            f"{where}: {np.count_nonzero(bad)} of {bad.size} values are NaN or infinite, in {rows} of {len(bad)} rows "
            f"(first at row {first[0]}{f', voxel {first[1]}' if len(first) > 1 else ''}, counted from 1); remove these "
            f"voxels or samples from the file"
        )
    return cast


def _read_mask(name: str, key: ArrayKey, n_voxels: int | None) -> Array:
    what = f"rois.{name}"
    values = _finite(labfiles.column(labfiles.numbers(_array(key), what), what), what)
    if n_voxels is not None and len(values) != n_voxels:
        raise DataError(
            f"{what} has {len(values)} values, but the samples have {n_voxels} voxels; give a mask over all"
        )
    mask: Array = values != 0
    if not mask.any():
        raise DataError(f"{what} has no voxel: all {len(mask)} values are 0; a member's value is not 0")
    return mask
