"""Test items without their samples, and the training stimuli, wherever decoded features come from.

Where decoded features are read from files (`decode.files`), there may be no samples at all: then the items of a dataset
are its own stimuli, and so are the training stimuli. Where decoders are (`fit.files`), training samples may be absent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study, base_subject
from hpc_recon.core.convert_options import owner
from hpc_recon.core.errors import DataError
from hpc_recon.stores import arrays, brain, images, layout


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


def true_features(study: Study, network: str, layer: str, rows: Array, units: Array | None = None) -> Array:
    """Return the features of the stimuli that items show, (n, n_units) float32.

    Parameters
    ----------
    rows
        Of the stimulus table, in any order; repeats are read once.
    units
        Numbers of the units that are read, sorted; None: all.
    """
    distinct, place = np.unique(rows, return_inverse=True)
    found: Array = arrays.read(layout.workspace_of(study), layout.features(network, layer), distinct, units)
    return np.asarray(found[place], np.float32)


def has_training_samples(study: Study, split: str) -> bool:
    """Return whether there are brain samples of the training dataset: where decoders are read, there may be none."""
    if study.decode.files:
        return False
    if not study.fit.files or study.ingest is None:
        return True
    return study.training_dataset in study.ingest.subjects[base_subject(split)].datasets


def training_rows(study: Study, split: str, *, required: bool = True) -> Array:
    """Return the rows of the distinct stimuli of a split's training samples, sorted int64; `fit.samples` is not asked.

    Without training samples they are the training dataset's own stimuli.

    Parameters
    ----------
    required
        False: no row is returned where there are none (`fit.files`); else that is an error.

    Raises
    ------
    DataError
        If there are none.
    """
    workspace = layout.workspace_of(study)
    if not has_training_samples(study, split):
        rows = _own(workspace, study.training_dataset, required=not study.fit.files)
        if required and not rows.size:
            raise DataError(
                f"the dataset {study.training_dataset!r} has neither samples nor stimuli, so there is no training "
                "image to start from or to compare with, and no spread to restore; give its images under ingest.stimuli"
            )
        return rows
    labels = brain.read_labels(workspace, owner(split), study.training_dataset)
    return np.unique(brain.stimulus_rows(workspace, labels))


def _own(workspace: Path, dataset: str, *, required: bool = True) -> Array:
    """Return the rows of a dataset's own stimuli.

    Raises
    ------
    DataError
        If it has none.
    """
    rows = np.flatnonzero(np.array(images.read_table(workspace).dataset) == dataset)
    if required and not rows.size:
        raise DataError(
            f"the dataset {dataset!r} has no stimuli of its own, so nothing says what its decoded features show; give "
            "its images under ingest.stimuli, or leave it out"
        )
    return rows.astype(np.int64)
