"""What the scores of sampled units say about all units of a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.expected import Expected


def mean_and_error(scores: Array, *, n_units: int) -> tuple[float, float]:
    """Return the mean of sampled scores, and its standard error as an estimate of the mean over all units.

    With n defined scores of m sampled units out of `n_units`, and their standard deviation s (ddof 1), the error is
    `s / sqrt(n) * sqrt(1 - m / n_units)`: that of a simple random sample without replacement, 0 if all were scored.
    Neighbouring units may be alike: drawing them at random makes the formula hold all the same.

    Parameters
    ----------
    scores : (m,), NaN where a unit has none
        One a sampled unit.
    n_units
        Number of all units, at least m.

    Returns
    -------
    mean, error
        NaN where fewer than one or two scores are defined.

    Examples
    --------
    >>> mean, error = mean_and_error(np.array([0.1, 0.3]), n_units=8)
    >>> round(mean, 4), round(error, 4)  # s = sqrt(0.02), so sqrt(0.01) * sqrt(0.75)
    (0.2, 0.0866)
    """
    defined = np.asarray(scores, np.float64)
    defined = defined[~np.isnan(defined)]
    mean = float(defined.mean()) if len(defined) else math.nan
    if len(defined) < 2:
        return mean, math.nan
    spread = float(defined.std(ddof=1)) / math.sqrt(len(defined))
    return mean, spread * math.sqrt(1.0 - len(scores) / n_units)


def estimate(
    profiles: Mapping[str, Array], *, n_units: int, split: str, roi: str, network: str, decoded_name: str, layer: str
) -> list[Expected]:
    """Return what the decoded units of a layer say about all of them, one entry a dataset.

    Parameters
    ----------
    profiles
        By dataset: the profile correlations of the decoded units, NaN where they are constant.
    n_units
        Number of all units of the layer.
    """
    entries = []
    for dataset, profile in profiles.items():
        mean, error = (None if math.isnan(figure) else figure for figure in mean_and_error(profile, n_units=n_units))
        entries.append(Expected(split, roi, dataset, network, decoded_name, layer, mean, error, len(profile), n_units))
    return entries
