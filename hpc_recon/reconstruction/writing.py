"""The files of one reconstructed image: picture, values, record, all starts, animation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.files import write_json, write_npy
from hpc_recon.core.paths import require_inside
from hpc_recon.methods.targets import Reconstruction
from hpc_recon.stores import images, layout


def write(study: Study, path: Path, image: Array, record: dict[str, Any]) -> list[Path]:
    """Write the picture and the values of one image (H, W, 3) float32 in [0, 1], and its record; return the files."""
    require_inside(layout.workspace_of(study), path.parent)
    return [*images.write_picture(path, image), write_json(path.with_suffix(".json"), record)]


def write_more(study: Study, path: Path, made: Reconstruction, i: int, *, row: int) -> list[Path]:
    """Write the images of all starts and the animation of one item, where there are any."""
    files = []
    if made.start_images is not None:
        files.append(write_npy(path.parent / "starts" / f"{path.stem}.npy", made.start_images[i]))
    if made.snapshots is not None:
        workspace, size = layout.workspace_of(study), made.images.shape[1:3]
        # Black where nothing was shown.
        stimulus = images.read_images(workspace, slice(row, row + 1))[0] if row >= 0 else np.zeros((*size, 3), np.uint8)
        files.append(
            images.write_animation(path.parent / "snapshots" / f"{path.stem}.webp", stimulus, made.snapshots[i])
        )
    return files
