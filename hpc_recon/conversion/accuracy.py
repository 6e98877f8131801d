"""Stages `ceilings` and `scores` of `convert`: does converted activity agree with the target's own, and from where?

Profile correlations compare the responses of one voxel to all stimuli, pattern correlations those of all voxels of an
ROI to one stimulus (each voxel z-scored with the target's training statistics before). Both are means over all pairs of
a converted and a measured single trial. The noise ceiling is the mean over pairs of the target's own trials; scores are
divided by it where it exceeds what permuted stimuli give in 99 of 100 cases.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hpc_recon.conversion import applying, blocks
from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.convert_options import owner, seen_by
from hpc_recon.core.errors import DataError
from hpc_recon.core.files import replacing, write_atomic
from hpc_recon.core.sampling import seed_of
from hpc_recon.core.tiles import Tile
from hpc_recon.numerics import conversion_scores as scores
from hpc_recon.numerics import converter
from hpc_recon.numerics.stats import mean_and_scale, standardise
from hpc_recon.stores import arrays, brain, layout

#: Columns of `accuracy.csv`: `value` is the mean over voxels (profile) or stimuli (pattern); `n_reliable` of `n` have a
#: ceiling above its threshold, and only these count in `normalised`.
COLUMNS = ("dataset", "roi", "kind", "value", "ceiling", "normalised", "n", "n_reliable", "n_trials", "n_source_trials")
#: Columns of `areas.csv`: of the squared weights onto a target area, the share that comes from a source area.
AREA_COLUMNS = ("source_area", "target_area", "share")
#: What stands for all source voxels outside of the areas that are named.
ELSEWHERE = "elsewhere"
#: Target voxels whose weights are squared at a time.
_AT_ONCE = 512


def write_ceilings(study: Study, tile: Tile) -> list[Path]:
    """Write ceiling and threshold of each voxel, and of each stimulus in each ROI, of a target's test datasets."""
    target = tile.group.path[-1]
    files = []
    for dataset in _measured(study, target):
        labels, trials = _trials(study, target, dataset, None)
        if len(trials) < 2 or len(labels) < 2:
            continue
        found = {"labels": np.array(labels)}
        for name, series in (("profile", trials), *_patterns(study, target, trials)):
            limit = scores.ceiling_threshold(
                series,
                permutations=blocks.options_of(study).permutations,
                seed=seed_of(study.seed, "ceiling", target, dataset, name),
            )
            found[name] = np.stack([scores.noise_ceiling(series), limit])
        path = layout.conversion_file(study, "ceilings", target, name=f"{dataset}.npz")
        with replacing(path) as stream:
            np.savez(stream, allow_pickle=False, **found)
        files.append(path)
    return files or [_note(study, target)]


def write_scores(study: Study, tile: Tile) -> list[Path]:
    """Write `accuracy.csv` and, where areas are named, `areas.csv` of a pair."""
    split = tile.group.path[-1]
    rows = [row for dataset in study.test_datasets(split) for row in _accuracy(study, split, dataset)]
    files = [_write(layout.conversion_file(study, split, name="accuracy.csv"), COLUMNS, rows)]
    if blocks.options_of(study).areas:
        files.append(_write(layout.conversion_file(study, split, name="areas.csv"), AREA_COLUMNS, _areas(study, split)))
    return files


def _accuracy(study: Study, split: str, dataset: str) -> list[tuple[object, ...]]:
    """Return the rows of one dataset; none where the target was not measured with two or more of its stimuli."""
    target = owner(split)
    if dataset not in _measured(study, target):
        return []
    own = set(brain.read_labels(layout.workspace_of(study), target, dataset))
    labels, converted = _trials(study, split, dataset, own)
    if len(labels) < 2:
        return []
    _, measured = _trials(study, target, dataset, set(labels))
    path = layout.conversion_file(study, "ceilings", target, name=f"{dataset}.npz")
    known = _ceilings(path, labels)
    compared = [("profile", converted, measured)]
    for (name, first), (_, second) in zip(
        _patterns(study, target, converted), _patterns(study, target, measured), strict=True
    ):
        compared.append((name, first, second))
    found = {name: scores.mean_correlation(first, second) for name, first, second in compared}
    rows: list[tuple[object, ...]] = []
    for roi in applying.rois(study):
        mask = brain.read_roi(layout.workspace_of(study), target, roi)
        for kind, values, name in (("profile", found["profile"][mask], "profile"), ("pattern", found[roi], roi)):
            ceiling, limit = known[name] if known else np.full((2, len(found[name])), np.nan)
            if kind == "profile":
                ceiling, limit = ceiling[mask], limit[mask]
            relative = scores.normalised(values, np.nan_to_num(ceiling), np.nan_to_num(limit))
            means = (_mean(values), _mean(ceiling), _mean(relative))
            counts = (len(values), int(np.isfinite(relative).sum()), len(measured), len(converted))
            rows.append((dataset, roi, kind, *means, *counts))
    return rows


