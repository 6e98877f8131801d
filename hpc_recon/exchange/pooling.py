"""Samples of one subject brought together: repeats averaged, datasets joined, rows taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.stores.brain import N_AVERAGED, Brain, mean_of


def average_repeats(brain: Brain) -> Brain:
    """Return one sample a stimulus: the mean of its samples, in order of first appearance.

    Samples that are means already weigh by their `n_averaged`; the result's counts their sum. Other columns
    are averaged in the same way, over the samples that have a number. Sums are float64.
    """
    place = {label: i for i, label in enumerate(dict.fromkeys(brain.labels))}
    code = np.array([place[label] for label in brain.labels])
    weight = np.array(brain.columns.get(N_AVERAGED, [1.0] * len(code)))
    total = np.bincount(code, weights=weight)
    samples = np.empty((len(place), brain.samples.shape[1]), dtype=np.float32)
    for i in range(len(place)):
        members = np.flatnonzero(code == i)
        samples[i] = np.average(brain.samples[members].astype(np.float64), axis=0, weights=weight[members])
    columns = {
        name: [mean_of(values[code == i], weight[code == i]) for i in range(len(place))]
        for name, values in ((name, np.array(own)) for name, own in brain.columns.items())
        if name != N_AVERAGED
    }
    return Brain(samples, tuple(place), {**columns, N_AVERAGED: [float(x) for x in total]}, brain.conditions)


def average_groups(brain: Brain, n: int) -> Brain:
    """Return the samples of each stimulus averaged `n` at a time in their order; a rest is averaged too.

    Groups are in order of their first sample. `n_averaged` counts what each is the mean of.
    """
    seen: Counter[str] = Counter()
    members: dict[tuple[str, int], list[int]] = {}
    for row, label in enumerate(brain.labels):
        members.setdefault((label, seen[label] // n), []).append(row)
        seen[label] += 1
    return pool([average_repeats(take(brain, np.array(rows))) for rows in members.values()])


def pool(parts: Sequence[Brain]) -> Brain:
    """Return the samples of several datasets as one; columns that not all of them have are left out."""
    shared = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    return Brain(
        np.concatenate([part.samples for part in parts]),
        tuple(label for part in parts for label in part.labels),
        {name: [x for part in parts for x in part.columns[name]] for name in shared},
        {label: condition for part in parts for label, condition in part.conditions.items()},
    )


def take(brain: Brain, rows: Array) -> Brain:
    """Return some of the samples, by row."""
    return replace(
        brain,
        samples=brain.samples[rows],
        labels=tuple(brain.labels[i] for i in rows),
        columns={name: [values[i] for i in rows] for name, values in brain.columns.items()},
    )
