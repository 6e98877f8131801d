"""What converters are fitted to: which samples a subject's training data hold, and their values."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpc_recon.conversion import blocks, pairing
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.sampling import seed_of
from hpc_recon.stores import arrays, images, layout, tables


def presented(study: Study, subject: str) -> pairing.Presented:
    """Read what the training samples of a subject show, and when."""
    ref = layout.samples_columns(subject, study.training_dataset)
    columns = tables.read_checked(layout.workspace_of(study), ref)
    when = {name: [float(x) for x in columns[name]] for name in ("session", "run") if _complete(columns.get(name))}
    return pairing.Presented(subject, tuple(str(label) for label in columns["label"]), when)


def rules(study: Study, drawn: str) -> dict[str, Any]:
    """Return how `pairing.pair` and `pairing.together` choose samples, as the study says.

    Parameters
    ----------
    drawn
        Names the shuffle: a split of converted samples, whose name may hold a number of samples, or `spaces`.
    """
    options, table = blocks.options_of(study), images.read_table(layout.workspace_of(study))
    return {
        "categories": dict(zip(table.labels, table.category, strict=True)),
        "n_pairs": options.samples_of(drawn),
        "common": options.stimuli == "common",
        "shuffle_seed": seed_of(study.seed, "convert", drawn) if options.shuffle else None,
    }


def samples(study: Study, subject: str, rows: Array | None, voxels: Array | None) -> Array:
    """Read training samples of a subject (n_rows, n_voxels) float32, in the order of the rows; None: all."""
    ref = layout.samples(subject, study.training_dataset)
    found = arrays.read(layout.workspace_of(study), ref, None, voxels)
    return found if rows is None or np.array_equal(rows, np.arange(len(found))) else found[rows]


def _complete(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(x, (int, float)) for x in values)
