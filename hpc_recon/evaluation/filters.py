"""How well each filter of a network's first convolution is decoded, its outputs raw or as absolute values.

Outputs before the rectification have a sign, which is the phase of an edge at a place; their absolute values tell
only how strong it is (Shen et al. 2019 compare both for `conv1_1`).
"""

from __future__ import annotations

from pathlib import Path

from hpc_recon.core.config import Study
from hpc_recon.evaluation import parts
from hpc_recon.evaluation.layers import FIRST_CONVOLUTIONS, LayerFound
from hpc_recon.numerics.filters import by_filter

#: The table of a tile, and of a study.
NAME = "filters.csv"
#: `features`: f decoded and f shown; |f| of what was decoded; |f| decoded by decoders of |f| (`transform: abs`).
RAW, ABSOLUTE, TRAINED = "raw", "absolute", "trained_absolute"


def has(layer: str) -> bool:
    """Return whether a layer is a first convolution, by its name."""
    return layer in FIRST_CONVOLUTIONS


def rows(found: LayerFound, study: Study, place: dict[str, str]) -> list[dict[str, str | float | int]]:
    """Return a row a filter, dataset and kind of features; none for a layer without filters.

    Parameters
    ----------
    place
        The columns `subject` to `layer`, but for `dataset`.
    """
    if found.filters is None:
        return []
    own = TRAINED if study.networks[place["network"]].transform == "abs" else RAW
    rows: list[dict[str, str | float | int]] = []
    for kind, profiles in ((own, found.profiles), (ABSOLUTE, found.absolute)):
        for dataset, values in profiles.items():
            rows += [
                {**place, "dataset": dataset, "filter": int(f), "features": kind, "value": float(r), "n": int(n)}
                for f, r, n in zip(*by_filter(values, found.filters), strict=True)
            ]
    return rows


def places(study: Study) -> list[Path]:
    """Return the tables of all tiles of first convolutions, in the order of the study."""
    return [
        parts.folder(study, ("features", split, roi, study.decoded_name(network), layer)) / NAME
        for split, roi, network, layer in study.layer_sets(decoded=True)
        if has(layer)
    ]
