"""Where images start: the mean training image of every split, a file of the workspace."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import write_atomic
from hpc_recon.core.tiles import ranges
from hpc_recon.stores import images, items, layout

#: Stimuli read at a time for the mean training image.
_BATCH = 48


def write(study: Study, split: str) -> None:
    """Write the mean training image of a split, unless the very bytes are there.

    Raises
    ------
    MissingStore
        If there are no stimuli.
    """
    payload = io.BytesIO()
    np.save(payload, _mean_training_image(study, split), allow_pickle=False)
    path = _path(layout.workspace_of(study), split)
    if not path.exists() or path.read_bytes() != payload.getvalue():
        write_atomic(path, payload.getvalue())


def read(study: Study, split: str) -> Array:
    """Return the mean training image of a split, (H, W, 3) float32 in [0, 1].

    Raises
    ------
    MissingStore
        If `prepare` did not run.
    """
    path = _path(layout.workspace_of(study), split)
    if not path.exists():
        raise MissingStore(f"{path} does not exist; run `python -m hpc_recon.reconstruct --study <study file>`")
    found: Array = np.load(path, allow_pickle=False)
    return found


def _path(workspace: Path, split: str) -> Path:
    return workspace / "starts" / f"{split}.npy"


def _mean_training_image(study: Study, split: str) -> Array:
    """Return the mean of the stimuli that a split's decoders were trained on, (H, W, 3) float32 in [0, 1]."""
    workspace = layout.workspace_of(study)
    rows = items.training_rows(study, split)
    total = np.zeros(images.read_images(workspace, rows[:1]).shape[1:])
    for start, stop in ranges(len(rows), _BATCH):
        total += images.read_images(workspace, rows[start:stop]).sum(axis=0, dtype=np.float64)
    return (total / (255 * len(rows))).astype(np.float32)
