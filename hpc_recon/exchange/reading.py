"""What is read of one dataset in images: its samples, where its voxels lie, and what the user should know."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_recon.stores.brain import Brain
from hpc_recon.stores.positions import Positions


@dataclass(frozen=True)
class Reading:
    """One dataset of one subject, from BOLD runs or betas.

    Attributes
    ----------
    brain
        Samples (n_samples, n_voxels) float32, labels and columns; (n_samples, 0) where no voxel was read.
    positions
        Where the voxels lie; also known where none was read.
    notes
        What the user should know, in sentences.
    working_bytes
        Projected peak of memory while the voxels are read, beside the samples.
    working_seconds
        Projected time of what is computed on one core, beside reading the files.
    """

    brain: Brain
    positions: Positions
    notes: tuple[str, ...]
    working_bytes: int
    working_seconds: float = 0.0
