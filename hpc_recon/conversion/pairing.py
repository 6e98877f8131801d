"""Which samples of two subjects belong together: equal labels, and the k-th repeat with the k-th in order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Labels that an error names.
_EXAMPLES = 5


@dataclass(frozen=True)
class Presented:
    """What a subject's samples of one dataset show, in the order in which they are stored."""

    subject: str
    labels: tuple[str, ...]
    #: By name, `session` and `run` if the samples have them.
    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def repeats(self) -> dict[str, list[int]]:
        """Return the rows of each label's samples by time: session, run, then as they are stored."""
        keys = [np.asarray(self.columns[name], np.float64) for name in ("run", "session") if name in self.columns]
        order = np.lexsort([np.arange(len(self.labels)), *keys])
        found: dict[str, list[int]] = {}
        for row in order.tolist():
            found.setdefault(self.labels[row], []).append(row)
        return found


@dataclass(frozen=True)
class Paired:
    """Pairs of samples: whole repeats one after another, stimuli in the order of the stimulus table."""

    #: (n_pairs,) int64 rows of the source's and the target's samples.
    source: Array
    target: Array
    #: (n_pairs,) int64: which stimulus the source's sample shows, and which repeat of it is meant (0, 1, ...).
    stimulus: Array
    repeat: Array


@dataclass(frozen=True)
class Together:
    """Samples of several subjects that belong together, in the order of `Paired`."""

    #: (n,) int64 of each subject: rows of its samples.
    rows: tuple[Array, ...]
    #: (n,) int64: which stimulus the first subject's sample shows, and which repeat of it.
    stimulus: Array
    repeat: Array


def pair(
    source: Presented,
    target: Presented,
    *,
    categories: Mapping[str, str],
    n_pairs: int | None = None,
    common: bool = False,
    shuffle_seed: int | None = None,
) -> Paired:
    """Pair the samples of two subjects by label; parameters and errors as `together`."""
    found = together((source, target), categories=categories, n_pairs=n_pairs, common=common, shuffle_seed=shuffle_seed)
    own, other = found.rows
    return Paired(own, other, found.stimulus, found.repeat)


def together(
    subjects: Sequence[Presented],
    *,
    categories: Mapping[str, str],
    n_pairs: int | None = None,
    common: bool = False,
    shuffle_seed: int | None = None,
) -> Together:
    """Put the samples of two subjects or more together by label.

    Parameters
    ----------
    categories
        Category of each label, in the order of the stimulus table.
    n_pairs
        Whole repeats are taken first; of the next repeat as many stimuli of each category as of any other (one more of
        some where the number does not divide), the first of each in the table. None: all pairs.
    common
        Leave out what one of them lacks, instead of refusing.
    shuffle_seed
        Pair each stimulus with another one (those of a third subject with yet another), the k-th repeat with the k-th:
        a control in which nothing is shared.

    Raises
    ------
    DataError
        If labels or numbers of repeats differ and `common` is false, nothing is left, or `n_pairs` is too large.
    """
    places = [subject.repeats() for subject in subjects]
    if not common:
        for subject, found in zip(subjects[1:], places[1:], strict=True):
            _require_same(subjects[0], subject, places[0], found)
    labels = [label for label in categories if all(label in found for found in places)]
    counts = [f"{subject.subject} ({len(found)} stimuli)" for subject, found in zip(subjects, places, strict=True)]
    if not labels:
        raise DataError(
            f"{' and '.join(counts)} have no training stimulus in common, so no converter can be fitted; stimuli are "
            "matched by label: check the labels of all"
        )
    rounds = []
    for repeat in range(max(len(places[0][label]) for label in labels)):
        shown = [label for label in labels if min(len(found[label]) for found in places) > repeat]
        rounds.append([(label, repeat) for label in shown])
    total = sum(map(len, rounds))
    if n_pairs is not None and n_pairs > total:
        raise DataError(
            f"convert.samples (or growth) asks for {n_pairs} paired samples, but "
            f"{' and '.join(x.subject for x in subjects)} have {total} ({len(labels)} stimuli); give a smaller number, "
            "or leave it out"
        )
    chosen = _first(rounds, total if n_pairs is None else n_pairs, categories)
    shows = _shifted(labels, len(subjects), shuffle_seed)
    kept = [
        (label, k)
        for label, k in chosen
        if all(len(found[own[label]]) > k for found, own in zip(places, shows, strict=True))
    ]
    code = {label: number for number, label in enumerate(labels)}
    return Together(
        tuple(
            np.array([found[own[label]][k] for label, k in kept], np.int64)
            for found, own in zip(places, shows, strict=True)
        ),
        np.array([code[label] for label, _ in kept], np.int64),
        np.array([k for _, k in kept], np.int64),
    )


