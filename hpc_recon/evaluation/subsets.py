"""Parts of the samples of a subject, for `power --images`: which there are, and the samples of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.control_options import Part, Trials
from hpc_recon.core.power_options import PowerImages
from hpc_recon.core.sampling import seed_of
from hpc_recon.numerics import learning
from hpc_recon.stores import brain, layout, tables

#: A mean number of repeats is tried if it is less than all there is by so much.
_LESS = 1.05


@dataclass(frozen=True)
class Sizes:
    """What is tried with the samples of a subject, ascending; all there is comes beside it, once."""

    n_stimuli: int
    #: Mean number of samples of a training stimulus.
    mean_repeats: float
    images: tuple[int, ...]
    #: Repeats of a stimulus at most, and the mean of what is left.
    repeats: tuple[int, ...]
    means: tuple[float, ...]
    voxels: tuple[float, ...]
    #: Test trials of a stimulus; all of them is the last, empty where there are single trials.
    trials: tuple[int, ...]

    @property
    def parts(self) -> dict[str, tuple[float, ...]]:
        """What each curve of training data tries, beside all there is."""
        found: dict[str, tuple[float, ...]] = {"images": self.images, "repeats": self.repeats, "voxels": self.voxels}
        return {curve: sizes for curve, sizes in found.items() if sizes}


def sizes(study: Study, options: PowerImages, subject: str, *, dataset: str, shown: set[str]) -> Sizes:
    """Return what is tried with a subject, from labels alone.

    Parameters
    ----------
    dataset, shown
        The test dataset, and the labels of its stimuli whose images are made.
    """
    counts = np.array(list(_counts(_training_labels(study, subject)).values()))
    n, mean = len(counts), float(counts.mean())
    images = learning.sizes_of(n, (*options.images, 1.0))[:-1] if options.images else ()
    means = {most: float(np.minimum(counts, most).mean()) for most in options.repeats}
    repeats = tuple(most for most in options.repeats if means[most] * _LESS < mean)
    labels = brain.read_labels(layout.workspace_of(study), subject, dataset)
    least = min(_counts([label for label in labels if label in shown]).values())
    trials = (*(m for m in options.trials if m < least), least) if least > 1 and options.trials else ()
    return Sizes(
        n_stimuli=n,
        mean_repeats=mean,
        images=images,
        repeats=repeats,
        means=tuple(means[most] for most in repeats),
        voxels=tuple(share for share in options.voxels if share < 1),
        trials=trials,
    )


def _counts(labels: list[str]) -> dict[str, int]:
    names, counts = np.unique(labels, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _training_labels(study: Study, subject: str) -> list[str]:
    columns = tables.read_checked(layout.workspace_of(study), layout.samples_columns(subject, study.training_dataset))
    kept = admitted(study, columns, n=len(columns["label"]))
    return [label for label, keep in zip(columns["label"], kept, strict=True) if keep]


def admitted(study: Study, columns: dict[str, list[float]], *, n: int) -> Array:
    """Return which of `n` training samples `fit.samples` admits, (n,) bool; columns that it names must be there."""
    kept = np.ones(n, np.bool_)
    for name, values in study.fit.samples.items():
        kept &= np.isin(np.asarray(columns[name], np.float64), values)
    return kept


def parts(found: Sizes, options: PowerImages) -> Iterator[tuple[str, Part]]:
    """Yield a name and a part of the training samples: first all, then each size of each curve, draw by draw."""
    yield "all", Part(curve="all", amount=1, draw=1)
    for curve, amounts in found.parts.items():
        for amount in amounts:
            shown = f"{100 * amount:g}".replace(".", "_") if curve == "voxels" else f"{amount:g}"
            for draw in range(1, options.draws + 1):
                yield f"{curve}{shown}-{draw}", Part.model_validate({"curve": curve, "amount": amount, "draw": draw})


def trials(found: Sizes, options: PowerImages, dataset: str) -> Iterator[tuple[str, Trials]]:
    """Yield a name and the test samples of a derived dataset: each number of trials that is not all, draw by draw."""
    for level in found.trials[:-1]:
        for draw in range(1, options.draws + 1):
            yield f"{dataset}-trials{level}-{draw}", Trials(dataset=dataset, trials=level, draw=draw)


def reduced(study: Study, own: brain.Brain, subject: str, dataset: str) -> brain.Brain:
    """Return the samples that a subject of the study of `power --images` has of a dataset.

    Parts of one draw are nested. Voxels that are left out are 0 in all samples, and constant voxels are never read.

    Parameters
    ----------
    own
        All training samples of its subject, or the test samples of the stimuli whose images are made.
    """
    of = study.control_of
    assert of is not None
    assert of.parts is not None, "a study of power --images"
    part, source = of.parts[subject], of.subjects[subject]
    rng = np.random.default_rng(seed_of(study.seed, "power images", source, part.curve, part.draw))
    if dataset == study.training_dataset:
        own = some(own, np.flatnonzero(admitted(study, own.columns, n=len(own.labels))).tolist())
        _, codes = np.unique(own.labels, return_inverse=True)
        if part.curve == "images":
            chosen = rng.permutation(int(codes.max()) + 1)[: int(part.amount)]
            own = some(own, np.flatnonzero(np.isin(codes, chosen)).tolist())
        elif part.curve == "repeats":
            own = some(own, np.flatnonzero(learning.turns(codes, rng) < part.amount).tolist())
    elif of.trials and dataset in of.trials:
        wanted = of.trials[dataset]
        rng_trials = np.random.default_rng(seed_of(study.seed, "power trials", source, wanted.dataset, wanted.draw))
        _, codes = np.unique(own.labels, return_inverse=True)
        own = some(own, np.flatnonzero(learning.turns(codes, rng_trials) < wanted.trials).tolist())
    if part.curve == "voxels":
        kept = voxels(own.samples.shape[1], part.amount, rng=rng)
        own = brain.Brain(np.where(kept, own.samples, np.float32(0)), own.labels, own.columns, own.conditions)
    return own


def voxels(n: int, share: float, *, rng: np.random.Generator) -> Array:
    """Return which voxels belong to a random share of them, (n,) bool: nested in larger shares of the same generator.

    >>> small, large = (voxels(8, share, rng=np.random.default_rng(0)) for share in (0.25, 0.5))
    >>> int(small.sum()), int(large.sum()), bool((small <= large).all())
    (2, 4, True)
    """
    kept = np.zeros(n, np.bool_)
    kept[rng.permutation(n)[: max(1, round(share * n))]] = True
    return kept


def some(own: brain.Brain, kept: list[int]) -> brain.Brain:
    """Return some samples of a dataset, by number."""
    columns = {name: [values[i] for i in kept] for name, values in own.columns.items()}
    return brain.Brain(own.samples[kept], tuple(own.labels[i] for i in kept), columns, own.conditions)
