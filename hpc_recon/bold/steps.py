"""One preprocessing step a function, each on one run of BOLD: arrays in, new arrays out, float64 inside.

The steps and their order are those of Shen, Horikawa, Majima and Kamitani (PLoS Comput. Biol. 2019, "MRI data
preprocessing"): regress out a linear trend and six motion parameters, normalise by the mean of the initial rest,
despike at +-3 SD, shift by 4 s, average over the stimulus block. Time is the first axis everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: The paper reduces values beyond three standard deviations of each run.
DESPIKE_SD = 3.0
#: Clipping shrinks the SD, so the lab's public library (bdpy, `reduce_outlier`) clips ten times; so do we.
DESPIKE_PASSES = 10
#: Relative size below which a direction of the nuisance design is rounding error: float64's eps times a safety of 100.
_DESIGN_TOLERANCE = 100 * float(np.finfo(np.float64).eps)
#: A voxel whose spread is below this part of its level is constant: half a step of float32, the type it was read in.
_CONSTANT = float(np.finfo(np.float32).eps) / 2


def as_run(bold: Array, *, where: str) -> Array:
    """Check one run and return it as float64.

    Parameters
    ----------
    bold
        (n_volumes, n_voxels), any real number type; scanner units.
    where
        The run, for messages.

    Returns
    -------
    (n_volumes, n_voxels) float64, a copy.

    Raises
    ------
    DataError
        If the array is not 2-D, is empty, is complex or no number, or has a value that is NaN or infinite.

    Examples
    --------
    >>> as_run(np.ones((3, 2), np.int16), where="run 1").dtype
    dtype('float64')
    """
    if bold.ndim != 2 or 0 in bold.shape or bold.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: a run must be (n_volumes, n_voxels) real numbers, not {bold.dtype} of shape {bold.shape}."
        )
    run = np.array(bold, dtype=np.float64)
    bad = ~np.isfinite(run).all(axis=0)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{where}: {int(bad.sum())} of {bad.size} voxels have NaN or infinite values, the first is voxel {first} of"
            " the mask (numbered from 0). Take them out of the mask; no value is filled in."
        )
    return run


def constant_voxels(run: Array) -> Array:
    """Return the voxels whose values do not change over a run: (n_voxels,) bool.

    A voxel is constant if its range is at most half a step of float32 at its largest absolute value.

    Examples
    --------
    >>> constant_voxels(np.array([[1.0, 5.0], [2.0, 5.0]]))
    array([False,  True])
    """
    low, high = run.min(axis=0), run.max(axis=0)
    return np.asarray(high - low <= _CONSTANT * np.maximum(np.abs(low), np.abs(high)))


def regress_out(run: Array, confounds: Array | None, *, linear_trend: bool = True, where: str = "run") -> Array:
    """Remove what a linear trend and nuisance regressors explain, and keep each voxel's mean.

    The design has an intercept, the trend (volume number) and the confounds; each regressor is centred and scaled
    to unit length, which changes no fitted value. A constant or repeated regressor adds nothing and is harmless.
    What is removed is the least-squares fit without its intercept, so the mean of each voxel over the run stays.

    Parameters
    ----------
    run
        (n_volumes, n_voxels) float64.
    confounds
        (n_volumes, n_confounds), e.g. six motion parameters (mm and radians), or None.
    linear_trend
        Whether a linear trend is among the regressors.
    where
        The run, for messages.

    Returns
    -------
    (n_volumes, n_voxels) float64, in the units of `run`.

    Raises
    ------
    DataError
        If the confounds have another number of volumes, have NaN (fMRIPrep's `n/a`), or are so many that no degree
        of freedom remains.

    Examples
    --------
    >>> trend = np.arange(4.0)[:, np.newaxis]
    >>> regress_out(100 + 2 * trend, None).round(9).ravel()
    array([103., 103., 103., 103.])
    """
    n_volumes = len(run)
    columns = [np.arange(n_volumes, dtype=np.float64)[:, np.newaxis]] if linear_trend else []
    if confounds is not None:
        if confounds.ndim != 2 or len(confounds) != n_volumes:
            raise DataError(
                f"{where}: the run has {n_volumes} volumes, its confounds have shape {confounds.shape}. Both must count"
                " the same volumes: if volumes were dropped from the images, drop them from the table too."
            )
        if not np.isfinite(confounds).all():
            raise DataError(
                f"{where}: the confounds have {int((~np.isfinite(confounds)).sum())} values that are NaN or n/a."
                " Choose columns without them (the six motion parameters have none)."
            )
        columns.append(confounds.astype(np.float64))
    if not columns:
        return run.copy()
    design = np.hstack(columns)
    if design.shape[1] + 2 > n_volumes:
        raise DataError(
            f"{where}: {design.shape[1]} regressors and an intercept leave nothing of {n_volumes} volumes. Name fewer"
            " confounds."
        )
    level = np.abs(design).max(axis=0)
    design = design - design.mean(axis=0)
    length = np.sqrt((design**2).sum(axis=0))
    used = length > _DESIGN_TOLERANCE * level * np.sqrt(n_volumes)
    if not used.any():
        return run.copy()
    left, strength, _ = np.linalg.svd(design[:, used] / length[used], full_matrices=False)
    basis = left[:, strength > _DESIGN_TOLERANCE * strength[0] * n_volumes]  # (n_volumes, rank), orthonormal, no mean
    return np.asarray(run - basis @ (basis.T @ run))


def percent_of_baseline(run: Array, n_baseline: int, *, where: str = "run") -> Array:
    """Return the change from the mean of the first volumes, in percent of that mean.

    ``100 * (x - b) / b`` with ``b`` the mean of volumes 0 to `n_baseline` of each voxel. A constant voxel becomes 0.

    Parameters
    ----------
    run
        (n_volumes, n_voxels) float64, with its mean (not centred).
    n_baseline
        Volumes of the initial rest.
    where
        The run, for messages.

    Returns
    -------
    (n_volumes, n_voxels) float64, percent.

    Raises
    ------
    DataError
        If the rest is empty or longer than the run, or the mean of a voxel that changes is not above 0.

    Examples
    --------
    >>> percent_of_baseline(np.array([[100.0], [100.0], [102.0]]), 2).ravel()
    array([0., 0., 2.])
    """
    if not 1 <= n_baseline <= len(run):
        raise DataError(
            f"{where}: the initial rest has {n_baseline} volumes, the run {len(run)}. Correct `baseline_s`."
        )
    baseline = run[:n_baseline].mean(axis=0)
    constant = constant_voxels(run)
    bad = (baseline <= 0) & ~constant
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{where}: {int(bad.sum())} of {bad.size} voxels have a mean of the initial rest that is not above 0; the"
            f" first is voxel {first} ({baseline[first]:.4g}). Percent of it has no meaning: use images that were not"
            " centred before, or take voxels outside the brain out of the mask."
        )
    percent = np.zeros_like(run)
    np.divide(100 * (run - baseline), baseline, out=percent, where=~constant)
    return percent


@dataclass(frozen=True)
class Despiked:
    """A run (n_volumes, n_voxels) without extreme values, and how many of its values were changed."""

    run: Array
    n_clipped: int


def despike(run: Array, *, n_sd: float = DESPIKE_SD, n_passes: int = DESPIKE_PASSES) -> Despiked:
    """Clip each voxel at its mean plus and minus `n_sd` standard deviations over the run, `n_passes` times.

    Mean and SD (ddof 0) are those of the run as the pass before left it. The paper says "+-3 SD for each run" and no
    more; ten passes are the default of the lab's public library. One pass is `n_passes=1`. It ends early when a pass
    changes nothing.

    Parameters
    ----------
    run
        (n_volumes, n_voxels) float64.
    n_sd
        Above 0, in standard deviations.
    n_passes
        At least 1.

    Returns
    -------
    Despiked
        In the units of `run`, with the number of values that differ from the input.

    Examples
    --------
    >>> spiked = np.zeros((100, 1))
    >>> spiked[50] = 10
    >>> despike(spiked, n_passes=1).run.max().round(3)  # 0.1 + 3 * sqrt(0.99)
    np.float64(3.085)
    """
    if not n_sd > 0 or n_passes < 1:
        raise ValueError(f"despiking needs n_sd above 0 and at least one pass, not {n_sd=}, {n_passes=}")
    clipped = run
    for _ in range(n_passes):
        mean, spread = clipped.mean(axis=0), n_sd * clipped.std(axis=0)
        low, high = mean - spread, mean + spread
        if not ((clipped < low) | (clipped > high)).any():
            break
        clipped = np.clip(clipped, low, high)
    return Despiked(clipped.copy() if clipped is run else clipped, int((clipped != run).sum()))


def average_windows(run: Array, windows: Sequence[tuple[int, int]]) -> Array:
    """Average volumes `start` to `stop` of each window.

    Parameters
    ----------
    run
        (n_volumes, n_voxels) float64.
    windows
        (start, stop) volumes of each sample, within the run, not empty. They may overlap.

    Returns
    -------
    (n_windows, n_voxels) float64.

    Examples
    --------
    >>> average_windows(np.array([[1.0], [3.0], [5.0]]), [(0, 2), (1, 3)]).ravel()
    array([2., 4.])
    """
    bad = [window for window in windows if not 0 <= window[0] < window[1] <= len(run)]
    if bad:
        raise ValueError(f"windows must lie within the {len(run)} volumes of the run and not be empty: {bad[:3]}")
    samples = np.empty((len(windows), run.shape[1]))
    for row, (start, stop) in enumerate(windows):
        run[start:stop].mean(axis=0, out=samples[row])
    return samples
