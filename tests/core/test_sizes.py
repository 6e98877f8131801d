"""Declared sizes: what is not declared is named."""

from __future__ import annotations

import pytest

from hpc_recon.core.errors import MissingStore
from hpc_recon.core.sizes import Sizes

SIZES = Sizes.model_validate(
    {"image_size": [500, 400], "voxels": {"VC": 11726}, "datasets": {"training": {"stimuli": 1200, "samples": 6000}}}
)


def test_declared_sizes_are_found() -> None:
    assert SIZES.image_size == (500, 400)
    assert SIZES.n_voxels("VC") == 11726
    assert (SIZES.dataset("training").stimuli, SIZES.dataset("training").samples) == (1200, 6000)


def test_what_is_not_declared_is_named_with_its_key() -> None:
    with pytest.raises(MissingStore, match=r"sizes\.voxels\.V1"):
        SIZES.n_voxels("V1")
    with pytest.raises(MissingStore, match=r"sizes\.datasets\.natural"):
        SIZES.dataset("natural")
