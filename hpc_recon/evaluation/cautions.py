"""Warnings of a study: what may spoil its scores without any command failing. They stand in `scores/summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpc_recon.core import reference_options
from hpc_recon.core.config import Study
from hpc_recon.numerics import shifts, validity
from hpc_recon.stores import brain, choices, layout, statistics, tables

#: Fields of BOLD runs that may differ between training and test: where runs lie, and what their events are called.
_OWN = frozenset({"runs", "bids", "labels", "stimuli", "repetitions", "columns", "window_s"})
#: Names shown of a longer list.
_SHOWN = 5


def collect(
    study: Study, layers: Sequence[Mapping[str, Any]], few: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """Return `kind` and `text` of every warning.

    Parameters
    ----------
    layers
        Entries of `summary.json`, `layers`.
    few
        Test datasets with few images, as the validity card names them.
    """
    told = [
        *[("preprocessing", text) for text in (*_declared(study), *_measured(study))],
        *[("norms", text) for text in _norms(study)],
        *[("choice", text) for text in _choices(study)],
        *[("few_images", _few(few)) for _ in few[:1]],
        *[("below_zero", text) for text in below_zero(layers)],
    ]
    return [{"kind": kind, "text": text} for kind, text in told]


def _declared(study: Study) -> list[str]:
    """Return where a subject's test runs are declared to be processed otherwise than its training runs."""
    if study.ingest is None:
        return []
    found: dict[str, list[str]] = {}
    for subject, own in study.ingest.subjects.items():
        training = own.datasets.get(study.training_dataset)
        if training is None or training.bold is None:
            continue
        ours = training.bold.model_dump(exclude=set(_OWN))  # a window's default depends on the dataset: not compared
        for name, dataset in own.datasets.items():
            if name == study.training_dataset or dataset.bold is None:
                continue
            theirs = dataset.bold.model_dump(exclude=set(_OWN))
            keys = [key for key, value in ours.items() if theirs.get(key) != value]
            if keys:
                told = ", ".join(f"{key} {theirs.get(key)!r}, not {ours[key]!r}" for key in keys)
                found.setdefault(f"{name} is made from BOLD otherwise than training ({told})", []).append(subject)
    return [f"{text}, {', '.join(subjects)}" for text, subjects in found.items()]


def _measured(study: Study) -> list[str]:
    """Return where test samples lie far from training samples, voxel by voxel."""
    if study.decode.files or study.fit.files:
        return []
    workspace = layout.workspace_of(study)
    found = []
    for subject in study.subjects:
        roi = study.rois[0]
        if not statistics.has(workspace, subject, roi, "mean"):
            continue
        mean, scale = (statistics.read(workspace, subject, roi, name) for name in ("mean", "scale"))
        columns = tables.read_checked(workspace, layout.samples_columns(subject, study.training_dataset))
        n_training, before = len(columns["label"]), _averaged(columns)
        for dataset in study.test_datasets(subject):
            test = brain.read_brain(workspace, subject, dataset, roi)
            averaged = (before, _averaged(test.columns))
            one = shifts.compare(mean, scale, test.samples, n_training=n_training, averaged=averaged)
            if one.is_far:
                found.append(
                    f"{dataset} of {subject} looks preprocessed otherwise than training: in the median voxel of {roi} "
                    f"its mean is {one.shift:.3g} training deviations away, its deviation {one.ratio:.3g} times theirs"
                )
    return found


def _averaged(columns: Mapping[str, Sequence[Any]]) -> float:
    counts = columns.get(brain.N_AVERAGED)
    return 1.0 if not counts else float(np.median(np.asarray(counts, np.float64)))


def _norms(study: Study) -> list[str]:
    without = [name for name, network in study.networks.items() if network.reference is None]
    method = study.decode.norm_correction
    if method == "none" or not without:
        return []
    return [
        f"{method} restores the spread of {reference_options.TRAINING} for {', '.join(without)}, because there are no "
        "reference images; published norms are of natural images (networks.<name>.reference)"
    ]


def _choices(study: Study) -> list[str]:
    """Return each warning that `fit` noted of its choices, with the layers that it is of."""
    where: dict[str, list[str]] = {}
    for place, content in choices.read(study):
        if "." in place[0]:  # a split of a cross-validation, or of pooled samples
            continue
        for text in dict.fromkeys(str(text) for text in content["warnings"]):
            where.setdefault(text, []).append("/".join(place))
    return [f"{text} ({_named(places)})" for text, places in where.items()]


def _few(few: Sequence[Mapping[str, Any]]) -> str:
    told = ", ".join(f"{entry['dataset']} {entry['n_images']}" for entry in few)
    return f"fewer than {validity.FEW_IMAGES} test images: {told}"


def below_zero(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for the layers of which most units are decoded no better than by their mean."""
    low = [e for e in layers if e["metric"] == "profile_correlation_nonpositive" and (e["mean"] or 0) > 0.5]
    told = [
        f"{e['layer']} of {e['network']} ({e['subject']}, {e['roi']}, {e['dataset']}: {e['mean']:.0%})" for e in low
    ]
    return [f"more than half of the units have a profile correlation of 0 or less in {_named(told)}"] if low else []


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
