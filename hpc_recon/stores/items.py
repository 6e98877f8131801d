"""Test items by name, from labels alone: what `brain.read_items` returns, without reading a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.stores import brain, layout


@dataclass(frozen=True)
class Shown:
    """The items of a test dataset, in the order of decoded features.

    Attributes
    ----------
    labels
        Label of each item's stimulus.
    rows
        (n_items,) int64 rows of the stimuli table.
    samples
        (n_items,) int64 number of each item's sample in its dataset, from 0; the first one where repeats are averaged.
    """

    labels: tuple[str, ...]
    rows: Array
    samples: Array


def read_shown(study: Study, split: str, dataset: str) -> Shown:
    """Read what the items of a dataset show: one a stimulus if `study.decode.average`, else one a sample."""
    workspace = layout.workspace_of(study)
    labels = brain.read_labels(workspace, split, dataset)
    rows = brain.stimulus_rows(workspace, labels)
    if study.decode.average:
        distinct, first = np.unique(rows, return_index=True)
        return Shown(tuple(labels[i] for i in first), distinct.astype(np.int64), first.astype(np.int64))
    order = np.argsort(rows, kind="stable")
    return Shown(tuple(labels[i] for i in order), rows[order], order.astype(np.int64))
