"""From runs of BOLD to samples: the steps in the published order, one run in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hpc_recon.bold import normalisation, steps
from hpc_recon.bold.windows import Event, Window, count_overlaps, place_windows, repetitions, whole_volumes
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoldRun:
    """One run: where its voxels come from, and what happened in it.

    `read` returns (n_volumes, n_voxels) of the masked voxels in scanner units, all volumes of the file; it is called
    once. `confounds` is (n_volumes, n_confounds) or None. `session` and `run` are the numbers that samples carry.
    """

    name: str
    session: int
    run: int
    tr_s: float
    n_volumes: int
    events: Sequence[Event]
    read: Callable[[], Array]
    confounds: Array | None = None


@dataclass(frozen=True)
class SampleOptions:
    """How runs become samples. The defaults are those of the training data of Shen et al. 2019; times in seconds.

    `window_s` differs by dataset (`windows.WINDOWS_S`); `drop_s` is 0 if the initial volumes are not in the files.
    `despike_sd` None despikes nothing. `role` test with a normalisation makes the samples transductive.
    """

    window_s: float = 8.0
    shift_s: float = 4.0
    drop_s: float = 8.0
    baseline_s: float = 24.0
    linear_trend: bool = True
    despike_sd: float | None = steps.DESPIKE_SD
    despike_passes: int = steps.DESPIKE_PASSES
    drop_repetitions: bool = True
    normalise: Literal["none", "run", "session"] = "none"
    role: Literal["training", "test"] = "training"


@dataclass(frozen=True)
class Samples:
    """Samples of all runs, in the order of the runs and of time.

    Attributes
    ----------
    samples
        (n_samples, n_voxels) float32: percent of the initial rest, or z-scores if normalised.
    labels
        Stimulus label of each sample.
    columns
        (n_samples,) each: `session`, `run`, `block` (number of the event in its run, from 1), `onset_s` (from the
        first volume of the file), `n_volumes` (averaged in this sample).
    constant_voxels
        (n_voxels,) bool: constant in at least one run. Their samples of that run are 0.
    counts
        `repetitions` dropped, windows `truncated` and `overlapping`, events that begin `in_rest`, values `despiked`.
    session_variance
        Eta squared of the session before normalisation, mean over voxels.
    is_transductive
        Whether test samples were normalised with their own statistics.
    notes
        What the user should know, in sentences; logged as warnings too.
    """

    samples: Array
    labels: tuple[str, ...]
    columns: dict[str, Array]
    constant_voxels: Array
    counts: dict[str, int]
    session_variance: float
    is_transductive: bool
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Plan:
    """What will be done to one run, decided before any voxel is read."""

    n_dropped: int
    n_baseline: int
    windows: list[Window]
    n_repetitions: int
    #: Events that begin before the initial rest ends: what it is compared with is then no rest.
    n_in_rest: int


def _plan(run: BoldRun, options: SampleOptions) -> _Plan:
    """Place the windows of one run and drop its repetitions."""
    names = ("drop_s", "baseline_s", "shift_s", "window_s")
    counted = {name: whole_volumes(getattr(options, name), run.tr_s, name=name, where=run.name) for name in names}
    n_kept = run.n_volumes - counted["drop_s"]
    if not 1 <= counted["baseline_s"] <= n_kept:
        raise DataError(
            f"{run.name}: {run.n_volumes} volumes, {counted['drop_s']} dropped, and an initial rest of"
            f" {counted['baseline_s']}: correct `drop_s` or `baseline_s`, or leave the run out (was it aborted?)."
        )
    if not run.events:
        raise DataError(f"{run.name}: there is no stimulus event. Give its events, or leave the run out.")
    windows = place_windows(
        run.events,
        tr_s=run.tr_s,
        n_volumes=run.n_volumes,
        n_dropped=counted["drop_s"],
        n_shift=counted["shift_s"],
        n_window=counted["window_s"],
        where=run.name,
    )
    repeated = repetitions(run.events)
    kept = [w for w, again in zip(windows, repeated, strict=True) if not (again and options.drop_repetitions)]
    n_in_rest = sum(window.start - counted["shift_s"] < counted["baseline_s"] for window in windows)
    return _Plan(counted["drop_s"], counted["baseline_s"], kept, len(windows) - len(kept), n_in_rest)


@dataclass(frozen=True)
class RunSamples:
    """Samples of one run: `samples` (n_windows, n_voxels) float64, `constant` (n_voxels,), values despiked."""

    samples: Array
    constant: Array
    n_despiked: int


def _process(run: BoldRun, plan: _Plan, options: SampleOptions) -> RunSamples:
    """Read one run and take it through the steps."""
    bold = steps.as_run(run.read(), where=run.name)
    if len(bold) != run.n_volumes:
        raise DataError(f"{run.name}: {run.n_volumes} volumes were announced, {len(bold)} were read. Is it truncated?")
    confounds = run.confounds
    if confounds is not None:
        if len(confounds) != run.n_volumes:
            raise DataError(
                f"{run.name}: the run has {run.n_volumes} volumes, its confounds have {len(confounds)}. Both must"
                " count all volumes of the file."
            )
        confounds = confounds[plan.n_dropped :]
    bold = bold[plan.n_dropped :]
    constant = steps.constant_voxels(bold)
    bold = steps.regress_out(bold, confounds, linear_trend=options.linear_trend, where=run.name)
    # Regression leaves rounding error of a constant voxel; say again that it is constant.
    bold[:, constant] = 1.0
    bold = steps.percent_of_baseline(bold, plan.n_baseline, where=run.name)
    n_despiked = 0
    if options.despike_sd is not None:
        despiked = steps.despike(bold, n_sd=options.despike_sd, n_passes=options.despike_passes)
        bold, n_despiked = despiked.run, despiked.n_clipped
    averaged = steps.average_windows(bold, [(w.start, w.stop) for w in plan.windows])
    return RunSamples(averaged, constant, n_despiked)


def _columns(runs: Sequence[BoldRun], plans: Sequence[_Plan]) -> dict[str, Array]:
    """Return the columns of the samples."""
    rows = [(run, window) for run, plan in zip(runs, plans, strict=True) for window in plan.windows]
    return {
        "session": np.array([run.session for run, _ in rows], dtype=np.int64),
        "run": np.array([run.run for run, _ in rows], dtype=np.int64),
        "block": np.array([window.block for _, window in rows], dtype=np.int64),
        "onset_s": np.array([window.event.onset_s for _, window in rows], dtype=np.float64),
        "n_volumes": np.array([window.stop - window.start for _, window in rows], dtype=np.int64),
    }


def _notes(
    counts: dict[str, int], constant: Array, columns: dict[str, Array], eta: float, transductive: bool
) -> list[str]:
    """Return what the user should know."""
    notes = []
    n_samples = len(columns["run"])
    if counts["truncated"]:
        notes.append(f"{counts['truncated']} of {n_samples} windows end after their run and average fewer volumes")
    if counts["overlapping"]:
        notes.append(
            f"{counts['overlapping']} of {n_samples} windows overlap the window before, as published for tests"
        )
    if counts["in_rest"]:
        notes.append(
            f"{counts['in_rest']} events begin within the initial rest, whose mean is 100 percent; correct drop_s or"
            " baseline_s"
        )
    if constant.any():
        notes.append(f"{int(constant.sum())} of {constant.size} voxels are constant in at least one run (0 there)")
    if eta > normalisation.SESSION_VARIANCE_LIMIT:
        notes.append(
            f"the session explains {100 * eta:.1f} % of the voxel variance (expected without any effect:"
            f" {100 * normalisation.chance_explained(columns['session']):.1f} %); consider normalise: session"
        )
    if transductive:
        notes.append("test samples are normalised with their own statistics: scores are transductive")
    return notes


def _check(runs: Sequence[BoldRun], options: SampleOptions) -> None:
    """Refuse no run, a run twice, and options that do not exist."""
    if not runs:
        raise DataError("there is no run to take samples from. Name at least one.")
    keys = [(run.session, run.run) for run in runs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"session {twice[0]}, run {twice[1]} is there twice. Number the runs uniquely.")
    if options.normalise not in {"none", "run", "session"} or options.role not in {"training", "test"}:
        raise ValueError(f"unknown option: normalise={options.normalise!r}, role={options.role!r}")


@dataclass(frozen=True)
class Outline:
    """What the samples of runs will be, known before any voxel is read: as in `Samples`, without despiked values."""

    labels: tuple[str, ...]
    columns: dict[str, Array]
    counts: dict[str, int]


def outline_of_runs(runs: Sequence[BoldRun], options: SampleOptions) -> Outline:
    """Return labels, columns and counts of the samples that `samples_of_runs` makes; `read` is not called.

    Raises
    ------
    DataError
        If a run or its events are unusable, or no sample is left.
    """
    return _outline(runs, _plans(runs, options))


def _plans(runs: Sequence[BoldRun], options: SampleOptions) -> list[_Plan]:
    _check(runs, options)
    plans = [_plan(run, options) for run in runs]
    if not any(plan.windows for plan in plans):
        raise DataError(
            f"all blocks of {len(runs)} runs are repetitions; none is left. Keep them (`drop_repetitions`)."
        )
    return plans


def _outline(runs: Sequence[BoldRun], plans: Sequence[_Plan]) -> Outline:
    windows = [window for plan in plans for window in plan.windows]
    counts = {
        "repetitions": sum(plan.n_repetitions for plan in plans),
        "truncated": sum(window.is_truncated for window in windows),
        "overlapping": sum(count_overlaps(plan.windows) for plan in plans),
        "in_rest": sum(plan.n_in_rest for plan in plans),
    }
    return Outline(tuple(window.event.label for window in windows), _columns(runs, plans), counts)


def samples_of_runs(runs: Sequence[BoldRun], options: SampleOptions) -> Samples:
    """Turn runs into samples, one run at a time.

    Per run, in this order: drop the initial volumes; regress out trend and confounds; percent of the mean of the
    initial rest; despike; shift; average over the window of each block; drop one-back repetitions. Then, over all
    runs: how much the session explains, and the normalisation.

    Parameters
    ----------
    runs
        With the same voxels in the same order. (session, run) must be unique.
    options
        See `SampleOptions`.

    Returns
    -------
    Samples

    Raises
    ------
    DataError
        If a run, its events or its confounds are unusable. Events of all runs are checked before any voxel is read.

    Notes
    -----
    Memory: the samples in float32, and about five float64 copies of the masked voxels of one run.
    """
    plans = _plans(runs, options)
    outline = _outline(runs, plans)
    columns = outline.columns
    samples: Array | None = None
    constant: Array | None = None
    n_despiked, row = 0, 0
    for run, plan in zip(runs, plans, strict=True):
        done = _process(run, plan, options)
        if samples is None or constant is None:
            samples = np.empty((len(outline.labels), done.constant.size), dtype=np.float32)
            constant = np.zeros(done.constant.size, dtype=bool)
        if done.constant.size != constant.size:
            raise DataError(
                f"{run.name} has {done.constant.size} voxels, {runs[0].name} has {constant.size}. Read all runs with"
                " the same mask."
            )
        samples[row : row + len(plan.windows)] = done.samples
        constant |= done.constant
        n_despiked += done.n_despiked
        row += len(plan.windows)
    assert samples is not None
    assert constant is not None
    counts = outline.counts | {"despiked": n_despiked}
    eta = normalisation.explained_by(samples, columns["session"])
    if options.normalise != "none":
        _, groups = np.unique(_group_keys(columns, options.normalise), axis=0, return_inverse=True)
        normalisation.normalise_groups(samples, groups.reshape(-1))
    transductive = options.normalise != "none" and options.role == "test"
    notes = _notes(counts, constant, columns, eta, transductive)
    for note in notes:
        log.warning("%s", note)
    return Samples(samples, outline.labels, columns, constant, counts, eta, transductive, tuple(notes))


def _group_keys(columns: dict[str, Array], by: str) -> Array:
    """Return (n_samples, n_keys): run numbers may start anew in each session, so a run is both numbers."""
    names = ["session"] if by == "session" else ["session", "run"]
    return np.stack([columns[name] for name in names], axis=1)
