"""The samples of one dataset in BOLD runs, by the `bold` part of its mapping; `hpc_recon.bold` does the arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from hpc_recon.bold import samples as bold
from hpc_recon.bold.windows import WINDOWS_S, Event
from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import OWN_COLUMNS, TRANSDUCTIVE, BoldRun, BoldSource
from hpc_recon.exchange import labelling, places
from hpc_recon.exchange.reading import Reading
from hpc_recon.formats import bids, surfaces, volumes
from hpc_recon.stores.brain import Brain
from hpc_recon.stores.positions import Positions

Role = Literal["training", "test"]
#: Copies of a run in float64 at the peak, the run as it was read among them (measured: 3.3 to 3.9).
_RUN_COPIES = 5
#: Seconds that the steps take for one value of one voxel (measured with despiking: 0.3 to 0.4 microseconds).
_SECONDS_PER_VALUE = 3.5e-7
#: Whole volumes in float64 while one is read and scaled.
_VOLUME_COPIES = 3
#: Copies in float32 of all vertices of a GIFTI run while it is parsed, stacked and masked.
_SURFACE_COPIES = 4
#: A header and a sidecar that differ by more than this part of the TR contradict each other.
_TR_TOLERANCE = 0.01
#: Runs whose problems are spelled out in one error.
_SHOWN = 5


@dataclass(frozen=True)
class _Image:
    """What the header of a run says, and how its voxels are read: (n_volumes, n_voxels) float32."""

    n_volumes: int
    tr_s: float
    positions: Positions
    read: Callable[[], Array]
    whole_bytes: int


@dataclass(frozen=True)
class _Opened:
    """A run that is fit to be read, its events (rows of `table` in order of time), and its image."""

    run: bold.BoldRun
    table: bids.Table
    rows: tuple[int, ...]
    image: _Image


def options_of(name: str, source: BoldSource, role: Role) -> bold.SampleOptions:
    """Return the options of the steps; the default of the window follows the dataset's name and role.

    Parameters
    ----------
    name
        The dataset's: 16 s for `imagery`, else 8 s for training and 12 s for test.
    role
        With a normalisation, the samples of a test set are transductive.
    """
    default = "imagery" if name == "imagery" else "training" if role == "training" else "natural"
    return bold.SampleOptions(
        window_s=WINDOWS_S[default] if source.window_s is None else source.window_s,
        shift_s=source.shift_s,
        drop_s=source.drop_s,
        baseline_s=source.baseline_s,
        linear_trend=source.linear_trend,
        despike_sd=source.despike_sd,
        despike_passes=source.despike_passes,
        drop_repetitions=source.drop_repetitions,
        normalise=source.normalise,
        role=role,
    )


def read(
    name: str,
    source: BoldSource,
    own: Sequence[str],
    options: bold.SampleOptions,
    *,
    voxels: bool = True,
    allow_nan: bool = False,
) -> Reading:
    """Read the samples of one dataset from its runs, one run at a time.

    Parameters
    ----------
    name
        The dataset's, for errors.
    source
        With its `runs`; those of a BIDS folder were looked up before.
    own
        Labels of the dataset's own stimuli, for labels by `image_index`.
    voxels
        False: only headers, events and confounds are read, and the samples have no voxels.
    allow_nan
        Whether a voxel that is NaN in a run becomes NaN in the samples of that run, instead of an error.

    Raises
    ------
    DataError
        With every run that cannot be used; all are looked at before any voxel is read.
    """
    opened = _open(name, source, own, options)
    runs, images = [item.run for item in opened], [item.image for item in opened]
    outline = bold.outline_of_runs(runs, options)
    columns = {key: [float(x) for x in outline.columns[key]] for key in OWN_COLUMNS}
    columns |= _more_columns(name, source, opened, columns)
    if options.normalise != "none" and options.role == "test":
        columns[TRANSDUCTIVE] = [1.0] * len(outline.labels)
    n_repeated = outline.counts["repetitions"]
    notes = [f"{n_repeated} blocks that repeat the one before are left out"] if n_repeated else []
    values = np.empty((len(outline.labels), 0), dtype=np.float32)
    if voxels:
        hidden: dict[tuple[int, int], Array] = {}
        if allow_nan:
            runs = [replace(run, read=partial(_without_nan, run, hidden)) for run in runs]
        done = bold.samples_of_runs(runs, options)
        values, notes = done.samples, [*notes, *done.notes]
        for row, place in enumerate(zip(columns["session"], columns["run"], strict=True) if hidden else ()):
            values[row, hidden[int(place[0]), int(place[1])]] = np.nan
    positions = images[0].positions
    run_bytes = max(image.n_volumes for image in images) * positions.n_voxels * 8
    working = _RUN_COPIES * run_bytes + max(image.whole_bytes for image in images)
    seconds = _SECONDS_PER_VALUE * positions.n_voxels * sum(image.n_volumes for image in images)
    return Reading(Brain(values, outline.labels, columns), positions, tuple(notes), working, seconds)


def _without_nan(run: bold.BoldRun, hidden: dict[tuple[int, int], Array]) -> Array:
    """Read a run with its NaN voxels made constant, so that no step sees them, and remember which they are."""
    values = run.read()
    bad = np.asarray(np.isnan(values).any(axis=0))
    hidden[run.session, run.run] = bad
    values[:, bad] = 1.0
    return values


def _open(name: str, source: BoldSource, own: Sequence[str], options: bold.SampleOptions) -> list[_Opened]:
    """Look at every run; all that are wrong are named in one error."""
    mask = places.common_mask(source.mask) if source.mask else None
    opened: list[_Opened] = []
    problems: list[str] = []
    for run in _numbered(source.runs):
        try:
            opened.append(_open_one(name, run, source, own, options, mask))
            if not places.same(opened[0].image.positions, opened[-1].image.positions):
                raise DataError(f"{opened[-1].run.name} has other voxels or vertices than {opened[0].run.name}")
        except DataError as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{name}: {len(problems)} of {len(source.runs)} runs: {'; '.join(problems[:_SHOWN])}{more}")
    return opened


def _open_one(
    name: str,
    run: BoldRun,
    source: BoldSource,
    own: Sequence[str],
    options: bold.SampleOptions,
    mask: volumes.Mask | None,
) -> _Opened:
    assert run.run is not None, "numbered before"
    shown = run.file or run.left
    assert shown is not None, "the study was validated"
    where = f"{name}, session {run.session}, run {run.run} ({shown})"
    image = _image(run, source, mask)
    tr_s = _repetition_time(run, image.tr_s, where)
    table, rows, events = _events(run, source, own)
    confounds = _confounds(run, source, image.n_volumes, round(options.drop_s / tr_s) if tr_s > 0 else 0)
    found = bold.BoldRun(where, run.session, run.run, tr_s, image.n_volumes, events, image.read, confounds)
    return _Opened(found, table, rows, image)


def _numbered(runs: Sequence[BoldRun]) -> Iterator[BoldRun]:
    """Yield the runs, those without a number with their place among the runs of their session."""
    seen: Counter[int] = Counter()
    for run in runs:
        seen[run.session] += 1
        yield run if run.run is not None else run.model_copy(update={"run": seen[run.session]})


def _image(run: BoldRun, source: BoldSource, mask: volumes.Mask | None) -> _Image:
    """Read the header of a run's image or images."""
    if run.file is None:
        assert run.left is not None and run.right is not None, "the study was validated"  # noqa: PT018
        (n_volumes, n_left), (n_right_volumes, n_right) = (surfaces.gifti_shape(p) for p in (run.left, run.right))
        if n_volumes != n_right_volumes:
            raise DataError(f"{run.left} has {n_volumes} volumes, {run.right} has {n_right_volumes}; are they one run?")
        left, right = places.hemisphere_masks(source, (n_left, n_right))
        chosen = np.concatenate([left, right])
        whole = _SURFACE_COPIES * n_volumes * chosen.size * 4
        reading = partial(_hemispheres, run, chosen)
        return _Image(n_volumes, 0.0, places.of_hemispheres(left, right), reading, whole)
    if run.file.name.endswith(".dtseries.nii"):
        dense = surfaces.open_cifti(run.file)
        names = dense.grayordinates.structures()
        absent = sorted(set(source.structures) - set(names.tolist()))
        if absent:
            known = ", ".join(dict.fromkeys(names.tolist()))
            raise DataError(f"{run.file} has no structure {absent[0]!r}; it has {known}; correct `structures`")
        chosen = np.isin(names, source.structures) if source.structures else np.ones(len(names), dtype=bool)
        positions = places.of_grayordinates(dense.grayordinates, chosen)
        return _Image(dense.n_volumes, dense.tr_s, positions, partial(dense.read, chosen), dense.n_volumes * 2**16)
    if mask is None:
        raise DataError(f"{run.file} is a volume, so `mask` is needed: a NIfTI mask of the voxels to keep, on its grid")
    series = volumes.open_series(run.file, mask)
    whole = _VOLUME_COPIES * int(np.prod(mask.grid.shape)) * 8
    return _Image(series.n_volumes, series.tr_s, places.of_mask(mask), series.read, whole)


