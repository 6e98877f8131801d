"""Conditions without a stimulus: samples that show nothing, or a category of stimuli instead of one."""

from __future__ import annotations

from dataclasses import replace

from hpc_recon.core.errors import DataError
from hpc_recon.core.ingest_options import IngestDataset
from hpc_recon.core.text import SAFE_NAME_RULE, is_safe_name
from hpc_recon.stores.brain import Brain, Condition
from hpc_recon.stores.images import StimulusTable, examples


def named(name: str, brain: Brain, dataset: IngestDataset, table: StimulusTable) -> Brain:
    """Return samples with the labels of their null conditions replaced by these conditions' names, and all conditions.

    Parameters
    ----------
    name
        The dataset's, for errors.
    table
        All stimuli: no condition may have the label of one, and a category must be that of some.

    Raises
    ------
    DataError
        If a null label occurs nowhere, a category is unknown, or a name is not fit to be a file name or taken.
    """
    absent = [label for label in dataset.null_labels if label not in brain.labels]
    if absent:
        raise DataError(
            f"{name}: {len(absent)} of {len(dataset.null_labels)} null_labels are labels of no sample: "
            f"{examples(absent)}; there are {examples(list(dict.fromkeys(brain.labels)))}; correct or remove them"
        )
    conditions: dict[str, Condition] = dict.fromkeys(dataset.null_labels.values(), "nothing")
    if dataset.labels_are == "categories":
        categories = [label for label in dict.fromkeys(brain.labels) if label not in dataset.null_labels]
        _require_categories(name, categories, table)
        twice = sorted(set(categories) & set(conditions))
        if twice:
            raise DataError(
                f"{name}: null_labels call a condition {twice[0]!r}, which is a category; choose another name"
            )
        conditions |= dict.fromkeys(categories, "category")
    taken = sorted(set(conditions) & set(table.labels))
    if taken:
        raise DataError(
            f"{name}: {len(taken)} conditions without a stimulus have the label of a stimulus: {examples(taken)}; give "
            f"them another name: null_labels: {{{taken[0]}: nothing}}, or rename the stimuli"
        )
    if not conditions:
        return brain
    labels = tuple(dataset.null_labels.get(label, label) for label in brain.labels)
    return replace(brain, labels=labels, conditions=conditions)


def _require_categories(name: str, labels: list[str], table: StimulusTable) -> None:
    known = [category for category in dict.fromkeys(table.category) if category]
    unknown = [label for label in labels if label not in known]
    if unknown:
        have = (
            f"there are {examples(known)}" if known else "no stimulus has one: give ingest.stimuli.<dataset>.categories"
        )
        raise DataError(
            f"{name}: labels_are: categories, but {len(unknown)} of {len(labels)} labels are categories of no "
            f"stimulus: {examples(unknown)}; {have}"
        )
    unsafe = [label for label in labels if not is_safe_name(label)]
    if unsafe:
        raise DataError(
            f"{name}: categories name items here, so they have {SAFE_NAME_RULE}; {len(unsafe)} do not: "
            f"{examples(unsafe)}; rename them"
        )
