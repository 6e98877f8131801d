"""The stimuli of a lab, by the mapping in a study's `ingest` section: arrays or folders of images, in one form."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.ingest_options import IngestStimuli
from hpc_recon.exchange import mapping, samples
from hpc_recon.formats import labfiles
from hpc_recon.stores.images import Stimuli, examples, require_labels

log = logging.getLogger(__name__)

#: How far pixels may be outside black and white, as a part of white: what float32 files and their scaling round.
ROUNDING = 1e-4


def read(study: Study) -> Stimuli:
    """Read the stimuli of all datasets, in the order of the study's datasets.

    Raises
    ------
    StudyError
        With every problem found.
    """
    ingest = mapping.section(study)
    problems: list[str] = []
    parts = [
        part
        for name in study.datasets
        if name in ingest.stimuli
        and (part := mapping.attempt(problems, partial(_read_dataset, name, ingest.stimuli[name], ingest.image_size)))
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
    mapping.attempt(problems, partial(require_labels, labels, where="the stimuli of all datasets"))
    if problems:
        raise StudyError("ingest.stimuli", problems)
    return Stimuli(
        images=np.concatenate([part.images for part in parts]),
        labels=tuple(labels),
        dataset=tuple(x for part in parts for x in part.dataset),
        category=tuple(x for part in parts for x in part.category),
        source=tuple(x for part in parts for x in part.source),
    )


def warn_of_copies(stimuli: Stimuli) -> None:
    """Log images that occur more than once: a copy of a training image in a test dataset spoils the test."""
    first: dict[bytes, str] = {}
    copies = []
    for label, image in zip(stimuli.labels, stimuli.images, strict=True):
        known = first.setdefault(image.tobytes(), label)
        if known != label:
            copies.append(f"{label} = {known}")
    if copies:
        log.warning(
            "%d stimuli are copies of others (%s); if they are split between training and test, scores are too good",
            len(copies),
            ", ".join(copies[:5]),
        )


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
        array = _shaped(name, source, samples.array(source.array))
        labels = _labels(name, source, len(array))
        sources = labels
        pictures = _as_pictures(name, source, array)
    categories = ("",) * len(labels)
    if source.categories == "before_underscore":
        categories = _before_underscore(name, labels)
    elif source.categories is not None:
        categories = labfiles.text(samples.array(source.categories), f"{name}: categories")
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


def _before_underscore(name: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the category in labels such as n01518878_10042."""
    without = [label for label in labels if not label.rpartition("_")[0]]
    if without:
        raise DataError(
            f"{name}: categories: before_underscore, but {len(without)} of {len(labels)} labels have nothing before an "
            f"underscore: {examples(without)}; give the categories as an array"
        )
    return tuple(label.rpartition("_")[0] for label in labels)


def _labels(name: str, source: IngestStimuli, n: int) -> tuple[str, ...]:
    if source.labels is None:
        return tuple(f"{name}-{row + 1:04d}" for row in range(n))
    labels = labfiles.text(samples.array(source.labels), f"{name}: labels")
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
