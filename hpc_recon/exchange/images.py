"""Datasets in images of the brain: which are, their runs found in BIDS folders, and what is read of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import BidsRuns, BoldRun, BoldSource
from hpc_recon.core.ingest_options import Ingest, IngestDataset, IngestSubject
from hpc_recon.exchange import places, runs, trials
from hpc_recon.exchange.reading import Reading
from hpc_recon.exchange.runs import Role
from hpc_recon.formats import bids_folder
from hpc_recon.stores.brain import Brain
from hpc_recon.stores.positions import Positions


def is_image(dataset: IngestDataset) -> bool:
    """Return whether the samples of a dataset come from images, whose voxels a plan does not read."""
    return dataset.bold is not None or dataset.betas is not None


def read(
    name: str,
    dataset: IngestDataset,
    own: Sequence[str],
    *,
    kind: Role,
    role: Role,
    voxels: bool = True,
    allow_nan: bool = False,
) -> Reading:
    """Read one dataset from its BOLD runs or betas; see `runs.read` and `trials.read`.

    Parameters
    ----------
    kind
        The dataset's role in the study, which the default of the window follows.
    role
        What its samples are used for: those of a training dataset that folds hold out are test samples.
    """
    if dataset.bold is not None:
        options = replace(runs.options_of(name, dataset.bold, kind), role=role)
        return runs.read(name, dataset.bold, own, options, voxels=voxels, allow_nan=allow_nan)
    assert dataset.betas is not None, "asked before"
    return trials.read(name, dataset.betas, own, voxels=voxels)


def n_samples(name: str, dataset: IngestDataset, kind: Role) -> int:
    """Return how many samples a dataset has before any is excluded or averaged; errors as `read`."""
    # Labels are only counted, and an index would need the stimuli, so they are taken as they stand in the table.
    as_text = {"by": "text"}
    if dataset.bold is not None:
        labels = dataset.bold.labels.model_copy(update=as_text)
        dataset = dataset.model_copy(update={"bold": dataset.bold.model_copy(update={"labels": labels})})
    elif dataset.betas is not None:
        listed = dataset.betas.trials.model_copy(update=as_text)
        dataset = dataset.model_copy(update={"betas": dataset.betas.model_copy(update={"trials": listed})})
    return len(read(name, dataset, (), kind=kind, role=kind, voxels=False).brain.labels)


def resolved(ingest: Ingest, problems: list[str]) -> Ingest:
    """Return the section with the runs of every BIDS folder listed; a folder that cannot be used is a problem."""
    subjects = {}
    for subject, mapping in ingest.subjects.items():
        datasets = {}
        for name, dataset in mapping.datasets.items():
            datasets[name] = dataset
            if dataset.bold is not None and dataset.bold.bids is not None:
                try:
                    listed = dataset.bold.model_copy(update={"runs": _runs(dataset.bold), "bids": None})
                    datasets[name] = dataset.model_copy(update={"bold": listed})
                except DataError as error:
                    problems.append(f"subjects.{subject}.datasets.{name}.bold.bids: {error}")
        subjects[subject] = mapping.model_copy(update={"datasets": datasets})
    return ingest.model_copy(update={"subjects": subjects})


def _runs(source: BoldSource) -> tuple[BoldRun, ...]:
    """Return the runs of a BIDS folder: sessions numbered in natural order, runs by their labels or in order."""
    where = source.bids
    assert isinstance(where, BidsRuns), "asked before"
    wanted = bids_folder.Wanted(
        where.subject, where.sessions, where.tasks, where.runs, where.space, where.kind, where.entities
    )
    found = bids_folder.find_runs(where.folder, where.events or where.folder, wanted, confounds=bool(source.confounds))
    sessions = {name: i for i, name in enumerate(dict.fromkeys(run.session for run in found), start=1)}
    made = []
    for session, number in sessions.items():
        own = [run for run in found if run.session == session]
        labels = [run.entities.get("run", "") for run in own]
        labelled = all(label.isdigit() and int(label) > 0 for label in labels)
        if not labelled or len({int(label) for label in labels}) < len(labels):
            labels = [str(i) for i in range(1, len(own) + 1)]
        for run, label in zip(own, labels, strict=True):
            pair = dict(zip(("left", "right"), run.images, strict=True)) if len(run.images) == 2 else {}
            made.append(
                BoldRun(
                    **(pair or {"file": run.images[0]}),
                    events=run.events,
                    confounds=run.confounds,
                    sidecar=run.sidecar,
                    session=number,
                    run=int(label),
                )
            )
    return tuple(made)


def positions_of(subject: IngestSubject, known: Mapping[str, Positions], n_voxels: int) -> Positions | None:
    """Return where the voxels of a subject lie: as its images say, or as the study gives it; None if neither does.

    Parameters
    ----------
    known
        By dataset, where images say it.
    n_voxels
        Voxels of the samples.

    Raises
    ------
    DataError
        If two datasets have other voxels, or what the study gives is wrong or contradicts the images.
    """
    name, found = next(iter(known.items()), ("", None))
    for other, positions in known.items():
        if found is not None and not places.same(found, positions):
            raise DataError(
                f"the voxels of {name} and {other} are not the same ({found.n_voxels} and {positions.n_voxels}); all "
                f"datasets of a subject have the same voxels, so give them one mask on one grid or surface"
            )
    written = places.given(subject, n_voxels)
    if written is not None and found is not None and not places.same(found, written):
        raise DataError(f"positions: they are not those of the images of {name}; leave `positions` out")
    return written if found is None else found


def drop_nan(datasets: Mapping[str, Brain], *, allowed: bool) -> Array:
    """Return which voxels to keep, (n_voxels,) bool: those without NaN in any sample of any dataset.

    Raises
    ------
    DataError
        If there are NaN and they are not `allowed`, a value is infinite, or no voxel would be left.
    """
    nan: dict[str, Array] = {}
    for name, brain in datasets.items():
        infinite = np.isinf(brain.samples).any(axis=0)
        if infinite.any():
            raise DataError(
                f"{name}: {np.count_nonzero(infinite)} voxels have infinite values; take them out of the mask"
            )
        nan[name] = np.asarray(np.isnan(brain.samples).any(axis=0))
    dropped = np.logical_or.reduce(list(nan.values()))
    counts = ", ".join(f"{name} {np.count_nonzero(bad)}" for name, bad in nan.items() if bad.any())
    if dropped.any() and not allowed:
        raise DataError(
            f"{np.count_nonzero(dropped)} of {dropped.size} voxels are NaN in some sample ({counts}); take them out of "
            f"the mask, or set drop_nan_voxels: true for the subject, which leaves them out of all its datasets"
        )
    if dropped.all():
        raise DataError(f"all {dropped.size} voxels are NaN in some sample ({counts}); is the mask on the brain?")
    return np.asarray(~dropped)


def kept_positions(positions: Positions, kept: Array) -> Positions:
    """Return the positions of the voxels that are kept."""
    return replace(
        positions, ijk=positions.ijk[kept], vertex=positions.vertex[kept], structure=positions.structure[kept]
    )
