"""Seeds and samples that depend only on names, so that any worker draws the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hpc_recon.core import units
from hpc_recon.core.config import Study

if TYPE_CHECKING:
    from hpc_recon.core.array import Array


def seed_of(*parts: object) -> int:
    """Return a 63-bit seed from any printable parts, equal on every machine and in every process.

    >>> seed_of(0, "vgg", "conv1_1") == seed_of(0, "vgg", "conv1_1") != seed_of(1, "vgg", "conv1_1")
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def unit_sample(study: Study, network: str, layer: str, n_units: int) -> Array | None:
    """Return the numbers of the units that a study with `units` decodes, int64 ascending; None means all units.

    A number N draws a random sample that depends on the seed, the network and the layer; `every: n` takes the units
    0, n, 2n, ...; a file names them.

    Parameters
    ----------
    n_units
        Number of units of the layer; where as many are asked for, all units are decoded.

    Raises
    ------
    StudyError
        If a file of units cannot be read or does not fit the layer.
    """
    if study.units is None or study.n_decoded(n_units, layer) == n_units:
        return None
    import numpy as np  # here: every verb imports this module, and `--help` is quick

    if isinstance(study.units, units.EveryNth):
        return np.arange(0, n_units, study.units.every, dtype=np.int64)
    if isinstance(study.units, units.UnitFile):
        return units.from_file(study.units, layer, n_units)
    rng = np.random.default_rng(seed_of(study.seed, "units", network, layer))
    return np.sort(rng.choice(n_units, size=study.units, replace=False)).astype(np.int64)
