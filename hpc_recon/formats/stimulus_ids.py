"""What the numbers in a lab's label columns mean: `stimulus_id` and `image_index` (specs, section 3.3)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError


def stimulus_labels(stimulus_id: Array, where: str = "stimulus_id") -> tuple[str, ...]:
    """Return ImageNet names of ids, which are `<synset>.<image number as six decimals>`.

    Parameters
    ----------
    stimulus_id
        (n,) float64. An id without decimals is a synset alone.
    where
        What the errors call it.

    Raises
    ------
    DataError
        If ids are float32, or went through float32 (which cannot hold the image number), are NaN, not above 0, or have
        more than six decimals.

    >>> stimulus_labels(np.array([1518878.010042, 1621127.01902, 1443537.0]))
    ('n01518878_10042', 'n01621127_19020', 'n01443537')
    """
    lost = "float32 keeps only about seven digits, and the image number needs thirteen; read the ids as float64"
    if stimulus_id.dtype != np.float64:
        raise DataError(f"{where} is {stimulus_id.dtype}, not float64: {lost}")
    wrong = np.flatnonzero(~(stimulus_id > 0) | ~np.isfinite(stimulus_id))
    if wrong.size:
        raise DataError(
            f"{where} must be above 0, but is {stimulus_id[wrong[0]]} in row {wrong[0]} ({wrong.size} rows)"
        )
    with_image = stimulus_id[stimulus_id % 1 != 0]
    if with_image.size and np.array_equal(with_image.astype(np.float32).astype(np.float64), with_image):
        raise DataError(f"{where} went through float32 (for example {with_image[0]!r}): {lost}, from the original file")
    rounded = np.array([float(f"{value:.6f}") for value in stimulus_id.tolist()])
    # An id that was written with six decimals is the float64 nearest to them; a few units in the last place are left
    # for ids that were computed as synset + image / 1e6.
    long = np.flatnonzero(np.abs(rounded - stimulus_id) > 4 * np.spacing(stimulus_id))
    if long.size:
        raise DataError(f"{where} has more than six decimals in row {long[0]} ({stimulus_id[long[0]]!r}); is it an id?")
    return tuple(_label(f"{value:.6f}") for value in stimulus_id.tolist())


def image_names(image_index: Array, names: Sequence[str]) -> tuple[str, ...]:
    """Return the stimulus of each `image_index`: one-based, in lexicographic order of the stimulus file names.

    Raises
    ------
    DataError
        If a name occurs twice, or an index is not a whole number from 1 to the number of names.

    >>> image_names(np.array([1.0, 3.0]), ["n2_9", "n10_1", "n2_10"])
    ('n10_1', 'n2_9')
    """
    ordered = sorted(names)
    if len(set(ordered)) != len(ordered):
        twice = next(a for a, b in itertools.pairwise(ordered) if a == b)
        raise DataError(f"the stimulus name {twice!r} occurs twice; each stimulus has one")
    index = np.asarray(image_index, dtype=np.float64)
    wrong = np.flatnonzero(~((index % 1 == 0) & (index >= 1) & (index <= len(ordered))))
    if wrong.size:
        raise DataError(f"image_index must be 1 to {len(ordered)}, but is {index[wrong[0]]} in row {wrong[0]}")
    return tuple(ordered[int(i) - 1] for i in index)


def _label(text: str) -> str:
    synset, image = text.split(".")
    return f"n{int(synset):08d}" + (f"_{int(image)}" if int(image) else "")
