"""Cross-validation by stimulus: which stimuli each fold holds out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.ingest_options import CrossValidation
from hpc_recon.core.sampling import seed_of
from hpc_recon.stores.images import StimulusTable


def deal(categories: Sequence[str], folds: int, *, rng: np.random.Generator) -> Array:
    """Deal stimuli into folds of equal size (within one), each category spread evenly over the folds.

    Parameters
    ----------
    categories
        Category of each stimulus; where one is not known (""), categories are not used.

    Returns
    -------
    Array
        (n_stimuli,) int64 fold of each stimulus, in [0, folds).

    Examples
    --------
    >>> fold = deal(["6", "9"] * 10, 5, rng=np.random.default_rng(0))
    >>> np.bincount(fold[::2]).tolist(), np.bincount(fold[1::2]).tolist()
    ([2, 2, 2, 2, 2], [2, 2, 2, 2, 2])
    """
    known = np.array(categories if all(categories) else [""] * len(categories))
    shuffled = rng.permutation(len(known))
    # Shuffled within each category; dealing goes on where the category before it ended.
    order = shuffled[np.argsort(known[shuffled], kind="stable")]
    fold = np.empty(len(known), dtype=np.int64)
    fold[order] = np.arange(len(known)) % folds
    return fold


def held_out_labels(study: Study, folds: CrossValidation, *, repeat: int, fold: int, table: StimulusTable) -> set[str]:
    """Return the stimuli that a fold holds out, the same for every subject.

    Dealt are the stimuli of the two datasets that the cross-validation names; others are not touched.
    """
    dealt = [i for i, name in enumerate(table.dataset) if name in (folds.training_dataset, folds.test_dataset)]
    rng = np.random.default_rng(seed_of(study.seed, "folds", repeat))
    numbers = deal([table.category[i] for i in dealt], folds.folds, rng=rng)
    return {table.labels[i] for i, number in zip(dealt, numbers, strict=True) if number == fold}
