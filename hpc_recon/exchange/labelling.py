"""From what a table of events or trials says to labels of stimuli and numbers of columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError
from hpc_recon.core.image_options import LabelRule
from hpc_recon.formats import stimulus_ids


def stimulus_labels(texts: Sequence[str], by: LabelRule, own: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the label of a stimulus for each text of a table.

    Parameters
    ----------
    texts
        As they stand in the table.
    by
        What they are: `text`, `file`, `stimulus_id` or `image_index`.
    own
        Labels of the dataset's own stimuli, which an `image_index` counts in sorted order.
    where
        The table and column, for errors.

    Raises
    ------
    DataError
        If a text is no number where one is needed, or an index counts stimuli that the dataset has not.

    Examples
    --------
    >>> stimulus_labels(["photos/a.cat.jpg", "b.png"], "file", (), "events.tsv")
    ('a.cat', 'b')
    >>> stimulus_labels(["1518878.010042"], "stimulus_id", (), "events.tsv")
    ('n01518878_10042',)
    """
    if by == "text":
        return tuple(texts)
    if by == "file":
        return tuple(PurePosixPath(text.replace("\\", "/")).stem for text in texts)
    found = numbers(texts, where)
    if by == "stimulus_id":
        return stimulus_ids.stimulus_labels(found, where)
    if not own:
        raise DataError(
            f"{where}: an image_index counts the dataset's own stimuli, but it has none; use another column"
        )
    try:
        return stimulus_ids.image_names(found, own)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def numbers(texts: Sequence[str], where: str) -> Array:
    """Return texts as (n,) float64.

    Raises
    ------
    DataError
        If one is not a finite number; counts them and names the first.
    """
    values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        try:
            values[i] = float(text)
        except ValueError:
            continue  # stays NaN, and is refused below
    bad = ~np.isfinite(values)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{where}: {np.count_nonzero(bad)} of {len(texts)} values are no numbers, the first is {texts[first]!r} "
            f"(number {first + 1}); name another column, or leave these rows out"
        )
    return values
