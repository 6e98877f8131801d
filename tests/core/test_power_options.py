"""Bounds of the options of `power`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.power_options import Power


def test_shares_are_sorted_and_reach_all_there_is():
    found = Power(images=[1, 0.5, 0.5, 0.25])
    assert found.images == (0.25, 0.5, 1.0)
    with pytest.raises(ValidationError, match="the largest share must be 1"):
        Power(voxels=[0.1, 0.9])


@pytest.mark.parametrize(
    "wrong", [{"draws": 1}, {"folds": 1}, {"images": [0, 1]}, {"sessions": []}, {"confidence": 1}, {"unit": 3}]
)
def test_what_has_no_meaning_is_refused(wrong):
    with pytest.raises(ValidationError):
        Power(**wrong)