def _hemispheres(run: BoldRun, chosen: Array) -> Array:
    assert run.left is not None and run.right is not None, "the study was validated"  # noqa: PT018
    return surfaces.read_hemispheres(run.left, run.right)[:, chosen]


def _repetition_time(run: BoldRun, header_s: float, where: str) -> float:
    """Return the TR in seconds: as given, else that of sidecar and header, which must not contradict each other."""
    if run.tr_s is not None:
        return run.tr_s
    if run.sidecar is None:
        return header_s
    sidecar_s = bids.read_repetition_time(run.sidecar)
    if header_s > 0 and abs(sidecar_s - header_s) > _TR_TOLERANCE * sidecar_s:
        raise DataError(
            f"{where}: the TR is {header_s:g} s in the header and {sidecar_s:g} s in {run.sidecar}; give the right one "
            f"as `tr_s`"
        )
    return sidecar_s


def _events(
    run: BoldRun, source: BoldSource, own: Sequence[str]
) -> tuple[bids.Table, tuple[int, ...], tuple[Event, ...]]:
    """Return the table of events, the rows that are stimuli in order of time, and the events that they are."""
    table = bids.read_table(run.events)
    rows = bids.read_events(run.events, label_column=source.labels.column, only=source.stimuli)
    where = f"{run.events}: {source.labels.column}"
    labels = labelling.stimulus_labels([row.label for row in rows], source.labels.by, own, where)
    repeats: list[bool | None] = [None] * len(rows)
    if source.repetitions is not None:
        texts = table.texts(source.repetitions.column)
        repeats = [texts[row.row] in source.repetitions.values for row in rows]
    events = [Event(row.onset_s, label, again) for row, label, again in zip(rows, labels, repeats, strict=True)]
    return table, tuple(row.row for row in rows), tuple(events)


