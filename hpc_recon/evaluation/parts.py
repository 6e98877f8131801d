"""What the tiles of `evaluate` leave for each other: scores by item, and similarities with the training stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_recon.core.array import Array
from hpc_recon.core.config import Study
from hpc_recon.core.errors import MissingStore
from hpc_recon.core.files import write_npy
from hpc_recon.numerics import nearness
from hpc_recon.stores import layout

SCORES = "scores"


@dataclass(frozen=True)
class Scored:
    """Scores of the items of one dataset.

    Attributes
    ----------
    place
        Columns that tell these scores from the others of a tile, as `dataset` or `variant`.
    names
        (n,) names of the items.
    metrics
        By name: (n,) values, and how many numbers each was computed from: one count, or (n,) of them.
    whole
        By name: a value that belongs to all items together, and how many numbers it was computed from.
    """

    place: Mapping[str, str]
    names: tuple[str, ...]
    metrics: Mapping[str, tuple[Array, int | Array]]
    whole: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def folder(study: Study, path: tuple[str, ...]) -> Path:
    """Return the folder of one tile's scores; `path` is that of its group."""
    return layout.workspace_of(study).joinpath(SCORES, "parts", *path)


def write_similarity(where: Path, dataset: str, similarity: Array) -> Path:
    """Write the similarity of decoded items with the training stimuli, (items, stimuli), as float32."""
    return write_npy(where / f"similarity-{dataset}.npy", np.asarray(similarity, np.float32))


def nearest(study: Study, place: tuple[str, str, str], network: str) -> Array:
    """Return which training stimulus has the features most like the decoded ones, mean over layers; ties: the first.

    A similarity that is undefined (a constant pattern) counts 0, as no correlation does.

    Parameters
    ----------
    place
        Split, ROI and dataset.

    Raises
    ------
    MissingStore
        If a layer's similarities were not written.
    """
    split, roi, dataset = place
    found = []
    for layer in study.networks[network].layers:
        where = folder(study, ("features", split, roi, study.decoded_name(network), layer))
        path = where / f"similarity-{dataset}.npy"
        if not path.exists():
            raise MissingStore(f"{path} does not exist; make it with `python -m hpc_recon.evaluate --redo`")
        found.append(np.load(path, allow_pickle=False))
    return nearness.nearest(found)[:, 0]
