"""Coloured shapes: is a reconstruction told from other shapes of its colour, and from its shape in other colours?"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.numerics import identification

#: Columns of a file of colours and shapes.
COLUMNS = ("label", "colour", "shape")


def rivals(study: Study, dataset: str, labels: Sequence[str]) -> tuple[Array, Array] | None:
    """Return which stimuli are compared for the shape score and for the colour score; None unless it is asked for.

    Parameters
    ----------
    labels
        (m,) labels of the dataset's stimuli.

    Returns
    -------
    tuple of Array
        (m, m) bool: stimuli of the same colour and another shape; stimuli of the same shape and another colour.

    Raises
    ------
    DataError
        If a label is not `<colour>_<shape>`, or is not in the file exactly once.
    """
    source = study.evaluate.shapes.get(dataset)
    if source is None:
        return None
    named = _from_file(source, dataset, labels) if isinstance(source, Path) else _from_labels(dataset, labels)
    colour, shape = (np.array([pair[i] for pair in named], dtype=str) for i in range(2))
    same_colour, same_shape = (own[:, None] == own[None, :] for own in (colour, shape))
    return same_colour & ~same_shape, same_shape & ~same_colour


def score(similarity: Array, target: Array, compared: tuple[Array, Array]) -> dict[str, tuple[Array, int | Array]]:
    """Return `shape_identification` and `colour_identification` of images, each with the number of rivals.

    Parameters
    ----------
    similarity
        (n, m) of image i with stimulus j.
    target
        (n,) the stimulus that image i shows.
    compared
        As `rivals` returns it.
    """
    found: dict[str, tuple[Array, int | Array]] = {}
    for name, which in zip(("shape_identification", "colour_identification"), compared, strict=True):
        own, count = identification.among(similarity, target, which)
        found[name] = (own.accuracy, count)
    return found


def _from_labels(dataset: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    parts = [label.split("_") for label in labels]
    wrong = [label for label, own in zip(labels, parts, strict=True) if len(own) != 2 or not all(own)]
    if wrong:
        raise DataError(
            f"labels of coloured shapes must be <colour>_<shape>, but {len(wrong)} of the {len(labels)} stimuli of "
            f"{dataset!r} are not ({', '.join(wrong[:5])}); give evaluate.shapes.{dataset} a .csv file with the "
            f"columns {', '.join(COLUMNS)}, or leave it out"
        )
    return [(colour, shape) for colour, shape in parts]


def _from_file(path: Path, dataset: str, labels: Sequence[str]) -> list[tuple[str, str]]:
    known = read_table(path, named=f"evaluate.shapes.{dataset}")
    absent = [label for label in labels if label not in known]
    if absent:
        raise DataError(
            f"{path} must give colour and shape of every stimulus of {dataset!r}, but {len(absent)} lack them "
            f"({', '.join(absent[:5])}); correct the file"
        )
    return [known[label] for label in labels]


def read_table(path: Path, *, named: str) -> dict[str, tuple[str, str]]:
    """Read colour and shape of stimuli by label from a CSV file; a row that lacks either is left out.

    Parameters
    ----------
    named
        The option that names the file, for messages.

    Raises
    ------
    DataError
        If it cannot be read, lacks a column, or has a label twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = [[row.get(column) or "" for column in COLUMNS] for row in reader]
            columns = tuple(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{named}: {path} cannot be read ({error}); give a CSV file in UTF-8") from error
    if not set(COLUMNS) <= set(columns):
        raise DataError(
            f"{named}: {path} must have the columns {', '.join(COLUMNS)}, but has {', '.join(columns) or 'none'}; "
            "correct its first line"
        )
    twice = [label for label, n in Counter(row[0] for row in rows).items() if n > 1]
    if twice:
        raise DataError(
            f"{named}: {path} must give each stimulus once, but {len(twice)} are there twice ({', '.join(twice[:5])}); "
            "correct the file"
        )
    return {label: (colour, shape) for label, colour, shape in rows if colour and shape}
