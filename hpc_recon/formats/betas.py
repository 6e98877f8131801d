"""Betas of single trials in volumes or on surfaces: NSD's and GLMsingle's `.nii.gz` and `.hdf5` files, and trial lists.

NSD (Allen et al. 2022, Nat. Neurosci.; naturalscenesdataset.org, "betas") stores int16 of percent signal change times
300: volumes in `betas_sessionNN.nii.gz` and `.hdf5`, surfaces in `lh.betas_sessionNN.hdf5`. The `.hdf5` files come
from MATLAB, whose `betas` (X, Y, Z, trial) or (vertex, trial) have reversed axes in the file: (trial, Z, Y, X) or
(trial, vertex). `axes` says which it is where a file was written otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats.hdf5 import dataset_at, open_hdf5
from hpc_recon.formats.texts import read_text
from hpc_recon.formats.volumes import Mask, open_series

#: NSD's integers are percent signal change times this.
NSD_SCALE = 300.0
_BLOCK_TRIALS = 16
#: NSD's largest list of trials has 30,000 lines.
_MAX_LIST = 64 * 2**20

Axes = Literal["reversed", "as written"]


@dataclass(frozen=True)
class Betas:
    """Betas of one file within a mask, nothing read yet: `n_trials` by `n_voxels`; `scale` divides what is stored."""

    path: Path
    n_trials: int
    n_voxels: int
    scale: float
    _inside: Array
    _mask: Mask | None
    _key: str
    _axes: Axes

    def blocks(self) -> Iterator[Array]:
        """Yield (trials, n_voxels) float32 in the order of the file, 16 trials at a time.

        Raises
        ------
        DataError
            If the file is damaged. NaN is passed on: NSD has voxels without data in some sessions.
        """
        if self.path.name.endswith((".nii", ".nii.gz")):
            assert self._mask is not None
            for block in open_series(self.path, self._mask).blocks(_BLOCK_TRIALS):
                yield block / np.float32(self.scale)
            return
        with open_hdf5(self.path) as file:
            stored = dataset_at(file, self._key)
            for start in range(0, self.n_trials, _BLOCK_TRIALS):
                if self._axes == "reversed":
                    part = stored[start : start + _BLOCK_TRIALS]
                    part = part.reshape(len(part), -1)[:, self._reversed_columns()]
                else:
                    part = stored[..., start : start + _BLOCK_TRIALS][self._inside].T
                yield part.astype(np.float32) / np.float32(self.scale)

    def _reversed_columns(self) -> Array:
        """Return where each voxel, in C order of (i, j, k), lies in the file's flattened (k, j, i)."""
        position = np.arange(self._inside.size).reshape(self._inside.shape[::-1])
        return np.asarray(position.T[self._inside])

    def read(self) -> Array:
        """Return (n_trials, n_voxels) float32."""
        return np.concatenate(list(self.blocks()))


def open_betas(
    path: Path, mask: Mask | Array, *, scale: float = 1.0, key: str = "betas", axes: Axes = "reversed"
) -> Betas:
    """Look at a file of betas: trials, and whether the mask fits.

    Parameters
    ----------
    path
        `.nii`, `.nii.gz`, `.hdf5`, `.h5`.
    mask
        A `Mask` for volumes; (n_vertices,) bool for surfaces in `.hdf5`.
    scale
        What is stored divided by this is percent: `NSD_SCALE` for NSD's integers, 1 for GLMsingle's floats.
    key, axes
        Of `.hdf5`: the data set, and whether its axes are reversed (MATLAB) or as written: trial last.

    Raises
    ------
    DataError
        If the file is unreadable, has no such data set, or the mask has another shape.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise DataError(f"{path}: the scale must be above 0, not {scale}. NSD's is {NSD_SCALE:g}.")
    volume = mask if isinstance(mask, Mask) else None
    inside = mask.inside if isinstance(mask, Mask) else np.asarray(mask)
    if inside.dtype != bool or not inside.any():
        raise DataError(f"{path}: a mask must be bool with a voxel inside, not {inside.dtype} of {inside.shape}.")
    n_voxels = int(np.count_nonzero(inside))
    if path.name.endswith((".nii", ".nii.gz")):
        if volume is None:
            raise DataError(f"{path}: volumes need a mask with a grid (`read_mask`).")
        n_trials = open_series(path, volume).n_volumes
        return Betas(path, n_trials, n_voxels, scale, inside, volume, key, axes)
    if axes not in ("reversed", "as written"):
        raise ValueError(f"axes are 'reversed' or 'as written', not {axes!r}")
    with open_hdf5(path) as file:
        stored = dataset_at(file, key)
        shape, dtype = tuple(int(n) for n in stored.shape), stored.dtype
    expected = inside.shape[::-1] if axes == "reversed" else inside.shape
    found = shape[1:] if axes == "reversed" else shape[:-1]
    if len(shape) < 2 or found != expected or dtype.kind not in "iuf":
        other = "as written" if axes == "reversed" else "reversed"
        raise DataError(
            f"{path}: {key} is {dtype} of shape {shape}; with axes {axes} and the mask's shape {inside.shape} it must"
            f" be real numbers of (trials, *{expected}) or, as written, (*{inside.shape}, trials). Try axes: {other}"
            ", or another mask."
        )
    return Betas(path, shape[0 if axes == "reversed" else -1], n_voxels, scale, inside, volume, key, axes)


def read_trials(path: Path, n_trials: int) -> tuple[str, ...]:
    """Read the stimulus of each trial: a text file of one label a line, in the order of the betas.

    Raises
    ------
    DataError
        If the number of lines is not that of the trials, or a line is empty.
    """
    text = read_text(path, limit=_MAX_LIST, what="list of trials")
    labels = tuple(line.strip() for line in text.splitlines())
    if len(labels) != n_trials or "" in labels:
        raise DataError(
            f"{path}: {len(labels)} labels ({labels.count('')} empty) for {n_trials} trials. One line a trial."
        )
    return labels
