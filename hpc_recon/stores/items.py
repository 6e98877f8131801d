"""Test items by name, from labels alone: what `brain.read_items` returns, without reading a sample.

Where decoded features are read from files (`decode.files`), there may be no samples at all: then the items of a dataset
are its own stimuli, and so are the training stimuli.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.stores import brain, images, layout


@dataclass(frozen=True)
class Shown:
    """The items of a test dataset, in the order of decoded features.

    Attributes
    ----------
    names
        Unique and fit to be file names: the label, or `<label>@<nn>` where repeats are not averaged.
    labels
        Label of each item's stimulus.
    rows
        (n_items,) int64 rows of the stimuli table.
    samples
        (n_items,) int64 number of each item's sample in its dataset, from 0; the first one where repeats are averaged.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Array
    samples: Array


def read_shown(study: Study, split: str, dataset: str) -> Shown:
    """Read what the items of a dataset show: one a stimulus if `study.decode.average`, else one a sample."""
    workspace = layout.workspace_of(study)
    if study.decode.files:
        rows = _own(workspace, dataset)
        table = images.read_table(workspace)
        own = tuple(table.labels[row] for row in rows)
        return Shown(own, own, rows, np.arange(len(rows), dtype=np.int64))
    labels = brain.read_labels(workspace, split, dataset)
    rows = brain.stimulus_rows(workspace, labels)
    if study.decode.average:
        distinct, first = np.unique(rows, return_index=True)
        shown = tuple(labels[i] for i in first)
        return Shown(shown, shown, distinct.astype(np.int64), first.astype(np.int64))
    order = np.argsort(rows, kind="stable")
    shown = tuple(labels[i] for i in order)
    return Shown(brain.numbered(shown), shown, rows[order], order.astype(np.int64))


def training_rows(study: Study, split: str) -> Array:
    """Return the rows of the distinct stimuli that the decoders of a split were trained on, sorted int64."""
    workspace = layout.workspace_of(study)
    if study.decode.files:
        return _own(workspace, study.training_dataset)
    labels = brain.read_labels(workspace, split, study.training_dataset)
    return np.unique(brain.stimulus_rows(workspace, labels))


def _own(workspace: Path, dataset: str) -> Array:
    """Return the rows of a dataset's own stimuli.

    Raises
    ------
    DataError
        If it has none.
    """
    rows = np.flatnonzero(np.array(images.read_table(workspace).dataset) == dataset)
    if not rows.size:
        raise DataError(
            f"the dataset {dataset!r} has no stimuli of its own, so nothing says what its decoded features show; give "
            "its images under ingest.stimuli, or leave it out"
        )
    return rows.astype(np.int64)
