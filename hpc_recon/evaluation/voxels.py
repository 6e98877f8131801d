"""Noise ceilings of the voxels of an ROI, from the repeats of test stimuli."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.memory import array_bytes, reading_bytes
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Group, Need, Shapes, Tile, canonical, store_seconds
from hpc_recon.evaluation import parts
from hpc_recon.numerics import ceilings
from hpc_recon.stores import brain, layout

NAME = "voxels.csv"
COLUMNS = (
    "subject", "split", "roi", "dataset", "voxel", "repeat_correlation", "split_half", "n_stimuli", "n_repeats",
)  # fmt: skip
#: What a distribution is of, and its quantiles.
MEASURES = ("repeat_correlation", "split_half")
_QUANTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}
#: Fewer stimuli have no correlation that says anything.
_LEAST_STIMULI = 3


def tiles(study: Study, shapes: Shapes) -> list[Tile]:
    """Return one tile a subject and ROI; none where decoded features come from files, without samples."""
    if study.decode.files:
        return []
    found = []
    for subject in study.subjects:
        datasets = study.test_datasets(subject)
        n_samples = [shapes.n_samples(subject, dataset) for dataset in datasets]
        for roi in study.rois:
            n_voxels, largest = shapes.n_voxels(subject, roi), max(n_samples, default=0)
            sizes = array_bytes(sum(n_samples), n_voxels)
            need = Need(
                host_bytes=2**26 + reading_bytes(largest, n_voxels) + 3 * array_bytes(largest, n_voxels, itemsize=8),
                bytes_in=sizes,
                bytes_out=80 * n_voxels * len(datasets),
                files_out=1,
                seconds=store_seconds(sizes) + ceilings.SPLITS * sizes / 1e8,
            )
            settings = canonical({"datasets": datasets, "splits": ceilings.SPLITS, "seed": study.seed})
            group = Group("evaluate", ("voxels", subject, roi), settings, (f"{study.source_verb}/{subject}",))
            found.append(Tile(group, "voxels", 0, 1, need))
    return found


def score(study: Study, subject: str, roi: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each voxel of an ROI and each test dataset whose stimuli were repeated.

    Voxels are counted among all of the subject, from 0. Conditions without a stimulus (`nothing`) are left out, and
    so are samples beyond the number of repeats that every stimulus has.
    """
    workspace = layout.workspace_of(study)
    numbers = np.flatnonzero(brain.read_roi(workspace, subject, roi)).tolist()
    for dataset in study.test_datasets(subject):
        read = brain.read_brain(workspace, subject, dataset, roi)
        kept = np.flatnonzero([read.conditions.get(label) != "nothing" for label in read.labels])
        labels, codes = np.unique([read.labels[i] for i in kept], return_inverse=True)
        if len(labels) < _LEAST_STIMULI or np.bincount(codes).min() < 2:
            continue
        trials = read.samples[kept[ceilings.by_repeat(codes)]]  # (repeats, stimuli, voxels)
        place = {"subject": subject, "split": "all", "roi": roi, "dataset": dataset}
        single = ceilings.repeat_correlation(trials)
        halves = ceilings.split_half(trials, seed=seed_of(study.seed, "voxels", subject, roi, dataset))
        sizes = {"n_stimuli": trials.shape[1], "n_repeats": trials.shape[0]}
        for voxel, one, other in zip(numbers, single.tolist(), halves.tolist(), strict=True):
            yield {**place, "voxel": voxel, "repeat_correlation": one, "split_half": other, **sizes}


def read(study: Study) -> pd.DataFrame:
    """Return the rows of all subjects and ROIs, with `COLUMNS`; none where decoded features come from files."""
    places = [] if study.decode.files else [(subject, roi) for subject in study.subjects for roi in study.rois]
    kinds = dict.fromkeys(COLUMNS[:4], "str") | {"voxel": "int64", "n_stimuli": "int64", "n_repeats": "int64"}
    frames = [
        pd.read_csv(
            parts.folder(study, ("voxels", *place)) / NAME, dtype=kinds, keep_default_na=False,
            na_values={measure: [""] for measure in MEASURES},
        )
        for place in places
    ]  # fmt: skip
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(COLUMNS))


def distribution(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return an entry a subject, ROI, dataset and measure: mean and quartiles over voxels.

    Parameters
    ----------
    frame
        With `COLUMNS`.

    Returns
    -------
    list of dict
        `n` voxels, `n_missing` of them without variance, which are left out; numbers are None without any other.
    """
    found = []
    for place, own in frame.groupby(["subject", "roi", "dataset"], sort=False):
        sizes = {name: int(own[name].iloc[0]) for name in ("n_stimuli", "n_repeats")}
        for measure in MEASURES:
            values = own[measure].to_numpy(dtype="float64")
            known = values[~np.isnan(values)]
            entry = dict(zip(("subject", "roi", "dataset"), map(str, place), strict=True))
            counts = {"n": len(known), "n_missing": len(values) - len(known)}
            found.append({**entry, "metric": measure, **_numbers(known), **counts, **sizes})
    return found


def _numbers(known: Array) -> dict[str, float | None]:
    if not len(known):
        return dict.fromkeys(("mean", *_QUANTILES))
    quantiles = np.quantile(known, list(_QUANTILES.values())).tolist()
    return {"mean": float(known.mean()), **dict(zip(_QUANTILES, quantiles, strict=True))}
