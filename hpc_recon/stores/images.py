"""Stimuli (one array of images and a table that names them), and reconstructed pictures."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DamagedStore, DataError, MissingStore
from hpc_recon.core.files import write_atomic, write_npy
from hpc_recon.core.text import SAFE_NAME_RULE, is_safe_name
from hpc_recon.stores import arrays, checks, layout, metadata, tables

#: How long a picture of an animation is shown; the last one ten times as long.
_FRAME_MILLISECONDS = 120


@dataclass(frozen=True)
class Stimuli:
    """Images of all datasets, in the order of their rows.

    Attributes
    ----------
    images
        (n_stimuli, H, W, 3) uint8, RGB.
    labels
        A name for each, unique, fit to be a file name.
    dataset
        The dataset whose stimulus each one is.
    category
        What each one shows, "" if not known.
    source
        The photograph that a crop comes from, or the file; equal sources are never split between training and test.
    """

    images: Array
    labels: tuple[str, ...]
    dataset: tuple[str, ...]
    category: tuple[str, ...]
    source: tuple[str, ...]


@dataclass(frozen=True)
class StimulusTable:
    """The same without the images; height and width in pixels."""

    labels: tuple[str, ...]
    dataset: tuple[str, ...]
    category: tuple[str, ...]
    source: tuple[str, ...]
    height: int
    width: int


def table_of(stimuli: Stimuli) -> StimulusTable:
    """Return what is known of stimuli without their images."""
    _, height, width, _ = stimuli.images.shape
    return StimulusTable(stimuli.labels, stimuli.dataset, stimuli.category, stimuli.source, height, width)


def require_labels(labels: Sequence[str], *, where: str) -> None:
    """Raise unless labels are unique and fit to be file names.

    Raises
    ------
    DataError
        With the number of bad labels and examples.
    """
    unsafe = [label for label in labels if not is_safe_name(label)]
    if unsafe:
        raise DataError(
            f"labels name files, so they have {SAFE_NAME_RULE}; {len(unsafe)} of {len(labels)} labels of {where} do "
            f"not: {examples(unsafe)}; rename them"
        )
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise DataError(
            f"each stimulus has a label of its own, in all datasets together; {len(repeated)} labels of {where} occur "
            f"more than once: {examples(repeated)}; rename them"
        )


def examples(names: Sequence[str], n: int = 5) -> str:
    """Return the first names for an error message.

    >>> examples(["a", "b", "c"], 2)
    "'a', 'b', ..."
    """
    return ", ".join(repr(str(name)) for name in names[:n]) + (", ..." if len(names) > n else "")


def require_stimuli(stimuli: Stimuli) -> None:
    """Raise `DataError` unless images, labels and columns belong together."""
    shape = stimuli.images.shape
    if stimuli.images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise DataError(f"stimuli are (n, H, W, 3) uint8, got {shape} {stimuli.images.dtype}; convert them first")
    lengths = {name: len(getattr(stimuli, name)) for name in ("images", "labels", "dataset", "category", "source")}
    if len(set(lengths.values())) > 1:
        raise DataError(f"each stimulus has one label, dataset, category and source, got {lengths}")
    require_labels(stimuli.labels, where="the stimuli")


def write_stimuli(workspace: Path, stimuli: Stimuli, *, made_by: str) -> list[Path]:
    """Create and write the stimuli, and return every file written.

    Parameters
    ----------
    made_by
        Key of the group, for example `ingest/stimuli`.

    Raises
    ------
    DataError
        If labels are not unique and safe, or shapes do not agree.
    """
    require_stimuli(stimuli)
    ref = layout.stimuli()
    arrays.create(
        workspace,
        ref,
        shape=stimuli.images.shape,
        dtype=np.uint8,
        geometry=layout.stimuli_geometry(*stimuli.images.shape[:3]),
        made_by=made_by,
    )
    files = arrays.write(workspace, ref, (0,), stimuli.images)
    columns = {
        "label": stimuli.labels,
        "dataset": stimuli.dataset,
        "category": stimuli.category,
        "source": stimuli.source,
    }
    files.append(tables.write_table(workspace, layout.stimuli_columns(), columns, made_by=made_by))
    return files


def read_table(workspace: Path) -> StimulusTable:
    """Read what is known of each stimulus, in the order of rows.

    Raises
    ------
    MissingStore, DamagedStore
        As `tables.read_checked`.
    """
    found = metadata.describe(workspace, layout.stimuli())
    columns = tables.read_checked(workspace, layout.stimuli_columns())
    if len(columns["label"]) != found.shape[0]:
        raise DamagedStore(
            f"the stimuli in {workspace} are {found.shape[0]} images but {len(columns['label'])} labels; make them "
            f"anew with {layout.stimuli().command} --redo"
        )
    text = {name: tuple(str(value) for value in values) for name, values in columns.items()}
    return StimulusTable(
        text["label"], text["dataset"], text["category"], text["source"], found.shape[1], found.shape[2]
    )


def read_images(workspace: Path, rows: arrays.Selection = None) -> Array:
    """Read images by row: (n, H, W, 3) uint8; `rows` as in `arrays.read`."""
    return arrays.read(workspace, layout.stimuli(), rows)


def write_picture(path: Path, image: Array) -> list[Path]:
    """Write an image as a PNG and, beside it with the same stem, its float32 values as `.npy`.

    Parameters
    ----------
    path
        Of the PNG.
    image
        (H, W, 3) float in [0, 1].

    Raises
    ------
    DataError
        If the shape is another, or a value is outside [0, 1] or not finite.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"a picture is (H, W, 3), got {image.shape} ({path})")
    values = image.astype(np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise DataError(
            f"a picture's values are in [0, 1], got [{values.min()}, {values.max()}] ({path}); clip it first"
        )
    picture = io.BytesIO()
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(picture, format="PNG")
    return [write_atomic(path, picture.getvalue()), write_npy(path.with_suffix(".npy"), values)]


def write_animation(path: Path, stimulus: Array, pictures: Array) -> Path:
    """Write an animated WebP: the stimulus on the left, on the right one picture after the other, the last one longest.

    Parameters
    ----------
    stimulus
        (H, W, 3) uint8.
    pictures
        (n, h, w, 3) uint8, n >= 1, enlarged or reduced to the stimulus.
    """
    height, width = stimulus.shape[:2]
    frames = []
    for picture in pictures:
        frame = Image.new("RGB", (2 * width, height))
        frame.paste(Image.fromarray(stimulus), (0, 0))
        frame.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), (width, 0))
        frames.append(frame)
    stream = io.BytesIO()
    durations = [*([_FRAME_MILLISECONDS] * (len(frames) - 1)), 10 * _FRAME_MILLISECONDS]
    frames[0].save(
        stream, format="WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=90
    )
    return write_atomic(path, stream.getvalue())


