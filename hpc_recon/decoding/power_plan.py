"""What `power` tries for a subject and ROI, and its tiles: which subsets, what they need, where their scores go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpc_recon.core import threads
from hpc_recon.core.config import Study
from hpc_recon.core.errors import DataError, StudyError
from hpc_recon.core.memory import array_bytes
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.decoding import inputs, planning, screening
from hpc_recon.numerics import additive, learning, needs, out_of_fold
from hpc_recon.stores import arrays, brain, layout, shapes, tables

if TYPE_CHECKING:
    from hpc_recon.core.array import Array

#: The place of scores of held-out training stimuli among those of the test datasets.
TRAINING = "training"
#: A column of the samples whose values are sessions.
SESSION = "session"
#: A mean number of repeats is tried if it is so many times the one before.
_NEXT_COUNT = 1.1
#: Fewer test stimuli make no curve.
LEAST_STIMULI = 4
#: A tile imports torch (which units there are) and loads the compiled kernels: CPU seconds, measured 3 to 5.
_LIBRARIES_SECONDS = 5.0
#: Of each subset, however few its samples: its products, added to those before, and the Gram matrix made of them; CPU
#: seconds for a pair of voxels (measured at 5,000 voxels: 1.2e-8 + 1e-9 + 1.5e-8), and what begins a setting.
_SUBSET_SECONDS, _SETTING_SECONDS = 3e-8, 0.02


@dataclass(frozen=True)
class Session:
    """How much a scanning session brings."""

    #: "session" where the samples have such a column, else "" (then a quarter of the samples).
    column: str
    n_samples: int
    #: Sessions that there are; 0 without the column.
    n_sessions: int


@dataclass(frozen=True)
class Design:
    """What is tried with the training samples of a subject and ROI."""

    n_samples: int
    n_stimuli: int
    #: Training stimuli, mean repeats of each, and voxels of each setting; without repeats there is no such curve.
    images: tuple[int, ...]
    repeats: tuple[float, ...]
    voxels: tuple[int, ...]
    #: Repeats at most, for each of `repeats`.
    at_most: tuple[int, ...]
    session: Session

    @property
    def curves(self) -> dict[str, tuple[float, ...]]:
        """The sizes of each curve, in the order of the stored settings."""
        return {"images": self.images, "repeats": self.repeats, "voxels": self.voxels}

    @property
    def n_settings(self) -> int:
        """Return the number of stored settings."""
        return sum(len(sizes) for sizes in self.curves.values())


def require_possible(study: Study) -> None:
    """Raise `StudyError` unless the study's decoders can be fitted to parts of its samples, with one setting."""
    screening.require_ridge(study, "power")
    problems = []
    if study.fit.has_grids:
        problems.append(
            "fit: power refits many subsets with one number of voxels and one penalty, but there are grids; name those "
            "that `fit` chose (folder choices/): --set fit.n_voxels=500 --set fit.alpha=100"
        )
    if study.decode.files:
        problems.append("decode.files: power fits decoders to brain samples; leave out decode.files")
    if study.units is not None and not isinstance(study.units, int):
        problems.append("units: power draws units at random; give a number: --units 1000/layer")
    if problems:
        raise StudyError("power", problems)


def n_sampled(study: Study) -> int:
    """Return how many units of a layer are drawn: `--units`, else `power.units`."""
    return study.units if isinstance(study.units, int) else study.power.units


def stimulus_rows(study: Study) -> Array:
    """Return the rows of the stimulus table that training samples or test items of a subject show, int64 ascending."""
    rows = [screening.training_rows(study)]
    for split in study.subjects:
        for dataset in study.test_datasets(split):
            own = brain.read_item_table(study, split, dataset).rows
            rows.append(own[own >= 0])
    return np.unique(np.concatenate(rows))


