"""Test items without their samples, and the training stimuli, wherever decoded features come from.

Where decoded features are read from files (`decode.files`), there may be no samples at all: then the items of a dataset
are its own stimuli, and so are the training stimuli.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError
from hpc_recon.stores import brain, images, layout


def read_shown(study: Study, split: str, dataset: str) -> brain.Items:
    """Return the items of a dataset, in the order of its decoded features; `samples` is (n_items, 0)."""
    if not study.decode.files:
        return brain.read_item_table(study, split, dataset)
    workspace = layout.workspace_of(study)
    rows, table = _own(workspace, dataset), images.read_table(workspace)
    labels = tuple(table.labels[row] for row in rows)
    return brain.Items(
        names=labels,
        labels=labels,
        rows=rows,
        samples=np.empty((len(rows), 0), np.float32),
        n_averaged=np.ones(len(rows), np.int64),
        conditions=tuple("" for _ in rows),
        columns={},
    )


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