def _measured(study: Study, subject: str) -> list[str]:
    return study.test_datasets(subject)


def _ceilings(path: Path, labels: tuple[str, ...]) -> dict[str, Array] | None:
    """Return ceilings of these stimuli; None where there are no repeats, or other stimuli were compared."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if tuple(str(x) for x in stored["labels"]) != labels:
            return None
        return {name: stored[name] for name in stored.files if name != "labels"}


def _trials(study: Study, split: str, dataset: str, wanted: set[str] | None) -> tuple[tuple[str, ...], Array]:
    """Return labels, and single trials (n_trials, n_stimuli, n_voxels): as many of each as the rarest stimulus has."""
    workspace = layout.workspace_of(study)
    read = brain.read_labels(workspace, split, dataset)
    places: dict[str, list[int]] = {}
    for row, label in enumerate(read):
        if wanted is None or label in wanted:
            places.setdefault(label, []).append(row)
    labels = tuple(sorted(places))
    if not labels:
        return (), np.empty((0, 0, 0), np.float32)
    n_trials = min(map(len, places.values()))
    rows = np.array([[places[label][k] for label in labels] for k in range(n_trials)])
    samples = arrays.read(workspace, layout.samples(split, dataset))
    return labels, samples[rows]


def _patterns(study: Study, target: str, trials: Array) -> Iterable[tuple[str, Array]]:
    """Yield each ROI with its z-scored patterns (n_trials, n_voxels, n_stimuli)."""
    workspace = layout.workspace_of(study)
    training = arrays.read(workspace, layout.samples(target, study.training_dataset))
    mean, scale = mean_and_scale(training)
    del training
    for roi in applying.rois(study):
        mask = brain.read_roi(workspace, target, roi) & (scale > 0)
        if mask.sum() < 2:
            raise DataError(
                f"a pattern needs two voxels that vary, but {roi} of {target} has {int(mask.sum())}; leave it out of "
                "rois and convert.areas"
            )
        n_trials, n_stimuli, _ = trials.shape
        flat = trials[:, :, mask].reshape(n_trials * n_stimuli, -1)
        Z = standardise(flat, mean=mean[mask], scale=scale[mask], dtype=np.float32)
        yield roi, Z.reshape(n_trials, n_stimuli, -1).swapaxes(1, 2)


def _areas(study: Study, split: str) -> list[tuple[object, ...]]:
    """Return which share of the squared weights onto each target area comes from each source area."""
    options, workspace = blocks.options_of(study), layout.workspace_of(study)
    source, target = (
        np.stack([brain.read_roi(workspace, subject, area) for area in options.areas])
        for subject in (seen_by(split), owner(split))
    )
    source = np.vstack([source, ~source.any(axis=0)])
    mass = np.zeros((len(source), len(target)))
    for where, block in blocks.read(study, split):
        for start in range(0, len(where.target), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            mass += converter.mass_between(
                block.part(part).dense(), source[:, where.source], target[:, where.target[part]]
            )
    total = mass.sum(axis=0)
    names = (*options.areas, ELSEWHERE)
    return [
        (names[i], options.areas[j], float(mass[i, j] / total[j]) if total[j] else float("nan"))
        for j in range(len(target))
        for i in range(len(source))
    ]


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _note(study: Study, target: str) -> Path:
    """Write that a target has no ceiling: a tile leaves a file whatever it finds."""
    path = layout.conversion_file(study, "ceilings", target, name="none.txt")
    return write_atomic(path, b"no test dataset has two stimuli with two single trials\n")


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Path:
    """Write a table; what is not known is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if isinstance(x, float) and math.isnan(x) else x for x in row] for row in rows)
    return write_atomic(path, stream.getvalue().encode())