def design(study: Study, split: str, roi: str) -> Design:
    """Return what is tried for a subject and ROI; tables are read, no sample is.

    Raises
    ------
    DataError
        If there are too few training stimuli or voxels, or fewer stimuli than two in each fold.
    """
    options, workspace = study.power, layout.workspace_of(study)
    kept = inputs.admitted(study, split)
    labels = np.asarray(brain.read_labels(workspace, split, study.training_dataset))[kept]
    counts = np.unique(labels, return_counts=True)[1]
    least = len(counts) - -(-len(counts) // options.folds)  # training stimuli of a fold, in the smallest
    if len(counts) < 2 * options.folds:
        raise DataError(
            f"power holds out {options.folds} folds of two training stimuli or more, but {split} has {len(counts)}; "
            "set power.folds lower"
        )
    used, means = list[int](), list[float]()
    for most in learning.counts_up_to(int(counts.max())):
        mean = float(np.minimum(counts, most).mean())
        if not means or mean >= _NEXT_COUNT * means[-1]:
            used.append(most)
            means.append(mean)
    used[-1], means[-1] = int(counts.max()), float(counts.mean())
    if len(used) < 2:
        used, means = [], []
    n_voxels = shapes.read(study).n_voxels(split, roi)
    return Design(
        n_samples=len(labels),
        n_stimuli=len(counts),
        images=learning.sizes_of(least, options.images),
        repeats=tuple(means),
        voxels=learning.sizes_of(n_voxels, options.voxels),
        at_most=tuple(used),
        session=_session(study, split, kept),
    )


def _session(study: Study, split: str, kept: Array) -> Session:
    workspace = layout.workspace_of(study)
    columns = tables.read_checked(workspace, layout.samples_columns(split, study.training_dataset))
    values = np.asarray(columns.get(SESSION, []), np.float64)
    values = values[kept] if len(values) else values
    if not len(values) or np.isnan(values).any():
        return Session("", max(int(kept.sum()) // 4, 1), 0)
    counts = np.unique(values, return_counts=True)[1]
    return Session(SESSION, int(np.median(counts)), len(counts))


def trials(study: Study, split: str, dataset: str) -> tuple[tuple[int, ...], int]:
    """Return how many trials of each test stimulus are averaged, and how many stimuli there are.

    Conditions without a stimulus have no truth and are left out. No level is more than the stimulus with the fewest
    trials has; there is none for single trials, or fewer than `LEAST_STIMULI` stimuli.
    """
    columns = tables.read_checked(layout.workspace_of(study), layout.samples_columns(split, dataset))
    shows = columns.get(brain.SHOWS, ["stimulus"] * len(columns["label"]))
    labels = [label for label, kind in zip(columns["label"], shows, strict=True) if kind == "stimulus"]
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < LEAST_STIMULI or counts.min() < 2:
        return (), len(counts)
    return learning.counts_up_to(int(counts.min())), len(counts)


def curves_path(name: str, split: str, roi: str) -> str:
    """Return where the curves of a network, subject and ROI lie in the workspace."""
    return f"power/{name}/{split}/{roi}/curves.json"


def tiles(study: Study, sizes: Shapes, n_units: Mapping[str, Mapping[str, int]]) -> list[Tile]:
    """Return one tile a network, subject, ROI and draw, one for test trials, and one for the curves.

    Parameters
    ----------
    n_units
        Sampled units, by network and layer. All layers of a network share the Gram matrices of a tile.
    """
    options, draws, averages, curves = study.power, list[Tile](), list[Tile](), list[Tile]()
    common: dict[str, object] = {
        "training": study.training_dataset,
        "samples": study.fit.samples,
        "fit": [study.fit.n_voxels, study.fit.alpha_candidates, study.fit.penalize_bias],
        "draws": options.draws,
        "seed": study.seed,
    }
    if study.fit.most_active is not None:
        common["most_active"] = study.fit.most_active.model_dump()
    parts = {"folds": options.folds, "images": options.images, "voxels": options.voxels}
    ends = [options.confidence, options.resamples, options.sessions]
    for name, own in n_units.items():
        for split in study.subjects:
            tests = study.test_datasets(split)
            flags = {dataset: study.datasets[dataset].identification for dataset in tests}
            for roi in study.rois:
                place = (name, split, roi)
                upstream = (f"{study.source_verb}/{split}", f"power/features/{name}")
                training = Group("power", ("training", *place), canonical(common | parts), upstream)
                test = Group("power", ("trials", *place), canonical(common | {"tests": flags}), upstream)
                fitted = Group("power", ("curves", *place), canonical({"curves": ends}), (training.key, test.key))
                s, total = planning.sizes_of(study, sizes, split, roi), list(own.values())
                need = _draw_need(study, s, total)
                draws += [Tile(training, "draws", draw, draw + 1, need) for draw in range(options.draws)]
                n_test = [sizes.n_samples(split, dataset) for dataset in tests]
                averages.append(Tile(test, "trials", 0, 1, _trials_need(study, s, total, n_test)))
                curves.append(Tile(fitted, "curves", 0, 1, _curves_need(study, total)))
    return [*draws, *averages, *curves]


def _draw_need(study: Study, s: planning.Sizes, n_units: list[int]) -> Need:
    """Project one draw: in each fold the samples twice (images, repeats), and a fit of every setting."""
    options, n_threads, total = study.power, threads.available(), sum(n_units)
    k = study.fit.most_voxels(s.n_voxels)
    n_settings = len(options.images) + len(options.voxels) + 12
    shape = {"n_stimuli": s.n_stimuli, "n_threads": n_threads}
    summing = additive.additive_bytes(s.n_samples, s.n_voxels, **shape)
    fitting = out_of_fold.out_of_fold_bytes(
        total, n_test=-(-s.n_stimuli // options.folds), n_voxels=s.n_voxels, k=k, **shape
    )
    matrices = 3 * array_bytes(s.n_voxels, s.n_voxels) + 3 * array_bytes(s.n_stimuli, s.n_voxels)
    scores = 4 * array_bytes(n_settings, total, itemsize=8) + 2 * array_bytes(total, k)
    per_fold = 2 * needs.statistics_seconds(s.n_samples, s.n_voxels, n_threads=n_threads)
    per_fold += n_settings * needs.fit_seconds(
        total, n_voxels=s.n_voxels, n_stimuli=s.n_stimuli, k=k, n_threads=n_threads
    )  # fmt: skip
    n_subsets = len(options.images) + 1  # repeats that are tried add less
    per_fold += (n_subsets * _SUBSET_SECONDS * s.n_voxels**2 + n_settings * _SETTING_SECONDS) / n_threads
    return Need(
        host_bytes=2 * s.sample_bytes + summing + matrices + 2 * array_bytes(s.n_stimuli, total) + fitting + scores,
        bytes_in=s.sample_bytes + array_bytes(s.n_stimuli, total),
        bytes_out=array_bytes(n_settings, total + s.n_stimuli * len(n_units)),
        files_out=2,
        seconds=_LIBRARIES_SECONDS + store_seconds(s.sample_bytes) + options.folds * per_fold,
    )


def _trials_need(study: Study, s: planning.Sizes, n_units: list[int], n_test: Sequence[int]) -> Need:
    n_threads, total, largest = threads.available(), sum(n_units), max([1, *n_test])
    k = study.fit.most_voxels(s.n_voxels)
    host = needs.statistics_bytes(s.n_samples, s.n_voxels, n_stimuli=s.n_stimuli, n_threads=n_threads)
    host += needs.fit_bytes(total, s.n_voxels, k=k, n_stimuli=s.n_stimuli, n_threads=n_threads)
    many = 12 * study.power.draws
    return Need(
        host_bytes=host
        + 2 * s.sample_bytes
        + array_bytes(s.n_stimuli, total)
        + 5 * array_bytes(largest, s.n_voxels)
        + 4 * array_bytes(largest, total)
        + 2 * array_bytes(many, total),
        bytes_in=s.sample_bytes + array_bytes(sum(n_test), s.n_voxels),
        bytes_out=array_bytes(many, total),
        files_out=2 * len(n_test),
        seconds=_LIBRARIES_SECONDS
        + store_seconds(s.sample_bytes)
        + many * _SETTING_SECONDS
        + needs.statistics_seconds(s.n_samples, s.n_voxels, n_threads=n_threads)
        + needs.fit_seconds(total, n_voxels=s.n_voxels, n_stimuli=s.n_stimuli, k=k, n_threads=n_threads)
        + many * needs.predict_seconds(largest, total, k=k, n_threads=n_threads),
    )


def _curves_need(study: Study, n_units: list[int]) -> Need:
    options = study.power
    values = options.draws * (len(options.images) + len(options.voxels) + 24) * sum(n_units)
    each = 64 * (len(options.images) + 1) * max(n_units) * 8 * 2
    n_curves = 8 * len(n_units)
    return Need(
        host_bytes=12 * values + each + 2**26,
        bytes_in=4 * values,
        bytes_out=2000 * n_curves,
        files_out=1,
        seconds=0.5 + 3e-4 * options.resamples * n_curves + values / 2e7,
    )


def create(study: Study, name: str, n_units: Sequence[int]) -> None:
    """Create the arrays of the scores of a network, for all subjects and ROIs.

    Raises
    ------
    DataError
        As `design`.
    """
    workspace, draws, total = layout.workspace_of(study), study.power.draws, sum(n_units)
    for split in study.subjects:
        for roi in study.rois:
            found = design(study, split, roi)
            wanted = {TRAINING: (found.n_settings, found.n_stimuli)}
            for dataset in study.test_datasets(split):
                levels, n_stimuli = trials(study, split, dataset)
                if levels:
                    wanted[dataset] = (len(levels), n_stimuli)
            for dataset, (n_settings, n_stimuli) in wanted.items():
                place = "training" if dataset == TRAINING else "trials"
                made_by = f"power/{place}/{name}/{split}/{roi}"
                inner = {"units": (n_settings, total), "stimuli": (n_settings, len(n_units), n_stimuli)}
                for part, shape in inner.items():
                    arrays.create(
                        workspace,
                        layout.power_scores(name, split, roi, _folder(dataset), part),
                        shape=(draws, *shape),
                        dtype="float32",
                        geometry=layout.Geometry((1, *shape), (1, *shape)),
                        made_by=made_by,
                    )


def _folder(dataset: str) -> str:
    """Return the folder of a dataset's scores: no dataset's name clashes with that of held-out training stimuli."""
    return "held-out" if dataset == TRAINING else f"test-{dataset}"


def scores(name: str, split: str, roi: str, dataset: str, part: str) -> layout.Ref:
    """Return where the scores of a dataset lie; `TRAINING` are those of held-out training stimuli."""
    return layout.power_scores(name, split, roi, _folder(dataset), part)