def _confounds(run: BoldRun, source: BoldSource, n_volumes: int, n_dropped: int) -> Array | None:
    if not source.confounds:
        return None
    if run.confounds is None:
        raise DataError(f"{run.file or run.left}: the run has no confounds; name its table, or set `confounds: []`")
    values = bids.read_confounds(run.confounds, source.confounds)
    if len(values) != n_volumes:
        raise DataError(f"{run.confounds} has {len(values)} rows, but the run {n_volumes} volumes; is it of this run?")
    bad = ~np.isfinite(values[n_dropped:]).all(axis=0)
    if bad.any():
        raise DataError(
            f"{run.confounds}: the column {source.confounds[int(np.argmax(bad))]} has n/a after the {n_dropped} "
            f"dropped volumes; name columns without"
        )
    return values


def _more_columns(
    name: str, source: BoldSource, opened: Sequence[_Opened], columns: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Return the columns that the study takes from the events, one number a sample."""
    found: dict[str, list[float]] = {}
    by_run = {(item.run.session, item.run.run): item for item in opened}
    samples = list(zip(columns["session"], columns["run"], columns["block"], strict=True))
    for key, column in source.columns.items():
        texts = []
        for session, run, block in samples:
            item = by_run[int(session), int(run)]
            texts.append(item.table.texts(column)[item.rows[int(block) - 1]])
        found[key] = labelling.numbers(texts, f"{name}: column {column} of the events").tolist()
    return found