def read_picture(workspace: Path, path: Path, *, made_by: str, size: tuple[int, int]) -> Array:
    """Read the float values of a picture that `write_picture` wrote, (H, W, 3) float32 in [0, 1].

    Parameters
    ----------
    path
        Of the PNG.
    made_by
        Key of the group that made it; its receipts say how long the file is.
    size
        Height and width that it must have, pixels.

    Raises
    ------
    MissingStore
        If no receipt lists it; names the command that makes it.
    DamagedStore
        If it is absent, has another length, size or type, or values that are not finite.
    """
    numbers = path.with_suffix(".npy")
    record = checks.group_records(workspace, made_by).get(numbers.relative_to(workspace).as_posix())
    if record is None:
        raise MissingStore(
            f"the image {numbers} was never finished: no receipt below receipts/{made_by} lists it; make it with "
            f"{layout.command(made_by.partition('/')[0])}"
        )
    try:
        length = numbers.stat().st_size
        values = np.load(numbers, allow_pickle=False) if length == record.length else np.empty(0)
    except (OSError, ValueError) as error:
        raise DamagedStore(
            f"{numbers} cannot be read ({error}); {checks.redo_command(made_by)} makes it anew"
        ) from error
    if length != record.length or values.shape != (*size, 3) or not np.isfinite(values).all():
        raise DamagedStore(
            f"{numbers} must hold {(*size, 3)} finite values in {record.length} bytes, but holds {values.shape} in "
            f"{length} bytes; {checks.redo_command(made_by)} makes it anew"
        )
    return np.asarray(values, np.float32)
