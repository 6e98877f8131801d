"""Bounds of the options of `screen`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hpc_recon.core.screen_options import ScreenOptions


def test_defaults_are_those_of_the_page():
    assert ScreenOptions().model_dump() == {"units": 1000, "folds": 5, "confidence": 0.95, "resamples": 1000}


@pytest.mark.parametrize("wrong", [{"units": 0}, {"folds": 2}, {"confidence": 1.0}, {"resamples": 99}, {"unit": 3}])
def test_what_has_no_meaning_is_refused(wrong):
    with pytest.raises(ValidationError):
        ScreenOptions(**wrong)