def averaged(samples: Array, stimulus: Array) -> Array:
    """Return the mean of the samples of each stimulus (n_stimuli, n_voxels) float32, by ascending number.

    Parameters
    ----------
    samples : (n_pairs, n_voxels)
    stimulus : (n_pairs,) int
        As in `Paired`.

    Examples
    --------
    >>> averaged(np.array([[1.0], [5.0], [3.0]]), np.array([0, 1, 0])).tolist()
    [[2.0], [5.0]]
    """
    order = np.argsort(stimulus, kind="stable")
    _, first, counts = np.unique(stimulus[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(samples[order], first, axis=0, dtype=np.float64)
    result: Array = (sums / counts[:, None]).astype(np.float32)
    return result


def _require_same(
    source: Presented, target: Presented, own: Mapping[str, list[int]], other: Mapping[str, list[int]]
) -> None:
    remedy = "write convert: {stimuli: common} to use what both have, or ingest the rest"
    for first, second, mine, theirs in ((source, target, own, other), (target, source, other, own)):
        missing = [label for label in mine if label not in theirs]
        if missing:
            raise DataError(
                f"subjects of a pair must have seen the same training stimuli, but {len(missing)} of the {len(mine)} "
                f"of {first.subject} have no sample of {second.subject} ({_some(missing)}); {remedy}"
            )
    unequal = [label for label in own if len(own[label]) != len(other[label])]
    if unequal:
        example = unequal[0]
        raise DataError(
            f"subjects of a pair must have equally many repeats, but those of {len(unequal)} of {len(own)} stimuli "
            f"differ ({example}: {len(own[example])} of {source.subject}, {len(other[example])} of {target.subject}); "
            f"{remedy}"
        )


def _first(
    rounds: Sequence[Sequence[tuple[str, int]]], n_pairs: int, categories: Mapping[str, str]
) -> list[tuple[str, int]]:
    """Return whole repeats, and of the last one some stimuli spread over the categories, in the order of the table."""
    chosen: list[tuple[str, int]] = []
    for own in rounds:
        left = n_pairs - len(chosen)
        if left < len(own):
            seen: dict[str, int] = {}
            place = []
            for label, _ in own:
                place.append(seen.get(categories[label], 0))
                seen[categories[label]] = place[-1] + 1
            kept = sorted(sorted(range(len(own)), key=lambda i: place[i])[:left])
            return chosen + [own[i] for i in kept]
        chosen += own
    return chosen


def _shifted(labels: Sequence[str], n_subjects: int, seed: int | None) -> list[dict[str, str]]:
    """Return which label each subject shows for a label: itself, or as many further in a random circle as subjects are
    before it.
    """
    if seed is None:
        return [dict(zip(labels, labels, strict=True))] * n_subjects
    order = [labels[i] for i in np.random.default_rng(seed).permutation(len(labels))]
    return [dict(zip(order, order[k % len(order) :] + order[: k % len(order)], strict=True)) for k in range(n_subjects)]


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_EXAMPLES]) + (" ..." if len(labels) > _EXAMPLES else "")
