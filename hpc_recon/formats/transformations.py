"""Converters between subjects as the authors of the neural code converter keep them: `transformation.mat`.

A folder holds `transformation.mat`, whose variable `M` is (n_source + 1, n_target) float32: weights on the z-scored
scale, 0 where a target voxel does not read a source voxel, and the biases in the last row; beside it `x_mean`, `x_norm`
(1, n_source) and `y_mean`, `y_norm` (1, n_target), each in a `.mat` of its name. They predict

    [(x - x_mean) / x_norm, 1] . M * y_norm + y_mean.

What is assumed, for no such file was looked at: v7.3, and the four statistics named and shaped as those of decoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.formats import matlab, sparse

STATISTICS = ("x_mean", "x_norm", "y_mean", "y_norm")
#: Files of a folder.
FILES = ("transformation.mat", *(f"{name}.mat" for name in STATISTICS))


@dataclass(frozen=True)
class Transformation:
    """A converter of all voxels of one subject into all of another."""

    #: (n_source + 1, n_target) float32, biases last.
    M: Array
    #: (n_source,) float32 each; a constant voxel has x_norm 1 and weights 0.
    x_mean: Array
    x_norm: Array
    #: (n_target,) float32 each.
    y_mean: Array
    y_norm: Array

    def predict(self, X: Array) -> Array:
        """Convert raw source samples (n, n_source) into raw target samples (n, n_target) float64."""
        Z = (X.astype(np.float64) - self.x_mean) / self.x_norm
        result: Array = (Z @ self.M[:-1] + self.M[-1]) * self.y_norm + self.y_mean
        return result


def write(folder: Path, found: Transformation) -> list[Path]:
    """Write the five files.

    Raises
    ------
    DataError
        As `read`.
    """
    _check(found, folder)
    files = [matlab.write_v73(folder / FILES[0], {"M": found.M.astype(np.float32, copy=False)})]
    for name in STATISTICS:
        value = getattr(found, name)[None].astype(np.float32)
        files.append(matlab.write_v73(folder / f"{name}.mat", {name: value}))
    return files


def read(folder: Path) -> Transformation:
    """Read the five files of a folder; memory: `M` twice.

    Raises
    ------
    DataError
        If one is absent, shapes disagree, values are not finite, or a norm is not above 0.
    """
    M = sparse.read_dense(folder / FILES[0], "M")
    vectors = {name: np.atleast_2d(sparse.read_dense(folder / f"{name}.mat", name)) for name in STATISTICS}
    for name, value in vectors.items():
        if value.ndim != 2 or len(value) != 1:
            raise DataError(f"{name} in {folder} must be (1, n), but is {value.shape}; write it again as one row")
    found = Transformation(
        M.astype(np.float32, copy=False), **{name: value[0].astype(np.float32) for name, value in vectors.items()}
    )
    _check(found, folder)
    return found


def _check(found: Transformation, folder: Path) -> None:
    shape = (len(found.x_mean) + 1, len(found.y_mean))
    sizes = [len(getattr(found, name)) for name in STATISTICS]
    if found.M.shape != shape or sizes != [shape[0] - 1] * 2 + [shape[1]] * 2:
        raise DataError(
            f"M in {folder} must be (source voxels + 1, target voxels), {shape} by x_mean and y_mean, but is "
            f"{found.M.shape}, and the statistics {', '.join(STATISTICS)} have {sizes} values; take all five files of "
            "one converter"
        )
    for name in ("M", *STATISTICS):
        values = getattr(found, name)
        if not np.isfinite(values).all():
            raise DataError(
                f"{name} in {folder} must be finite, but {np.count_nonzero(~np.isfinite(values))} values are not; fit "
                "the converter again"
            )
    if (found.x_norm <= 0).any() or (found.y_norm < 0).any():
        raise DataError(
            f"norms in {folder} are standard deviations, but {int((found.x_norm <= 0).sum())} of x_norm are not above "
            f"0 and {int((found.y_norm < 0).sum())} of y_norm are below; write 1 for a voxel that is constant"
        )
